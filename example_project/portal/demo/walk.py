"""What the single-page application and its user's browser do, over HTTP and without a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import jwt

SCOPE = "openid profile email"
REFUSED = (400, {"error": "invalid_grant"})


class Surprise(Exception):
    """Something was not as it should be."""


def expect(condition: bool, surprise: str) -> None:
    """Raise `Surprise` unless something is as it should be."""
    if not condition:
        raise Surprise(surprise)


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    address: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The members of a JSON answer."""
        return dict(json.loads(self.body))

    @property
    def location(self) -> str:
        """Where it sends the browser."""
        return urljoin(self.address, self.headers.get("Location", ""))


class _Stay(urllib.request.HTTPRedirectHandler):
    """Redirects are looked at before they are followed."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow nothing."""


class Browser:
    """Keeps cookies and follows no redirect by itself."""

    def __init__(self) -> None:
        self.cookies = CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.cookies), _Stay
        )

    def open(self, address: str, form: Mapping[str, str] | None = None, **headers: str) -> Answer:
        """Send a request: POST if there is a form, else GET.

        Raises:
            Surprise: nobody answers there.
        """
        body = None if form is None else urlencode(form).encode()
        request = urllib.request.Request(address, body, headers=headers)
        try:
            with self._opener.open(request, timeout=30) as response:
                return Answer(address, response.status, response.headers, response.read())
        except urllib.error.HTTPError as error:
            return Answer(address, error.code, error.headers, error.read())
        except urllib.error.URLError as error:
            raise Surprise(f"{address} can't be reached ({error.reason})") from error


@dataclass(frozen=True)
class Application:
    """The single-page application, as `application/app.js` is, and the browser that it runs in."""

    browser: Browser
    origin: str
    issuer: str
    client_id: str
    metadata: Mapping[str, Any]

    @classmethod
    def load(cls, origin: str) -> Application:
        """Load the page, its configuration, and the discovery document from the other origin."""
        browser = Browser()
        for path in ("/", "/app.js", "/app.css"):
            expect(browser.open(origin + path).status == 200, f"the application has no {path}")
        config = browser.open(f"{origin}/config.json").json
        issuer = config["issuer"]
        discovery = browser.open(f"{issuer}/.well-known/openid-configuration", Origin=origin)
        _expect_readable(discovery, origin)
        expect(discovery.json["issuer"] == issuer, "the issuer of the metadata is another one")
        return cls(browser, origin, issuer, config["client_id"], discovery.json)

    @property
    def redirect_uri(self) -> str:
        """Where the user comes back to."""
        return f"{self.origin}/"

    def authorization_request(self, **parameters: str) -> tuple[str, str]:
        """Return the address that the browser is sent to, and the code_verifier."""
        verifier = secrets.token_urlsafe(32)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": SCOPE,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
            **parameters,
        }
        return f"{self.metadata['authorization_endpoint']}?{urlencode(query)}", verifier

    def returned(self, answer: Answer, state: str) -> dict[str, str]:
        """Check that the browser is sent back to the application; return with what."""
        expect(answer.status in (302, 303), f"HTTP {answer.status} in place of a redirect")
        expect(answer.location.startswith(f"{self.redirect_uri}?"), "the browser was sent elsewhere")
        parameters = dict(parse_qsl(urlsplit(answer.location).query))
        expect(parameters["state"] == state, "the state came back changed")
        expect(parameters["iss"] == self.issuer, "the answer is another issuer's")
        return parameters

    def ask(self, **form: str) -> Answer:
        """Ask the token endpoint, as a script on the application's origin does."""
        answer = self.browser.open(
            self.metadata["token_endpoint"], {"client_id": self.client_id, **form}, Origin=self.origin
        )
        _expect_readable(answer, self.origin)
        return answer

    def exchange(self, code: str, verifier: str) -> Answer:
        """Exchange a code."""
        return self.ask(
            grant_type="authorization_code",
            code=code,
            redirect_uri=self.redirect_uri,
            code_verifier=verifier,
        )

    def refresh(self, refresh_token: str) -> Answer:
        """Refresh."""
        return self.ask(grant_type="refresh_token", refresh_token=refresh_token)

    def verify(self, token: str) -> dict[str, Any]:
        """Verify a JWT with the published keys; return its claims."""
        key = jwt.PyJWKClient(self.metadata["jwks_uri"]).get_signing_key_from_jwt(token)
        algorithms = self.metadata["id_token_signing_alg_values_supported"]
        return jwt.decode(token, key, algorithms=algorithms, audience=self.client_id, issuer=self.issuer)


def walk(origin: str, username: str, password: str, say: Callable[[str], None]) -> None:
    """Sign in, refresh, replay, reuse and sign out.

    Raises:
        Surprise: something was not as it should be.
    """
    application = Application.load(origin)
    say("The application reads the discovery document of the other origin")
    tokens = _sign_in(application, username, password, say)
    _refresh(application, tokens, say)
    _sign_out(application, say)


def _sign_in(
    application: Application, username: str, password: str, say: Callable[[str], None]
) -> dict[str, Any]:
    request, verifier = application.authorization_request(state="first", nonce="n-1")
    login = application.browser.open(application.browser.open(request).location)
    seals = re.findall(rb'name="csrfmiddlewaretoken" value="(\w+)"', login.body)
    expect(login.status == 200 and bool(seals), "nobody was asked to sign in")
    form = {
        "csrfmiddlewaretoken": seals[0].decode(),
        "username": username,
        "password": password,
        "next": dict(parse_qsl(urlsplit(login.address).query))["next"],
    }
    signed_in = application.browser.open(login.address, form, Referer=login.address)
    expect(signed_in.status == 302, "the login was refused")
    answer = application.returned(application.browser.open(signed_in.location), "first")
    say("The user signs in with the site's own login form and comes back with a code")

    expect(
        application.exchange(answer["code"], "x" * 43).json == REFUSED[1],
        "a wrong code_verifier was accepted",
    )
    exchanged = application.exchange(answer["code"], verifier)
    expect(exchanged.status == 200, f"the exchange was refused: {exchanged.body!r}")
    again = application.exchange(answer["code"], verifier)
    expect((again.status, again.json) == REFUSED, "a code was accepted twice")
    tokens = exchanged.json
    claims = application.verify(tokens["id_token"])
    expect(claims["nonce"] == "n-1", "the id_token has another nonce")
    say(f"The code becomes tokens; the id_token says {json.dumps(claims)}")

    authorization = f"Bearer {tokens['access_token']}"
    address = application.metadata["userinfo_endpoint"]
    userinfo = application.browser.open(address, Authorization=authorization, Origin=application.origin)
    _expect_readable(userinfo, application.origin)
    expect(userinfo.json["preferred_username"] == username, "/userinfo names another user")
    say(f"/userinfo says {userinfo.body.decode()}")
    return tokens


def _refresh(application: Application, tokens: dict[str, Any], say: Callable[[str], None]) -> None:
    first = application.refresh(tokens["refresh_token"])
    expect(first.status == 200, f"the refresh was refused: {first.body!r}")
    expect(first.json["refresh_token"] != tokens["refresh_token"], "the refresh token was not rotated")
    application.verify(first.json["access_token"])
    say("A refresh replaces the refresh token")

    again = application.refresh(tokens["refresh_token"])
    expect(again.status == 200, "the replay was refused")
    expect(again.json["refresh_token"] == first.json["refresh_token"], "the replay gave another token")
    say("Two tabs at once, or an answer that was lost: the same request gets the same refresh token")

    latest = application.refresh(first.json["refresh_token"])
    expect(latest.status == 200, "the successor was refused")
    for what, token in (("old", tokens["refresh_token"]), ("newest", latest.json["refresh_token"])):
        answer = application.refresh(token)
        expect((answer.status, answer.json) == REFUSED, f"the {what} refresh token was not refused")
    say("Once the successor was used, the old token counts as stolen: its session ends")


def _sign_out(application: Application, say: Callable[[str], None]) -> None:
    request, verifier = application.authorization_request(state="second")
    answer = application.returned(application.browser.open(request), "second")
    tokens = application.exchange(answer["code"], verifier).json
    say("The user is still signed in at the site: the next code comes without a login")

    query = {
        "id_token_hint": tokens["id_token"],
        "post_logout_redirect_uri": application.redirect_uri,
        "state": "bye",
    }
    address = f"{application.metadata['end_session_endpoint']}?{urlencode(query)}"
    signed_out = application.browser.open(address)
    expect(signed_out.location == f"{application.redirect_uri}?state=bye", "signing out led elsewhere")
    refused = application.refresh(tokens["refresh_token"])
    expect((refused.status, refused.json) == REFUSED, "the session outlived signing out")
    request, _ = application.authorization_request(state="third", prompt="none")
    error = application.returned(application.browser.open(request), "third").get("error")
    expect(error == "login_required", "the user was still signed in")
    say("Signing out ends the session, and the login at the site")


def _expect_readable(answer: Answer, origin: str) -> None:
    allowed = answer.headers.get("Access-Control-Allow-Origin")
    expect(allowed == origin, f"{answer.address} can't be read from {origin}")
