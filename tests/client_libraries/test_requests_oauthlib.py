"""requests-oauthlib refreshes tokens, and PyJWT verifies them with the published JWK Set."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jwt
import pytest
import requests
from oauthlib.oauth2 import InvalidGrantError
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from tests.client_libraries.conftest import WAYS_TO_AUTHENTICATE, assert_rotated
from tests.served import TokenService

pytestmark = pytest.mark.clients


@pytest.fixture(autouse=True)
def _plain_http_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def credentials(client: dict[str, str], method: str) -> dict[str, Any]:
    """Return the arguments with which ``refresh_token`` authenticates the client by this method."""
    if method == "client_secret_basic":
        return {"auth": HTTPBasicAuth(client["client_id"], client["client_secret"])}
    return {name: client[name] for name in ("client_id", "client_secret") if name in client}


def verified_claims(service: TokenService, client: dict[str, str], token: str) -> dict[str, Any]:
    key = jwt.PyJWKClient(service.jwks_uri).get_signing_key_from_jwt(token)
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=["RS256"],
        issuer=service.base_url,
        audience=client["client_id"],
        options={"require": ["iss", "aud", "exp"]},
    )
    return claims


@pytest.mark.parametrize(("application_type", "method"), WAYS_TO_AUTHENTICATE)
def test_requests_oauthlib_refreshes_again_and_again(
    service: TokenService, application_type: str, method: str
) -> None:
    client, first = service.first_tokens(application_type)
    authentication = credentials(client, method)

    with OAuth2Session(client["client_id"], token=first) as session:
        answers = [
            first,
            *(dict(session.refresh_token(service.token_endpoint, **authentication)) for _ in range(5)),
        ]

    assert_rotated(answers, partial(verified_claims, service, client))


def test_requests_oauthlib_raises_invalid_grant_for_a_wrong_refresh_token(service: TokenService) -> None:
    client, first = service.first_tokens("web")
    authentication = credentials(client, "client_secret_basic")

    with OAuth2Session(client["client_id"], token=first) as session:
        with pytest.raises(InvalidGrantError) as raised:
            session.refresh_token(service.token_endpoint, refresh_token="wrong", **authentication)
        session.refresh_token(service.token_endpoint, **authentication)

    assert raised.value.error == "invalid_grant"


def test_requests_oauthlib_refreshes_automatically_before_a_request(service: TokenService) -> None:
    client, first = service.first_tokens("web")
    updates: list[dict[str, Any]] = []

    with OAuth2Session(
        client["client_id"],
        token=first | {"expires_at": 1},
        auto_refresh_url=service.token_endpoint,
        auto_refresh_kwargs=credentials(client, "client_secret_post"),
        token_updater=updates.append,
    ) as session:
        resource = session.get(service.jwks_uri)

    assert resource.request.headers["Authorization"] == f"Bearer {updates[0]['access_token']}"
    assert updates[0]["refresh_token"] != first["refresh_token"]


def test_one_token_sent_ten_times_at_once_has_one_successor(service: TokenService) -> None:
    client, first = service.first_tokens("web")
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    secret = credentials(client, "client_secret_basic")["auth"]

    def refresh(_attempt: int) -> requests.Response:
        return requests.post(service.token_endpoint, data=form, auth=secret, timeout=30)

    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(refresh, range(10)))

    assert [answer.status_code for answer in answers] == [200] * 10
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
