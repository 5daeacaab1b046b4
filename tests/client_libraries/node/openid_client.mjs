// Reads client_id, client_secret, issuer, method and tokens as one JSON object from standard input.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as client from 'openid-client'

const given = JSON.parse(readFileSync(0, 'utf8'))
const authentication = {
  client_secret_basic: () => client.ClientSecretBasic(given.client_secret),
  client_secret_post: () => client.ClientSecretPost(given.client_secret),
  none: () => client.None(),
}[given.method]()
const config = await client.discovery(new URL(given.issuer), given.client_id, undefined, authentication, {
  execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks],
})
assert.equal(config.serverMetadata().issuer, given.issuer)

const answers = [given.tokens]
for (let i = 0; i < 5; i++) {
  const tokens = await client.refreshTokenGrant(config, answers.at(-1).refresh_token)
  const { iss, aud, exp } = tokens.claims()
  assert.deepEqual([iss, aud], [given.issuer, given.client_id])
  assert(exp > Date.now() / 1000)
  assert(tokens.expiresIn() > 0)
  answers.push(tokens)
}
for (const member of ['access_token', 'refresh_token', 'id_token']) {
  assert.equal(new Set(answers.map((answer) => answer[member])).size, answers.length, member)
}

// Two tabs of a browser refresh at the same time, and get the same token.
const last = answers.at(-1).refresh_token
const tabs = await Promise.all([last, last].map((token) => client.refreshTokenGrant(config, token)))
assert.equal(tabs[0].refresh_token, tabs[1].refresh_token)

const wrong = await client.refreshTokenGrant(config, 'wrong').then(assert.fail, (error) => error)
assert(wrong instanceof client.ResponseBodyError, wrong)
assert.equal(wrong.status, 400)
assert.deepEqual(wrong.cause, { error: 'invalid_grant' })

console.log(JSON.stringify({ refreshed: answers.length - 1, wrong_token: wrong.error }))
