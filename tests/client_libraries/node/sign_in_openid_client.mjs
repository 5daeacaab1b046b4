// Reads client_id, client_secret, issuer, method, redirect_uri and scope as one JSON object from standard input.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import * as client from 'openid-client'

const given = JSON.parse(readFileSync(0, 'utf8'))
const openInBrowser = async (url) => new URL((await promisify(execFile)('xdg-open', [url.href])).stdout.trim())
const authentication = {
  client_secret_basic: () => client.ClientSecretBasic(given.client_secret),
  client_secret_post: () => client.ClientSecretPost(given.client_secret),
  none: () => client.None(),
}[given.method]()
const config = await client.discovery(new URL(given.issuer), given.client_id, undefined, authentication, {
  execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks],
})
assert(config.serverMetadata().supportsPKCE())

const pkceCodeVerifier = client.randomPKCECodeVerifier()
const expectedNonce = client.randomNonce()
const expectedState = client.randomState()
const callback = await openInBrowser(
  client.buildAuthorizationUrl(config, {
    redirect_uri: given.redirect_uri,
    scope: given.scope,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
    nonce: expectedNonce,
    state: expectedState,
    max_age: '300',
  }),
)
const first = await client.authorizationCodeGrant(config, callback, {
  pkceCodeVerifier,
  expectedNonce,
  expectedState,
  idTokenExpected: true,
  maxAge: 300,
})
const refreshed = await client.refreshTokenGrant(config, first.refresh_token)
const userinfo = await client.fetchUserInfo(config, refreshed.access_token, first.claims().sub)

const signedOut = await openInBrowser(
  client.buildEndSessionUrl(config, {
    id_token_hint: refreshed.id_token,
    post_logout_redirect_uri: given.redirect_uri,
    state: 'bye',
  }),
)
console.log(JSON.stringify({ first, refreshed, userinfo, nonce: expectedNonce, signed_out: signedOut.href }))
