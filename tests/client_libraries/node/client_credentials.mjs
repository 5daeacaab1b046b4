// Reads client_id, client_secret and issuer as one JSON object from standard input.
import { readFileSync } from 'node:fs'
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'

const given = JSON.parse(readFileSync(0, 'utf8'))
const issuer = new URL(given.issuer)

const secret = client.ClientSecretBasic(given.client_secret)
const plain = { execute: [client.allowInsecureRequests] }
const config = await client.discovery(issuer, given.client_id, undefined, secret, plain)
const ofOpenidClient = await client.clientCredentialsGrant(config, { scope: 'profile' })

const plainHttp = { [oauth.allowInsecureRequests]: true }
const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, plainHttp))
const machine = { client_id: given.client_id }
const ofOauth4webapi = await oauth.processClientCredentialsResponse(
  server,
  machine,
  await oauth.clientCredentialsGrantRequest(
    server, machine, oauth.ClientSecretPost(given.client_secret), new URLSearchParams(), plainHttp,
  ),
)
console.log(JSON.stringify([ofOpenidClient, ofOauth4webapi]))
