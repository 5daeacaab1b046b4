// An application with Auth.js.
// Reads client_id, client_secret, issuer and port as one JSON object from standard input.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { Auth, setEnvDefaults } from '@auth/core'

const given = JSON.parse(readFileSync(0, 'utf8'))
const origin = `http://127.0.0.1:${given.port}`
const credentials = Buffer.from(`${given.client_id}:${given.client_secret}`).toString('base64')

const config = {
  basePath: '/auth',
  secret: 'a secret of the application, which signs nothing of ours',
  trustHost: true,
  providers: [
    {
      id: 'site',
      name: 'The site',
      type: 'oidc',
      issuer: given.issuer,
      clientId: given.client_id,
      clientSecret: given.client_secret,
      checks: ['pkce', 'state', 'nonce'],
      // Auth.js then asks /userinfo itself.
      idToken: false,
    },
  ],
  callbacks: {
    // As Auth.js documents the rotation of refresh tokens, with an access token that has always expired.
    async jwt({ token, account, profile }) {
      if (account) {
        return { ...token, first: account, newest: account, userinfo: profile }
      }
      const { token_endpoint } = await (await fetch(`${given.issuer}/.well-known/openid-configuration`)).json()
      const answer = await fetch(token_endpoint, {
        method: 'POST',
        headers: { Authorization: `Basic ${credentials}` },
        body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: token.newest.refresh_token }),
      })
      if (!answer.ok) throw await answer.json()
      return { ...token, newest: await answer.json() }
    },
    session({ session, token }) {
      return { ...session, first: token.first, newest: token.newest, userinfo: token.userinfo }
    },
  },
}
setEnvDefaults(process.env, config)

createServer(async (incoming, outgoing) => {
  const chunks = []
  for await (const chunk of incoming) chunks.push(chunk)
  const body = incoming.method === 'POST' ? Buffer.concat(chunks) : undefined
  const request = new Request(origin + incoming.url, { method: incoming.method, headers: incoming.headers, body })
  const response = request.url.startsWith(`${origin}/auth/`) ? await Auth(request, config) : new Response('Hello')
  outgoing.statusCode = response.status
  response.headers.forEach((value, name) => name !== 'set-cookie' && outgoing.setHeader(name, value))
  outgoing.setHeader('set-cookie', response.headers.getSetCookie())
  outgoing.end(Buffer.from(await response.arrayBuffer()))
}).listen(given.port, '127.0.0.1', () => console.log('ready'))
