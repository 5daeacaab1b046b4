// Reads client_id, client_secret, issuer, method and tokens as one JSON object from standard input.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'

const given = JSON.parse(readFileSync(0, 'utf8'))
const plainHttp = { [oauth.allowInsecureRequests]: true }
const client = { client_id: given.client_id }
const authentication = {
  client_secret_basic: () => oauth.ClientSecretBasic(given.client_secret),
  client_secret_post: () => oauth.ClientSecretPost(given.client_secret),
  none: () => oauth.None(),
}[given.method]()

async function discover(algorithm) {
  const issuer = new URL(given.issuer)
  const response = await oauth.discoveryRequest(issuer, { ...plainHttp, algorithm })
  return oauth.processDiscoveryResponse(issuer, response)
}

async function refresh(token) {
  const response = await oauth.refreshTokenGrantRequest(server, client, authentication, token, plainHttp)
  const tokens = await oauth.processRefreshTokenResponse(server, client, response)
  await oauth.validateApplicationLevelSignature(server, response, plainHttp)
  return tokens
}

const server = await discover('oidc')
assert.deepEqual(await discover('oauth2'), server)
assert(server.token_endpoint_auth_methods_supported.includes(given.method))

const answers = [given.tokens]
for (let i = 0; i < 5; i++) {
  answers.push(await refresh(answers.at(-1).refresh_token))
}
for (const member of ['access_token', 'refresh_token', 'id_token']) {
  assert.equal(new Set(answers.map((answer) => answer[member])).size, answers.length, member)
}

// As a resource server and as the application would.
const keys = createRemoteJWKSet(new URL(server.jwks_uri))
const expected = {
  issuer: given.issuer,
  audience: given.client_id,
  algorithms: server.id_token_signing_alg_values_supported,
  requiredClaims: ['iss', 'aud', 'exp', 'sub'],
}
const { payload: accessToken } = await jwtVerify(answers.at(-1).access_token, keys, expected)
const { payload: idToken } = await jwtVerify(answers.at(-1).id_token, keys, expected)
assert.equal(accessToken.sub, idToken.sub)

const wrong = await refresh('wrong').then(assert.fail, (error) => error)
assert(wrong instanceof oauth.ResponseBodyError, wrong)
assert.equal(wrong.status, 400)
assert.deepEqual(wrong.cause, { error: 'invalid_grant' })

// Introspection is for clients that keep a secret; revocation is for all.
const newest = answers.at(-1)
async function introspect(token) {
  const response = await oauth.introspectionRequest(server, client, authentication, token, plainHttp)
  return oauth.processIntrospectionResponse(server, client, response)
}
async function revoke(token) {
  const response = await oauth.revocationRequest(server, client, authentication, token, plainHttp)
  return oauth.processRevocationResponse(response)
}
if (given.method !== 'none') {
  for (const token of [newest.access_token, newest.refresh_token]) {
    const { active, client_id: owner, sub } = await introspect(token)
    assert.deepEqual([active, owner, sub], [true, given.client_id, idToken.sub])
  }
  assert.deepEqual(await introspect('unknown'), { active: false })
}
await revoke(newest.access_token)
await revoke('unknown')
if (given.method !== 'none') {
  assert.deepEqual(await introspect(newest.access_token), { active: false })
}
await revoke(newest.refresh_token)
const revoked = await refresh(newest.refresh_token).then(assert.fail, (error) => error)
assert.equal(revoked.error, 'invalid_grant')

console.log(JSON.stringify({ refreshed: answers.length - 1, wrong_token: wrong.error }))
