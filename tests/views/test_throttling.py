"""Clients that keep failing are slowed down; nobody is refused because somebody else fails."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock

import pytest
from django.contrib.auth.hashers import make_password
from django.core.cache import cache
from django.db import connections

from django_ciam_token import signals
from django_ciam_token.api import import_client_secret, issue_tokens, rotate_client_secret
from django_ciam_token.clients import secrets
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


def test_tokens_of_another_client_are_answered_429_like_any_wrong_ones(fail, web_client, user):
    """Somebody has stolen them, and tries them out."""
    stolen = issue_tokens(client=ClientFactory(), user=user)["refresh_token"]
    right = {"client_secret": web_client.plain_secret, "refresh_token": stolen}
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


class Gone:
    """A cache that is unavailable."""

    def get(self, *args):
        raise ConnectionError("no cache")

    set = get


class ReadOnly:
    """A cache whose server has become a replica."""

    def get(self, key, default):
        return default

    set = Gone.get


class Dummy(ReadOnly):
    """A cache that keeps nothing."""

    def set(self, *args):
        pass


@pytest.mark.parametrize("broken", [Gone, ReadOnly, Dummy])
def test_without_the_cache_each_process_counts_for_itself(fail, web_client, user, monkeypatch, broken):
    monkeypatch.setattr(throttling.FailureThrottle, "cache", broken())
    token = issue_tokens(client=web_client, user=user)["refresh_token"]

    assert [fail().status_code for _ in range(2 * LIMIT)] == [401] * LIMIT + [429] * LIMIT
    assert fail(client_secret=web_client.plain_secret, refresh_token=token).status_code == 200


def test_that_the_cache_is_unavailable_is_logged(fail, monkeypatch, traces):
    monkeypatch.setattr(throttling.FailureThrottle, "cache", Gone())
    fail()

    assert any("each process counts failures for itself" in line for line in traces.logged)


def test_a_process_remembers_a_limited_number_of_histories(monkeypatch):
    monkeypatch.setattr(throttling, "_HISTORIES_REMEMBERED", 2)
    memory = throttling.Memory()

    for name in ("a", "b", "a", "c"):
        memory.set(name, [1.0])

    assert [memory.get(name) for name in "abc"] == [[1.0], [], [1.0]]


@pytest.mark.parametrize("cached", [False, True])
def test_the_failures_of_one_tenant_do_not_count_for_another(fail, monkeypatch, cached):
    if not cached:
        monkeypatch.setattr(throttling.FailureThrottle, "cache", Dummy())
    for schema, status in (("blue", 429), ("green", 401)):
        monkeypatch.setattr(connections["default"], "schema_name", schema, raising=False)
        if schema == "blue":
            assert {fail().status_code for _ in range(LIMIT)} == {401}
        assert fail().status_code == status


def test_the_addresses_of_one_network_count_as_one(fail):
    for number in range(LIMIT):
        assert fail(address=f"2001:db8:0:1::{number}").status_code == 401

    assert fail(address="2001:db8:0:1:ffff::1").status_code == 429
    assert fail(address="2001:db8:0:2::1").status_code == 401
    assert fail(address="::ffff:192.0.2.1").status_code == 401


def test_a_clock_that_was_set_back_makes_nobody_wait_for_more_than_a_minute(fail, clock):
    for _ in range(LIMIT):
        fail()
    clock[0] -= 10

    assert_throttled(fail(), retry_after=60)


def test_nobody_is_told_to_try_again_at_once(clock, monkeypatch):
    """The minute of the oldest failure is over while the wait is computed."""
    throttle, whose = throttling.FailureThrottle(), {"client_id": "x", "network": "192.0.2.1", "limit": 1}
    throttle.add(**whose)
    times = iter([clock[0] + 59.9, clock[0] + 60.1])
    monkeypatch.setattr(throttling.FailureThrottle, "timer", lambda self: next(times))

    assert throttle.seconds_to_wait(**whose) == 1


@pytest.mark.parametrize("kept", ["imported", "both", "expired"])
def test_an_imported_secret_makes_the_limit_smaller_for_as_long_as_it_is_live(
    fail, settings, web_client, user, kept
):
    """Also besides a secret of ours, which works past the limit."""
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SLOW_FAILURES_PER_MINUTE": 2}
    import_client_secret(web_client, make_password("brought along"))
    overlap = timedelta(0) if kept == "expired" else timedelta(days=1)
    drawn = None if kept == "imported" else rotate_client_secret(web_client, overlap=overlap)

    answers = [fail().status_code for _ in range(3)]

    assert answers == ([401] * 3 if kept == "expired" else [401, 401, 429])
    if drawn is not None:
        token = issue_tokens(client=web_client, user=user)["refresh_token"]
        assert fail(client_secret=drawn, refresh_token=token).status_code == 200


def test_a_client_with_a_slow_hash_has_a_smaller_limit(fail, settings, web_client):
    """Each wrong secret costs what the hash costs."""
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SLOW_FAILURES_PER_MINUTE": 2}
    import_client_secret(web_client, make_password("brought along"))
    with mock.patch.object(secrets, "check_password", wraps=secrets.check_password) as checked:
        assert [fail().status_code for _ in range(4)] == [401, 401, 429, 429]
    assert checked.call_count == 2
    other = ClientFactory()
    assert {fail(client=other).status_code for _ in range(LIMIT)} == {401}


@pytest.mark.parametrize("slow", [2, None])
def test_the_smaller_limit_is_a_setting_of_its_own(fail, settings, web_client, slow):
    limits = {"FAILURES_PER_MINUTE": None, "SLOW_FAILURES_PER_MINUTE": slow}
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, **limits}
    import_client_secret(web_client, make_password("brought along"))

    assert [fail().status_code for _ in range(4)] == [401, 401, *[401 if slow is None else 429] * 2]


def test_an_imported_secret_that_has_ended_leaves_the_limit_as_it_is(fail, settings, web_client):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SLOW_FAILURES_PER_MINUTE": 1}
    import_client_secret(web_client, make_password("brought along"))
    rotate_client_secret(web_client, overlap=timedelta(0))

    assert {fail().status_code for _ in range(LIMIT)} == {401}


class Differing:
    """A cache that answers the first reading, which says that the limit is reached, and then no more."""

    readings = 0

    def get(self, key, default):
        self.readings += 1
        if self.readings > 1:
            raise ConnectionError("no cache")
        return [1_000_000.0] * LIMIT

    set = Gone.get


def test_a_right_secret_that_was_not_tried_is_not_answered_as_a_wrong_one(
    fail, web_client, monkeypatch, traces
):
    """The oldest failure leaves the minute, or the cache fails, while the request is judged."""
    import_client_secret(web_client, make_password("brought along"))
    monkeypatch.setattr(throttling.FailureThrottle, "cache", Differing())

    assert fail(client_secret="brought along").status_code == 429

    assert any("secret_not_tried" in line for line in traces.logged)
    assert traces.of(signals.client_authentication_failed) == []


def test_the_minute_does_not_end_while_a_request_is_judged(fail, web_client, clock, monkeypatch):
    import_client_secret(web_client, make_password("brought along"))
    for _ in range(LIMIT):
        fail()
    ticking = iter([clock[0] + 59.9])
    monkeypatch.setattr(throttling.FailureThrottle, "timer", lambda self: next(ticking, clock[0] + 60.1))

    assert fail(client_secret="brought along").status_code == 429
