"""Authlib refreshes tokens, and joserfc (its successor to ``authlib.jose``) verifies them."""

from functools import partial
from typing import Any

import pytest
import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.client_libraries.conftest import WAYS_TO_AUTHENTICATE, assert_rotated
from tests.served import TokenService

pytestmark = pytest.mark.clients


def oauth2_session(service: TokenService, client: dict[str, str], **options: Any) -> OAuth2Session:
    options = {"token_endpoint": service.token_endpoint, "default_timeout": 10} | options
    return OAuth2Session(client["client_id"], client.get("client_secret"), **options)


def verified_claims(service: TokenService, client: dict[str, str], token: str) -> dict[str, Any]:
    keys = KeySet.import_key_set(requests.get(service.jwks_uri, timeout=10).json())
    claims = jwt.decode(token, keys, algorithms=["RS256"]).claims
    jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": service.base_url},
        aud={"essential": True, "value": client["client_id"]},
        exp={"essential": True},
    ).validate(claims)
    return claims


@pytest.mark.parametrize(("application_type", "method"), WAYS_TO_AUTHENTICATE)
def test_authlib_refreshes_again_and_again(service: TokenService, application_type: str, method: str) -> None:
    client, first = service.first_tokens(application_type)

    with oauth2_session(service, client, token=first, token_endpoint_auth_method=method) as session:
        answers = [first, *(dict(session.refresh_token()) for _ in range(5))]

    assert_rotated(answers, partial(verified_claims, service, client))


def test_authlib_raises_invalid_grant_for_a_wrong_refresh_token(service: TokenService) -> None:
    client, first = service.first_tokens("web")

    with oauth2_session(service, client, token=first) as session:
        with pytest.raises(OAuthError) as raised:
            session.refresh_token(refresh_token="wrong")
        session.refresh_token()

    assert raised.value.error == "invalid_grant"


def test_authlib_gets_the_same_successor_if_it_missed_the_answer(service: TokenService) -> None:
    client, first = service.first_tokens("spa")

    with oauth2_session(service, client) as session:
        lost, seen = (session.refresh_token(refresh_token=first["refresh_token"]) for _ in range(2))

    assert lost["refresh_token"] == seen["refresh_token"]


def test_authlib_automatically_refreshes_tokens_from_a_login(service: TokenService) -> None:
    client = service.create_client("spa")
    form = {"username": service.username, "password": service.password, "client_id": client["client_id"]}
    first = requests.post(f"{service.base_url}/login", data=form, timeout=10).json()
    updates: list[dict[str, Any]] = []

    def update_token(token: dict[str, Any], refresh_token: str) -> None:
        assert refresh_token == first["refresh_token"]
        updates.append(token)

    expired = first | {"expires_at": 1}
    with oauth2_session(service, client, token=expired, update_token=update_token) as session:
        resource = session.get(service.jwks_uri)

    assert resource.request.headers["Authorization"] == f"Bearer {updates[0]['access_token']}"
    assert updates[0]["refresh_token"] != first["refresh_token"]


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_introspects_and_revokes(service: TokenService, method: str) -> None:
    client, first = service.first_tokens("web")
    introspect, revoke = f"{service.base_url}/oauth2/introspect", f"{service.base_url}/oauth2/revoke"

    with oauth2_session(service, client, revocation_endpoint_auth_method=method) as session:
        for hint in ("access_token", "refresh_token"):
            live = session.introspect_token(introspect, token=first[hint], token_type_hint=hint).json()
            assert (live["active"], live["client_id"]) == (True, client["client_id"])
        answer = session.revoke_token(revoke, token=first["refresh_token"], token_type_hint="refresh_token")
        ended = session.introspect_token(introspect, token=first["access_token"]).json()
        with pytest.raises(OAuthError) as raised:
            session.refresh_token(service.token_endpoint, refresh_token=first["refresh_token"])

    assert (answer.status_code, answer.json()) == (200, {})
    assert ended == {"active": False}
    assert raised.value.error == "invalid_grant"
