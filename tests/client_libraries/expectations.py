"""What is expected of every library that signs a person in, whatever it is called."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
import requests
from jose import jwt as python_jose

from tests.client_libraries.browser import Browser
from tests.client_libraries.conftest import assert_rotated
from tests.served import TokenService


@dataclass(frozen=True, kw_only=True)
class SignedIn:
    """What a library got for the person in front of it before it signed them out again."""

    first: dict[str, Any]
    refreshed: dict[str, Any]
    userinfo: dict[str, Any]
    nonce: str | None
    signed_out: str
    """Where the browser was in the end."""


def assert_signed_in_and_out(
    service: TokenService, client: dict[str, str], got: SignedIn, *, profile: Path, redirect_uri: str
) -> None:
    """Check the tokens with other libraries, and that nothing is left after signing out."""
    assert urlsplit(got.signed_out).query == "state=bye"
    assert_rotated([got.first, got.refreshed], partial(with_pyjwt, service, client))
    at_first, later = (
        with_python_jose(service, client, tokens["id_token"], access_token=tokens["access_token"])
        for tokens in (got.first, got.refreshed)
    )
    assert with_pyjwt(service, client, got.first["access_token"])["sub"] == at_first["sub"]
    assert at_first.get("nonce") == got.nonce
    assert "nonce" not in later
    assert (got.userinfo["sub"], got.userinfo["preferred_username"]) == (at_first["sub"], service.username)

    ended = refresh(service, client, got.refreshed["refresh_token"])
    assert (ended.status_code, ended.json()) == (400, {"error": "invalid_grant"})
    silently = {
        "client_id": client["client_id"],
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "prompt": "none",
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
    }
    answer = Browser(profile).open(f"{service.base_url}/oauth2/authorize?{urlencode(silently)}")
    assert answer.startswith(f"{redirect_uri}?error=login_required&")


def refresh(service: TokenService, client: dict[str, str], token: str) -> requests.Response:
    """Refresh as simply as possible."""
    credentials = {name: client[name] for name in ("client_id", "client_secret") if name in client}
    form = {"grant_type": "refresh_token", "refresh_token": token, **credentials}
    return requests.post(service.token_endpoint, data=form, timeout=20)


def with_pyjwt(service: TokenService, client: dict[str, str], token: str) -> dict[str, Any]:
    """Return the claims of a JWT, verified by PyJWT."""
    key = jwt.PyJWKClient(service.jwks_uri).get_signing_key_from_jwt(token)
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=["RS256"],
        issuer=service.base_url,
        audience=client["client_id"],
        options={"require": ["iss", "aud", "exp", "iat", "sub"]},
    )
    return claims


def with_python_jose(
    service: TokenService, client: dict[str, str], token: str, **options: str
) -> dict[str, Any]:
    """Return the claims of a JWT, verified by python-jose; it compares ``at_hash`` if it is there."""
    claims: dict[str, Any] = python_jose.decode(
        token,
        requests.get(service.jwks_uri, timeout=20).json(),
        algorithms=["RS256"],
        issuer=service.base_url,
        audience=client["client_id"],
        **options,
    )
    return claims
