"""Clients that keep failing are slowed down; nobody is refused because somebody else fails."""

from __future__ import annotations

import pytest
from django.contrib.auth.hashers import make_password
from django.core.cache import cache

from django_ciam_token.api import import_client_secret, issue_tokens
from django_ciam_token.models import RefreshToken
from django_ciam_token.views import throttling
from tests.conftest import post_form
from tests.factories import ClientFactory

pytestmark = pytest.mark.django_db

LIMIT = 5
WRONG_SECRET = {"client_secret": "wrong", "refresh_token": "x"}


@pytest.fixture(autouse=True)
def clock(settings, monkeypatch):
    """A clock that stands still until the test moves it on."""
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "FAILURES_PER_MINUTE": LIMIT}
    now = [1_000_000.0]
    monkeypatch.setattr(throttling.FailureThrottle, "timer", lambda self: now[0])
    cache.clear()
    yield now
    cache.clear()


@pytest.fixture
def fail(web_client):
    """Fail in one of the ways that count."""

    def fail(*, client=web_client, address="192.0.2.1", **parameters):
        form = {"grant_type": "refresh_token", "client_id": client.client_id, **WRONG_SECRET, **parameters}
        return post_form(form, REMOTE_ADDR=address)

    return fail


def assert_throttled(response, *, retry_after):
    assert response.status_code == 429
    assert response["Retry-After"] == str(retry_after)
    assert response["Content-Type"] == "application/json;charset=UTF-8"
    assert response["Cache-Control"] == "private, no-store"
    assert response.json() == {
        "error": "temporarily_unavailable",
        "error_description": "too many failed requests; wait before the next",
    }


def test_too_many_wrong_secrets_are_answered_429_until_the_minute_is_over(fail, clock):
    for _ in range(LIMIT):
        assert fail().status_code == 401
        clock[0] += 1

    assert_throttled(fail(), retry_after=55)
    clock[0] += 54
    assert_throttled(fail(), retry_after=1)
    clock[0] += 1
    assert fail().status_code == 401


def test_too_many_wrong_refresh_tokens_are_answered_429(fail, web_client):
    right = {"client_secret": web_client.plain_secret}
    for _ in range(LIMIT):
        assert fail(**right).json() == {"error": "invalid_grant"}

    assert_throttled(fail(**right), retry_after=60)


def test_a_request_that_succeeds_is_never_throttled(fail, web_client, user):
    token = issue_tokens(client=web_client, user=user)["refresh_token"]
    for _ in range(LIMIT + 2):
        fail()
    assert fail().status_code == 429

    for _ in range(3 * LIMIT):
        response = fail(client_secret=web_client.plain_secret, refresh_token=token)
        assert response.status_code == 200
        token = response.json()["refresh_token"]


def test_another_client_or_another_address_is_not_throttled(fail):
    for _ in range(LIMIT + 1):
        fail()

    assert fail(client=ClientFactory()).status_code == 401
    assert fail(address="192.0.2.2").status_code == 401


def test_a_reuse_still_ends_its_session(fail, web_client, user, refresh):
    first = issue_tokens(client=web_client, user=user)["refresh_token"]
    second = refresh(web_client, first).json()["refresh_token"]
    refresh(web_client, second)
    for _ in range(LIMIT + 1):
        fail()

    response = fail(client_secret=web_client.plain_secret, refresh_token=first)

    assert response.json() == {"error": "invalid_grant"}
    assert RefreshToken.objects.get().revoked_reason == "reuse"


def test_when_many_sessions_have_ended_their_applications_are_not_throttled(fail, web_client, user, refresh):
    first = issue_tokens(client=web_client, user=user)["refresh_token"]
    second = refresh(web_client, first).json()["refresh_token"]
    refresh(web_client, second)

    for _ in range(2 * LIMIT):
        response = fail(client_secret=web_client.plain_secret, refresh_token=first)
        assert response.json() == {"error": "invalid_grant"}


def test_errors_of_the_form_are_not_counted(fail, web_client):
    for _ in range(LIMIT + 1):
        assert fail(client_secret=web_client.plain_secret, grant_type="x").status_code == 400

    assert fail().status_code == 401


def test_revocation_and_introspection_are_throttled_alike(web_client):
    form = {"client_id": web_client.client_id, "client_secret": "wrong", "token": "x"}
    for _ in range(LIMIT):
        assert post_form(form, url="/oauth2/revoke").status_code == 401

    assert_throttled(post_form(form, url="/oauth2/introspect"), retry_after=60)


def test_the_limit_can_be_lifted(fail, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "FAILURES_PER_MINUTE": None}

    assert {fail().status_code for _ in range(2 * LIMIT)} == {401}


def test_past_the_limit_an_imported_secret_is_not_tried(fail, settings, web_client):
    """An imported secret may be easy to guess, and each guess costs a slow hash."""
    import_client_secret(web_client, make_password("brought along"))
    assert fail(client_secret="brought along").json() == {"error": "invalid_grant"}
    for _ in range(LIMIT):
        fail()

    assert fail(client_secret="brought along").status_code == 429


def test_past_the_limit_a_client_with_an_imported_secret_does_not_become_public(fail, settings):
    client = ClientFactory(application_type="spa")
    import_client_secret(client, make_password("brought along"))
    for _ in range(LIMIT):
        fail(client=client)

    assert fail(client=client, client_secret="").status_code == 429


def test_with_the_limit_lifted_imported_secrets_are_tried(fail, settings, web_client):
    import_client_secret(web_client, make_password("brought along"))
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "FAILURES_PER_MINUTE": None}

    assert fail(client_secret="brought along").json() == {"error": "invalid_grant"}


def test_without_the_cache_requests_are_still_answered(fail, web_client, user, monkeypatch, traces):
    class Gone:
        def get(self, *args):
            raise ConnectionError("no cache")

        set = get

    monkeypatch.setattr(throttling.FailureThrottle, "cache", Gone())
    token = issue_tokens(client=web_client, user=user)["refresh_token"]

    assert {fail().status_code for _ in range(2 * LIMIT)} == {401}
    assert fail(client_secret=web_client.plain_secret, refresh_token=token).status_code == 200
    assert any("failures are not counted" in line for line in traces.logged)
