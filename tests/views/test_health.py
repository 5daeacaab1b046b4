from __future__ import annotations

import time
import uuid
from types import SimpleNamespace

import pytest
from django.db import OperationalError, ProgrammingError, connection, connections
from django.test import Client as Browser
from django.test import override_settings
from django.utils import timezone

from django_ciam_token.database import age
from django_ciam_token.keys import key_set
from django_ciam_token.models import SigningKey
from django_ciam_token.monitoring import health

URL = "/oauth2/health"
OK = (200, b'{"status": "ok"}')
UNAVAILABLE = (503, b'{"status": "unavailable"}')

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.health_urls")]


@pytest.fixture
def clock(monkeypatch):
    """The monotonic clock by which copies and answers age; tests set it by hand."""
    clock = SimpleNamespace(now=1000.0)
    own = SimpleNamespace(monotonic=lambda: clock.now, time=time.time)
    monkeypatch.setattr(age, "time", own)
    monkeypatch.setattr(health, "time", own)
    return clock


def ask(method="get"):
    response = getattr(Browser(raise_request_exception=False), method)(URL)
    assert "no-store" in response["Cache-Control"]
    return response.status_code, response.content


def reasons(caplog):
    return [record.reason for record in caplog.records if getattr(record, "event", None) == "unhealthy"]


@pytest.mark.urls("tests.urls")
def test_a_site_that_does_not_ask_for_it_has_no_such_address():
    assert Browser().get(URL).status_code == 404


def test_a_process_that_can_issue_tokens_says_ok_and_nothing_else():
    assert ask() == OK


def test_a_head_request_is_answered_without_a_body():
    assert ask("head") == (200, b"")


def test_other_methods_are_refused():
    assert ask("post")[0] == 405


def test_the_first_question_reads_the_keys_and_the_next_ones_make_one_small_statement(
    clock, django_assert_num_queries
):
    with django_assert_num_queries(1):
        assert ask() == OK
    clock.now += 1

    with django_assert_num_queries(1) as queries:
        assert ask() == OK
    assert "encrypted_private_key" not in queries.captured_queries[0]["sql"]


def test_many_questions_at_once_make_one_statement(django_assert_num_queries):
    with django_assert_num_queries(1):
        assert [ask() for _ in range(50)] == [OK] * 50


def test_nothing_is_written_and_a_provisional_key_stays_provisional(clock, django_assert_num_queries):
    assert SigningKey.objects.get().is_provisional
    ask()
    clock.now += 100
    with django_assert_num_queries(1) as queries:
        assert ask() == OK

    assert [query["sql"][:6] for query in queries.captured_queries] == ["SELECT"]
    assert SigningKey.objects.get().is_provisional


def test_without_a_key_it_is_unhealthy_and_makes_none(caplog):
    SigningKey.objects.all().delete()

    assert ask() == UNAVAILABLE
    assert not SigningKey.objects.exists()
    assert reasons(caplog) == ["no_usable_key"]


def test_a_probe_that_fails_is_no_mail_to_the_admins(caplog):
    SigningKey.objects.all().delete()

    assert ask() == UNAVAILABLE

    assert not [record for record in caplog.records if record.name == "django.request"]


def test_a_key_that_only_will_be_active_is_not_usable():
    SigningKey.objects.update(active_at=timezone.now() + timezone.timedelta(hours=1))

    assert ask() == UNAVAILABLE


def test_with_the_wrong_secrets_it_is_unhealthy(caplog):
    with override_settings(SECRET_KEY="another-secret-" + "x" * 40):
        assert ask() == UNAVAILABLE
    assert reasons(caplog) == ["no_usable_key"]


def test_with_wrong_settings_it_is_unhealthy(caplog):
    with override_settings(CIAM_TOKEN={"ISSUER": "https://id.example.com", "SECRETS": 7}):
        assert ask() == UNAVAILABLE
    assert reasons(caplog) == ["wrong_settings"]


def test_an_old_copy_of_the_keys_is_renewed(clock):
    key_set.current()
    SigningKey.objects.all().delete()
    clock.now += 59
    assert ask() == OK
    clock.now += 1

    assert ask() == UNAVAILABLE


@pytest.fixture
def dead_database(settings, monkeypatch, as_in_production):
    """The database that the router names can't be connected to."""

    class Router:
        def db_for_write(self, model, **hints):
            return "dead"

    nowhere = {**connections["default"].settings_dict, "NAME": f"/nowhere/{uuid.uuid4()}", "TEST": {}}
    monkeypatch.setitem(connections.settings, "dead", nowhere)
    settings.DATABASE_ROUTERS = [Router()]
    return "dead"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("has_copy", [True, False])
def test_on_a_dead_database_it_is_unhealthy_at_once_whether_it_knows_keys_or_not(request, has_copy, caplog):
    if has_copy:
        key_set.current()
        kept = next(iter(key_set._key_sets.values()))
    alias = request.getfixturevalue("dead_database")
    if has_copy:
        key_set._key_sets[(alias, None)] = kept

    begun = time.monotonic()
    assert ask() == UNAVAILABLE

    assert time.monotonic() - begun < 1
    assert reasons(caplog) == ["database_unavailable"]
    assert str(connections.settings["dead"]["NAME"]) not in caplog.text


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_broke_since_the_last_request_is_replaced(monkeypatch):
    read, failures = key_set._read, []

    def fail_once(*args, **kwargs):
        if not failures:
            failures.append(1)
            raise OperationalError("server closed the connection unexpectedly")
        return read(*args, **kwargs)

    monkeypatch.setattr(key_set, "_read", fail_once)

    assert ask() == OK
    assert failures == [1]


def test_while_another_thread_waits_for_the_database_nobody_else_does(
    monkeypatch, caplog, django_assert_num_queries
):
    monkeypatch.setattr(health, "_LONGEST_WAIT", 0.01)
    with health._asking, django_assert_num_queries(0):
        assert ask() == UNAVAILABLE
    assert reasons(caplog) == ["database_does_not_answer"]


@pytest.mark.django_db(transaction=True)
def test_a_database_that_only_reads_is_healthy():
    """After a failover, or during one: keys are published, and a refresh is answered 503 by itself."""
    read_only = {
        "sqlite": ("PRAGMA query_only = ON", "PRAGMA query_only = OFF"),
        "postgresql": ("SET default_transaction_read_only = on", "SET default_transaction_read_only = off"),
        "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE"),
    }
    begin, end = read_only[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(begin)
    try:
        assert ask() == OK
    finally:
        with connection.cursor() as cursor:
            cursor.execute(end)


def test_credentials_that_failed_often_do_not_throttle_it(settings, monkeypatch):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "FAILURES_PER_MINUTE": 1}
    browser = Browser(raise_request_exception=False, headers={"Authorization": "Basic eDp5"})
    form = {"grant_type": "refresh_token", "refresh_token": "x"}
    for _ in range(3):
        browser.post(
            "/oauth2/token",
            "&".join(f"{k}={v}" for k, v in form.items()),
            content_type="application/x-www-form-urlencoded",
        )

    assert browser.get(URL).status_code == 200


def test_what_another_thread_found_out_meanwhile_is_not_asked_again(monkeypatch):
    answers = iter([None, True])
    monkeypatch.setattr(health, "_recent", lambda tenant: next(answers))
    monkeypatch.setattr(health, "_ask", lambda: pytest.fail("it is known by now"))

    assert health.is_healthy()


def test_an_error_that_no_new_connection_mends_is_not_tried_again(monkeypatch, caplog):
    calls = []

    def fail(using):
        calls.append(1)
        raise ProgrammingError("no such table")

    monkeypatch.setattr(health, "_keys_at_once", fail)

    assert ask() == UNAVAILABLE
    assert len(calls) == 1
