// Signing in from a single-page application, with nothing but what a browser has: OpenID Connect with PKCE.
// Everything that a client library does is here, so that it can be read. Applications of your own had better
// use a library, such as oidc-client-ts.

const { issuer, client_id } = await (await fetch("config.json")).json();
const metadata = await (await fetch(`${issuer}/.well-known/openid-configuration`)).json();
const redirectUri = `${location.origin}/`;
const otherTabs = new BroadcastChannel("refresh");
const $ = (id) => document.getElementById(id);

// The tabs share one session, so its tokens are where all of them see them. A script that runs in this page
// could read them there: that is why the page has a Content-Security-Policy that allows its own scripts only.
const load = () => JSON.parse(localStorage.getItem("tokens"));
const save = (tokens) => localStorage.setItem("tokens", JSON.stringify(tokens));

function base64url(bytes) {
    return btoa(String.fromCharCode(...new Uint8Array(bytes)))
        .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));
const sha256 = (text) => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));

function claimsOf(jwt) {
    const bytes = atob(jwt.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0))));
}

async function signIn() {
    const request = { state: random(), nonce: random(), verifier: random() };
    sessionStorage.setItem("request", JSON.stringify(request));
    const parameters = new URLSearchParams({
        response_type: "code",
        client_id,
        redirect_uri: redirectUri,
        scope: "openid profile email",
        state: request.state,
        nonce: request.nonce,
        code_challenge: base64url(await sha256(request.verifier)),
        code_challenge_method: "S256",
    });
    location.assign(`${metadata.authorization_endpoint}?${parameters}`);
}

async function finishSignIn(answer) {
    const request = JSON.parse(sessionStorage.getItem("request"));
    sessionStorage.removeItem("request");
    history.replaceState(null, "", location.pathname); // The code is of no more use; keep it out of the history.
    if (!request || answer.get("state") !== request.state || answer.get("iss") !== issuer) {
        throw new Error("this answer belongs to no request of this tab");
    }
    if (answer.has("error")) throw new Error(answer.get("error"));
    const tokens = await post(metadata.token_endpoint, {
        grant_type: "authorization_code",
        code: answer.get("code"),
        redirect_uri: redirectUri,
        code_verifier: request.verifier,
    });
    const claims = claimsOf(tokens.id_token);
    if (claims.iss !== issuer || claims.aud !== client_id || claims.nonce !== request.nonce) {
        throw new Error("this id_token is not for this request");
    }
    save(tokens);
}

async function post(address, parameters) {
    const body = new URLSearchParams({ client_id, ...parameters });
    const response = await fetch(address, { method: "POST", body });
    const answer = await response.json();
    if (!response.ok) throw Object.assign(new Error(answer.error), answer);
    return answer;
}

async function refresh(refreshToken) {
    try {
        const tokens = await post(metadata.token_endpoint, {
            grant_type: "refresh_token",
            refresh_token: refreshToken,
        });
        save(tokens);
        await log(refreshToken, tokens.refresh_token);
    } catch (error) {
        // Only this ends a session. After anything else, such as a 503, try again with the same token.
        if (error.error === "invalid_grant") localStorage.removeItem("tokens");
        say(`The refresh failed: ${error.message}`);
    }
    await show();
}

// One tab at a time, each with the token that the one before it got.
const refreshInTurn = () => navigator.locks.request("refresh", () => load() && refresh(load().refresh_token));
const isExpired = (tokens) => claimsOf(tokens.access_token).exp * 1000 < Date.now();

function refreshEverywhere() {
    const { refresh_token: refreshToken } = load();
    otherTabs.postMessage(refreshToken);
    return refresh(refreshToken);
}

function signOut() {
    const parameters = new URLSearchParams({
        id_token_hint: load().id_token,
        post_logout_redirect_uri: redirectUri,
    });
    localStorage.removeItem("tokens");
    location.assign(`${metadata.end_session_endpoint}?${parameters}`);
}

async function log(before, after) {
    const [old, fresh] = await Promise.all([before, after].map(fingerprint));
    const line = document.createElement("li");
    line.textContent = `${new Date().toLocaleTimeString()}: refresh token ${old} → ${fresh}`;
    $("log").querySelector(".none")?.remove();
    $("log").prepend(line);
}

const fingerprint = async (token) => base64url(await sha256(token)).slice(0, 8);

function say(text) {
    $("message").textContent = text;
}

async function show() {
    const tokens = load();
    $("signed-out").hidden = tokens !== null;
    $("signed-in").hidden = tokens === null;
    if (tokens === null) return;
    $("id-token").textContent = JSON.stringify(claimsOf(tokens.id_token), null, 2);
    const headers = { Authorization: `Bearer ${tokens.access_token}` };
    const userinfo = await (await fetch(metadata.userinfo_endpoint, { headers })).json();
    $("userinfo").textContent = JSON.stringify(userinfo, null, 2);
    $("name").textContent = userinfo.preferred_username ?? "?";
}

$("origin").textContent = location.origin;
$("issuer").textContent = issuer;
$("sign-in").addEventListener("click", signIn);
$("refresh").addEventListener("click", refreshInTurn);
$("refresh-all").addEventListener("click", refreshEverywhere);
$("sign-out").addEventListener("click", signOut);
otherTabs.addEventListener("message", (message) => refresh(message.data));
addEventListener("storage", show); // Another tab refreshed, or signed in or out.

const answer = new URLSearchParams(location.search);
if (answer.has("state")) {
    await finishSignIn(answer).catch((error) => say(`Signing in failed: ${error.message}`));
}
if (load() !== null && isExpired(load())) await refreshInTurn();
else await show();
