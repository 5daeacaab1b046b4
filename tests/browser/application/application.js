// A single-page application that leaves everything to oidc-client-ts. Tests call `manager` from outside.
window.begun = (async () => {
  const { issuer, client_id } = await (await fetch('/config.json')).json()
  window.manager = new oidc.UserManager({
    authority: issuer,
    client_id,
    redirect_uri: `${location.origin}/callback`,
    silent_redirect_uri: `${location.origin}/silent`,
    post_logout_redirect_uri: `${location.origin}/signed-out`,
    scope: 'openid profile',
    loadUserInfo: true,
    automaticSilentRenew: false,
    // All tabs share what they have.
    userStore: new oidc.WebStorageStateStore({ store: window.localStorage }),
  })
  const arrive = {
    '/callback': () => manager.signinCallback(),
    '/silent': () => manager.signinSilentCallback(),
    '/signed-out': () => manager.signoutCallback(),
  }[location.pathname]
  if (arrive) await arrive()
})()
