// Reads client_id, client_secret, issuer, method, redirect_uri and scope as one JSON object from standard input.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'

const given = JSON.parse(readFileSync(0, 'utf8'))
const plainHttp = { [oauth.allowInsecureRequests]: true }
const openInBrowser = async (url) => new URL((await promisify(execFile)('xdg-open', [url.href])).stdout.trim())
const client = { client_id: given.client_id }
const authentication = {
  client_secret_basic: () => oauth.ClientSecretBasic(given.client_secret),
  client_secret_post: () => oauth.ClientSecretPost(given.client_secret),
  none: () => oauth.None(),
}[given.method]()
const issuer = new URL(given.issuer)
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, plainHttp))

const verifier = oauth.generateRandomCodeVerifier()
const nonce = oauth.generateRandomNonce()
const state = oauth.generateRandomState()
const address = new URL(server.authorization_endpoint)
address.search = new URLSearchParams({
  client_id: given.client_id,
  redirect_uri: given.redirect_uri,
  response_type: 'code',
  scope: given.scope,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: 'S256',
  nonce,
  state,
})
const callback = oauth.validateAuthResponse(server, client, await openInBrowser(address), state)
const answer = await oauth.authorizationCodeGrantRequest(
  server, client, authentication, callback, given.redirect_uri, verifier, plainHttp,
)
const first = await oauth.processAuthorizationCodeResponse(server, client, answer, {
  expectedNonce: nonce,
  requireIdToken: true,
})
await oauth.validateApplicationLevelSignature(server, answer, plainHttp)
const { sub } = oauth.getValidatedIdTokenClaims(first)

const refreshed = await oauth.processRefreshTokenResponse(
  server,
  client,
  await oauth.refreshTokenGrantRequest(server, client, authentication, first.refresh_token, plainHttp),
)
const userinfo = await oauth.processUserInfoResponse(
  server,
  client,
  sub,
  await oauth.userInfoRequest(server, client, refreshed.access_token, plainHttp),
)

// As the application and as a resource server would.
const expected = { issuer: given.issuer, audience: given.client_id, requiredClaims: ['exp', 'sub'] }
const keys = createRemoteJWKSet(new URL(server.jwks_uri))
for (const tokens of [first, refreshed]) {
  for (const token of [tokens.id_token, tokens.access_token]) {
    assert.equal((await jwtVerify(token, keys, expected)).payload.sub, sub)
  }
}

const leave = new URL(server.end_session_endpoint)
leave.search = new URLSearchParams({
  id_token_hint: refreshed.id_token,
  post_logout_redirect_uri: given.redirect_uri,
  state: 'bye',
})
const signedOut = await openInBrowser(leave)
console.log(JSON.stringify({ first, refreshed, userinfo, nonce, signed_out: signedOut.href }))
