// Reads client_id, issuer, post_logout_redirect_uri and scope as one JSON object from standard input.
// It listens on a port that it draws.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import {
  AuthorizationNotifier,
  AuthorizationRequest,
  AuthorizationServiceConfiguration,
  BaseTokenRequestHandler,
  GRANT_TYPE_AUTHORIZATION_CODE,
  GRANT_TYPE_REFRESH_TOKEN,
  TokenRequest,
  setFlag,
} from '@openid/appauth'
import { NodeCrypto } from '@openid/appauth/built/src/node_support/index.js'
import { NodeBasedHandler } from '@openid/appauth/built/src/node_support/node_request_handler.js'
import { NodeRequestor } from '@openid/appauth/built/src/node_support/node_requestor.js'

setFlag('IS_LOG', false)
const given = JSON.parse(readFileSync(0, 'utf8'))
const port = await new Promise((resolve) => {
  const probe = createServer().listen(0, '127.0.0.1', () => {
    const { port } = probe.address()
    probe.close(() => resolve(port))
  })
})
const redirect_uri = `http://127.0.0.1:${port}/callback`
const requestor = new NodeRequestor()
const server = await AuthorizationServiceConfiguration.fetchFromIssuer(given.issuer, requestor)

// It opens the browser itself, with xdg-open.
const nonce = 'nonce-of-appauth'
const handler = new NodeBasedHandler(port).setAuthorizationNotifier(new AuthorizationNotifier())
const arrived = new Promise((resolve) => {
  handler.notifier.setAuthorizationListener((request, response, error) => resolve({ request, response, error }))
})
handler.performAuthorizationRequest(
  server,
  new AuthorizationRequest(
    {
      client_id: given.client_id,
      redirect_uri,
      scope: given.scope,
      response_type: AuthorizationRequest.RESPONSE_TYPE_CODE,
      extras: { nonce },
    },
    new NodeCrypto(),
  ),
)
const { request, response, error } = await arrived
assert.equal(error, null)
assert.equal(response.state, request.state)

const tokens = new BaseTokenRequestHandler(requestor)
async function ask(fields) {
  const form = new TokenRequest({ client_id: given.client_id, redirect_uri, ...fields })
  const answer = await tokens.performTokenRequest(server, form)
  assert(answer.isValid(0))
  return answer
}
const first = await ask({
  grant_type: GRANT_TYPE_AUTHORIZATION_CODE,
  code: response.code,
  extras: { code_verifier: request.internal.code_verifier },
})
const refreshed = await ask({ grant_type: GRANT_TYPE_REFRESH_TOKEN, refresh_token: first.refreshToken })
const userinfo = await requestor.xhr({
  url: server.userInfoEndpoint,
  method: 'GET',
  dataType: 'json',
  headers: { Authorization: `Bearer ${refreshed.accessToken}` },
})

const leave = new URL(server.endSessionEndpoint)
leave.search = new URLSearchParams({
  id_token_hint: refreshed.idToken,
  post_logout_redirect_uri: given.post_logout_redirect_uri,
  state: 'bye',
})
const signed_out = execFileSync('xdg-open', [leave.href], { encoding: 'utf8' }).trim()
console.log(JSON.stringify({ first: first.toJson(), refreshed: refreshed.toJson(), userinfo, nonce, signed_out }))
// A connection that the browser left open would keep it running.
process.exit(0)
