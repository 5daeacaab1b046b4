"""An honest request never ends its own session, however long the service takes over it.

The grace period is one second here, and every delay is longer.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test import override_settings
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.clients import authentication
from django_ciam_token.database import outages
from django_ciam_token.models import Client, RefreshToken
from django_ciam_token.sessions import rotation
from tests.conftest import post_form
from tests.locks import held_elsewhere

pytestmark = pytest.mark.django_db(transaction=True)

GRACE = timedelta(seconds=1)
LONGER = 1.5
SOON = 0.3
# The pauses of the service are time.sleep, which some tests replace.
pass_time = threading.Event().wait


@pytest.fixture(autouse=True)
def _short_grace_period(web_client):
    Client.objects.update(refresh_token_grace_period=GRACE)
    web_client.refresh_token_grace_period = GRACE
    outages.forget()
    yield
    outages.forget()


@pytest.fixture
def token(web_client, user):
    return issue_tokens(client=web_client, user=user)["refresh_token"]


@pytest.fixture
def begin(web_client, refresh):
    """Send a refresh and return its answer to come."""
    with ThreadPoolExecutor(4) as pool:

        def send(token: str) -> Future:
            def task():
                try:
                    return refresh(web_client, token)
                finally:
                    connections.close_all()

            return pool.submit(task)

        yield send


def assert_same_successor(*answers):
    assert [answer.status_code for answer in answers] == [200] * len(answers), [a.content for a in answers]
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert RefreshToken.objects.get().revoked_at is None


@contextmanager
def row_lock():
    with transaction.atomic():
        list(RefreshToken.objects.select_for_update())
        if connection.vendor == "sqlite":  # BEGIN IMMEDIATE is the lock.
            Client.objects.update(name="locked")
        yield


@contextmanager
def table_lock():
    """As an ALTER TABLE or a backup holds it: others may read."""
    table = RefreshToken._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with transaction.atomic():
                cursor.execute(f"LOCK TABLE {table} IN SHARE MODE")
                yield
        else:
            cursor.execute(f"LOCK TABLES {table} READ")
            yield
            cursor.execute("UNLOCK TABLES")


@pytest.mark.parametrize("lock", [row_lock, table_lock])
def test_requests_that_wait_for_a_lock_longer_than_the_grace_period(token, begin, refresh, web_client, lock):
    if lock is table_lock and connection.vendor == "sqlite":
        pytest.skip("SQLite has one lock for all tables, which the other case holds")
    with held_elsewhere(lock):
        first = begin(token)
        time.sleep(SOON)
        second = begin(token)
        time.sleep(LONGER)

    answers = first.result(), second.result()
    # The grace period begins when the rotation has happened, not when its statement began.
    assert_same_successor(*answers, refresh(web_client, token))


@pytest.mark.parametrize("lock", [row_lock, table_lock])
def test_the_grace_period_begins_after_a_lock_that_was_waited_for(token, begin, refresh, web_client, lock):
    """The client gave up, and repeats its request only when the rotation has happened."""
    if lock is table_lock and connection.vendor == "sqlite":
        pytest.skip("SQLite has one lock for all tables, which the other case holds")
    with held_elsewhere(lock):
        first = begin(token)
        time.sleep(LONGER)

    assert_same_successor(first.result(), refresh(web_client, token))


@pytest.fixture
def hang(settings):
    """Let the site's own function hang in the first request that it is called for."""
    hangs, go_on = threading.Event(), threading.Event()
    calls = []

    def claims(**_):
        calls.append(1)
        if len(calls) == 1:
            hangs.set()
            go_on.wait(10)
        return {}

    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ACCESS_TOKEN_CLAIMS": claims}
    return hangs, go_on


def test_a_request_that_hangs_in_a_function_of_the_site_is_answered_like_its_repeat(
    token, begin, refresh, web_client, hang
):
    hangs, go_on = hang
    hanging = begin(token)
    assert hangs.wait(10)
    repeated = refresh(web_client, token)
    time.sleep(LONGER)
    go_on.set()

    assert_same_successor(repeated, hanging.result())
    # That answer may be the first that arrives, so it may be lost and asked for again.
    assert_same_successor(repeated, refresh(web_client, token))


def test_a_request_that_hangs_while_its_client_works_on_is_refused_and_ends_nothing(
    token, begin, refresh, web_client, hang, traces
):
    hangs, go_on = hang
    hanging = begin(token)
    assert hangs.wait(10)
    successor = refresh(web_client, token).json()["refresh_token"]
    latest = refresh(web_client, successor).json()["refresh_token"]
    time.sleep(LONGER)
    go_on.set()

    answer = hanging.result()

    assert (answer.status_code, answer.content) == (400, b'{"error": "invalid_grant"}')
    assert any("'reason': 'overtaken'" in line for line in traces.logged)
    assert refresh(web_client, latest).status_code == 200


def test_with_strict_one_time_use_the_loser_of_a_race_is_a_reuse(token, begin, refresh, web_client, hang):
    Client.objects.update(refresh_token_grace_period=timedelta(0))
    hangs, go_on = hang
    hanging = begin(token)
    assert hangs.wait(10)
    assert refresh(web_client, token).status_code == 200
    go_on.set()

    assert hanging.result().status_code == 400
    assert RefreshToken.objects.get().revoked_reason == "reuse"


@pytest.fixture
def slow_commit(monkeypatch):
    """Let the next COMMIT take long, as that of a database whose standby is gone does."""
    commit, lock, slow = type(connections["default"])._commit, threading.Lock(), []

    def stall(self):
        with lock:
            is_first = not slow
            slow.append(1)
        if is_first:
            time.sleep(LONGER)
        return commit(self)

    monkeypatch.setattr(type(connections["default"]), "_commit", stall)


def test_a_commit_that_stalls_longer_than_the_grace_period(token, begin, refresh, web_client, slow_commit):
    first = begin(token)
    time.sleep(SOON)
    while_it_stalls = begin(token)

    answers = first.result(), while_it_stalls.result()

    assert_same_successor(*answers, refresh(web_client, token))


def test_the_grace_period_begins_after_a_commit_that_stalled(token, refresh, web_client, slow_commit):
    """The client gave up, and repeats its request only when the COMMIT is over."""
    first = refresh(web_client, token)

    assert_same_successor(first, refresh(web_client, token))


def test_the_repeat_right_after_a_stalled_commit_looks_again_before_anything_ends(
    token, refresh, web_client, monkeypatch
):
    """It may read the row between the COMMIT and the statement that lets the grace period begin."""
    assert refresh(web_client, token).status_code == 200
    ago = timezone.now() - timedelta(minutes=1)
    RefreshToken.objects.update(rotated_at=ago)
    looks = []

    def renew_in_between(seconds):
        looks.append(seconds)
        RefreshToken.objects.update(rotated_at=timezone.now())

    monkeypatch.setattr("django_ciam_token.database.retry.time.sleep", renew_in_between)

    assert refresh(web_client, token).status_code == 200
    assert looks


def test_a_request_that_waits_during_client_authentication_was_current_before(
    token, refresh, web_client, monkeypatch
):
    """Noting the use of a secret may wait for a lock; meanwhile the client gives up and repeats."""
    client = Client.objects.get()
    client.secrets.update(last_used_at=None)
    note_use, others = authentication._note_use, []

    def wait(secret, now):
        if not others:
            others.append(None)
            others[0] = refresh(web_client, token)
            RefreshToken.objects.update(rotated_at=timezone.now() - timedelta(minutes=1))
        return note_use(secret, now) or True

    monkeypatch.setattr(authentication, "_note_use", wait)

    answer = refresh(web_client, token)

    assert_same_successor(answer, others[0])


def queued(web_client, token, header):
    form = {
        "grant_type": "refresh_token",
        "client_id": web_client.client_id,
        "client_secret": web_client.plain_secret,
        "refresh_token": token,
    }
    return post_form(form, HTTP_X_REQUEST_START=header)


def test_time_in_front_of_a_worker_is_not_the_clients_if_the_proxy_says_so(
    token, refresh, web_client, settings
):
    first = refresh(web_client, token)
    RefreshToken.objects.update(rotated_at=timezone.now() - timedelta(seconds=40))
    header = f"t={timezone.now().timestamp() - 50:.3f}"
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "REQUEST_START_HEADER": "X-Request-Start"}

    assert_same_successor(first, queued(web_client, token, header))


def test_without_the_setting_the_header_means_nothing(token, refresh, web_client):
    refresh(web_client, token)
    RefreshToken.objects.update(rotated_at=timezone.now() - timedelta(seconds=40))

    assert queued(web_client, token, f"t={timezone.now().timestamp() - 50:.3f}").status_code == 400
    assert RefreshToken.objects.get().revoked_reason == "reuse"


def test_a_queued_request_whose_client_has_gone_on_ends_nothing(token, refresh, web_client, settings):
    sent_at = timezone.now().timestamp() - 5
    second = refresh(web_client, token).json()["refresh_token"]
    third = refresh(web_client, second).json()["refresh_token"]
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "REQUEST_START_HEADER": "X-Request-Start"}

    assert queued(web_client, token, f"{sent_at * 1000:.0f}").status_code == 400
    assert refresh(web_client, third).status_code == 200


@pytest.fixture
def outage(monkeypatch):
    """Let the next COMMIT succeed without saying so, and refuse everything until it is over."""
    # Of this connection: an earlier test may have left an attribute that hides what its class has.
    commit, is_on, is_over = connection._commit, [], []

    def break_after():
        commit()
        if not is_over:
            is_on.append(1)
            raise OperationalError("server closed the connection unexpectedly")

    def refuse(execute, *args):
        if is_on:
            raise OperationalError("the database system is starting up")
        return execute(*args)

    monkeypatch.setattr("django_ciam_token.database.retry.time.sleep", lambda seconds: None)
    monkeypatch.setattr(connection, "_commit", break_after)
    with connection.execute_wrapper(refuse):

        def end():
            is_over.append(1)
            is_on.clear()

        yield end


def test_after_an_outage_the_repeat_that_was_asked_for_is_answered(token, refresh, web_client, outage):
    answer = refresh(web_client, token)
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    pass_time(LONGER)
    assert refresh(web_client, token).status_code == 503
    outage()

    assert_same_successor(refresh(web_client, token))


def test_a_process_without_requests_during_an_outage_answers_the_repeat(token, refresh, web_client, outage):
    refresh(web_client, token)
    pass_time(LONGER)
    assert refresh(web_client, token).status_code == 503
    outage()
    outages.forget()  # As another process, which nobody has asked until now.

    assert_same_successor(refresh(web_client, token))


def test_an_outage_excuses_only_the_time_it_took(token, refresh, web_client, outage):
    refresh(web_client, token)
    pass_time(SOON)
    refresh(web_client, token)
    outage()
    RefreshToken.objects.update(rotated_at=timezone.now() - timedelta(minutes=10))

    assert refresh(web_client, token).status_code == 400
    assert RefreshToken.objects.get().revoked_reason == "reuse"


def test_a_grace_period_that_can_not_be_renewed_costs_no_answer(
    token, refresh, web_client, monkeypatch, traces
):
    first = refresh(web_client, token)
    RefreshToken.objects.update(rotated_at=timezone.now() - timedelta(seconds=40))
    header = f"{timezone.now().timestamp() - 50:.3f}"

    def refuse(*args, **kwargs):
        raise OperationalError("read-only")

    monkeypatch.setattr(rotation, "_restart_grace_period", refuse)

    with override_settings(
        CIAM_TOKEN={"ISSUER": "https://id.example.com", "REQUEST_START_HEADER": "X-Request-Start"}
    ):
        assert_same_successor(first, queued(web_client, token, header))
    assert any("grace_period_not_renewed" in line for line in traces.logged)
