"""Authlib and requests-oauthlib sign a person in by their own code flow, and get tokens for machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from joserfc import jwt
from joserfc.jwk import KeySet
from oauthlib.oauth2 import BackendApplicationClient
from requests_oauthlib import OAuth2Session

from tests.client_libraries.browser import Browser
from tests.client_libraries.expectations import (
    SignedIn,
    assert_signed_in_and_out,
    with_pyjwt,
    with_python_jose,
)
from tests.served import TokenService

pytestmark = pytest.mark.clients

SCOPE = "openid profile"
OF_PEOPLE = [
    ("web", "client_secret_basic"),
    ("web", "client_secret_post"),
    ("spa", "none"),
    ("mobile", "none"),
]


@pytest.fixture(autouse=True)
def _plain_http_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for library in ("OAUTHLIB", "AUTHLIB"):
        monkeypatch.setenv(f"{library}_INSECURE_TRANSPORT", "1")


@pytest.fixture
def metadata(service: TokenService) -> dict[str, Any]:
    document: dict[str, Any] = requests.get(
        f"{service.base_url}/.well-known/openid-configuration", timeout=20
    ).json()
    return document


def registered(service: TokenService, application_type: str, callback: str) -> dict[str, str]:
    uris = ("--redirect-uri", callback, "--post-logout-redirect-uri", callback)
    return service.create_client(application_type, *uris, scope=SCOPE)


def leave(browser: Browser, metadata: dict[str, Any], id_token: str, callback: str) -> str:
    """Sign out as both libraries leave it to the application: they have no function for it."""
    form = {"id_token_hint": id_token, "post_logout_redirect_uri": callback, "state": "bye"}
    return browser.open(f"{metadata['end_session_endpoint']}?{urlencode(form)}")


@pytest.mark.parametrize(("application_type", "method"), OF_PEOPLE)
def test_authlib_signs_in_and_out(
    service: TokenService,
    metadata: dict[str, Any],
    profile: Path,
    callback: str,
    application_type: str,
    method: str,
) -> None:
    client, browser = registered(service, application_type, callback), Browser(profile)
    nonce, verifier = generate_token(), generate_token(48)

    with AuthlibSession(
        client["client_id"],
        client.get("client_secret"),
        token_endpoint_auth_method=method,
        token_endpoint=metadata["token_endpoint"],
        scope=SCOPE,
        redirect_uri=callback,
        code_challenge_method="S256",
        default_timeout=20,
    ) as session:
        address, state = session.create_authorization_url(
            metadata["authorization_endpoint"], nonce=nonce, code_verifier=verifier
        )
        arrived = browser.open(address)
        first = dict(session.fetch_token(authorization_response=arrived, state=state, code_verifier=verifier))
        refreshed = dict(session.refresh_token())
        userinfo = session.get(metadata["userinfo_endpoint"]).json()

    keys = KeySet.import_key_set(requests.get(service.jwks_uri, timeout=20).json())
    assert jwt.decode(first["id_token"], keys, algorithms=["RS256"]).claims["nonce"] == nonce
    signed_out = leave(browser, metadata, refreshed["id_token"], callback)
    got = SignedIn(first=first, refreshed=refreshed, userinfo=userinfo, nonce=nonce, signed_out=signed_out)
    assert_signed_in_and_out(service, client, got, profile=profile, redirect_uri=callback)


@pytest.mark.parametrize(
    ("application_type", "options"),
    [
        ("web", {}),
        ("web", {"include_client_id": True}),
        # Without a secret it sends "Basic" with an empty one, unless it is told not to.
        ("spa", {}),
        ("mobile", {"include_client_id": True}),
    ],
)
def test_requests_oauthlib_signs_in_and_out(
    service: TokenService,
    metadata: dict[str, Any],
    profile: Path,
    callback: str,
    application_type: str,
    options: dict[str, bool],
) -> None:
    client, browser = registered(service, application_type, callback), Browser(profile)
    credentials = {name: client[name] for name in ("client_id", "client_secret") if name in client}

    with OAuth2Session(
        client["client_id"], scope=SCOPE.split(), redirect_uri=callback, pkce="S256"
    ) as session:
        address, _state = session.authorization_url(metadata["authorization_endpoint"], nonce="its-nonce")
        arrived = browser.open(address)
        first = session.fetch_token(
            metadata["token_endpoint"],
            authorization_response=arrived,
            client_secret=client.get("client_secret"),
            timeout=20,
            **options,
        )
        first = dict(first)
        refreshed = dict(session.refresh_token(metadata["token_endpoint"], **credentials))
        userinfo = session.get(metadata["userinfo_endpoint"], timeout=20).json()

    signed_out = leave(browser, metadata, refreshed["id_token"], callback)
    got = SignedIn(
        first=first, refreshed=refreshed, userinfo=userinfo, nonce="its-nonce", signed_out=signed_out
    )
    assert_signed_in_and_out(service, client, got, profile=profile, redirect_uri=callback)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_gets_tokens_for_a_machine(
    service: TokenService, metadata: dict[str, Any], method: str
) -> None:
    client = service.create_client("m2m", scope="profile email")

    with AuthlibSession(
        client["client_id"], client["client_secret"], token_endpoint_auth_method=method, scope="profile"
    ) as session:
        tokens = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")

    assert_of_machine(service, client, tokens, scope="profile")


@pytest.mark.parametrize("include_client_id", [None, True])
def test_requests_oauthlib_gets_tokens_for_a_machine(
    service: TokenService, metadata: dict[str, Any], include_client_id: bool | None
) -> None:
    client = service.create_client("m2m", scope="profile email")

    with OAuth2Session(client=BackendApplicationClient(client["client_id"])) as session:
        tokens = session.fetch_token(
            metadata["token_endpoint"],
            client_id=client["client_id"],
            client_secret=client["client_secret"],
            include_client_id=include_client_id,
        )

    assert_of_machine(service, client, tokens, scope="profile email")


def assert_of_machine(
    service: TokenService, client: dict[str, str], tokens: dict[str, Any], *, scope: str
) -> None:
    assert not {"refresh_token", "id_token"} & set(tokens)
    for verified in (with_pyjwt, with_python_jose):
        claims = verified(service, client, tokens["access_token"])
        assert (claims["sub"], claims["scope"]) == (client["client_id"], scope.split())
