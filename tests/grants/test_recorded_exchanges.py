"""An exchange has its event written in its own transaction, and never waits for the audit trail."""

from __future__ import annotations

import time
from functools import partial

import pytest
from django.db import OperationalError, ProgrammingError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from django_ciam_token.database.compiled import Insert
from django_ciam_token.models import EventType, RefreshToken, SecurityEvent
from django_ciam_token.monitoring import event_writer
from django_ciam_token.monitoring.audit_trail import event_of, writer
from tests.grants.test_authorization_code import REDIRECT_URI, code_for, exchange
from tests.locks import held_elsewhere, table_lock

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("django_ciam_token.database.retry.time.sleep", lambda seconds: None)


@pytest.fixture
def web_client(web_client):
    web_client.redirect_uris = REDIRECT_URI
    web_client.save()
    return web_client


@pytest.fixture
def refuse_events(monkeypatch):
    """Let the database refuse every event that is written with what it records."""

    def refuse(error):
        def fail(*arguments):
            attempts.append(arguments)
            raise error("refused")

        attempts = []
        monkeypatch.setattr(Insert, "run", fail)
        return attempts

    return refuse


def events():
    return list(SecurityEvent.objects.order_by("pk").values_list("event", "session_id", "address"))


def assert_recorded_once():
    session = RefreshToken.objects.get()
    assert events() == [("issued", session.pk, "127.0.0.1")]


def words(queries):
    return [query["sql"].split()[0] for query in queries]


def test_there_is_one_commit_and_a_constant_number_of_statements(web_client, user):
    exchange(web_client, code_for(web_client, user))
    code = code_for(web_client, user)

    with CaptureQueriesContext(connection) as queries:
        assert exchange(web_client, code).status_code == 200

    around = {
        "postgresql": ["SET", "INSERT"],
        "mysql": ["SET", "INSERT", "SET"],
        "sqlite": ["INSERT"],
    }[connection.vendor]
    assert words(queries) == ["SELECT", "BEGIN", "UPDATE", *around, "COMMIT"]


def test_the_event_says_what_one_that_is_written_later_says(web_client, user, monkeypatch):
    exchange(web_client, code_for(web_client, user))
    monkeypatch.setattr(event_writer.EventWriter, "may_join", lambda self, using: False)
    exchange(web_client, code_for(web_client, user))

    fields = [field.attname for field in SecurityEvent._meta.fields if field.attname not in {"id", "at"}]
    with_it, after_it = SecurityEvent.objects.order_by("pk").values(*fields)
    assert with_it.pop("session_id") != after_it.pop("session_id")
    assert with_it == after_it


def test_a_locked_trail_is_not_waited_for_and_gets_the_event_later(web_client, user):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one lock for all tables, which the session needs as well")
    code = code_for(web_client, user)
    with held_elsewhere(partial(table_lock, SecurityEvent)):
        begun_at = time.monotonic()
        assert exchange(web_client, code).status_code == 200
        assert time.monotonic() - begun_at < 1
        assert events() == []
        # The next one does not even try.
        assert not writer.may_join("default")
    writer._refused.end()
    writer.write_kept()

    assert_recorded_once()


@pytest.mark.parametrize("error", [OperationalError, ProgrammingError])
def test_a_trail_that_refuses_costs_nothing_but_a_second_attempt(web_client, user, refuse_events, error):
    attempts = refuse_events(error)

    assert exchange(web_client, code_for(web_client, user)).status_code == 200

    assert len(attempts) == 1
    assert RefreshToken.objects.get().generation == 1
    writer._refused.end()
    writer.write_kept()
    assert_recorded_once()


def test_an_exchange_whose_commit_is_uncertain_is_recorded_once(web_client, user, break_next_commit):
    code = code_for(web_client, user)
    broken = break_next_commit()

    assert exchange(web_client, code).status_code == 200

    assert broken
    assert_recorded_once()


def test_an_exchange_that_is_rolled_back_is_not_recorded(web_client, user, monkeypatch):
    code = code_for(web_client, user)

    def fail():
        connection._rollback()
        raise OperationalError("deadlock detected")

    monkeypatch.setattr(connection, "_commit", fail)
    assert exchange(web_client, code).status_code == 503
    monkeypatch.undo()

    assert events() == []
    assert exchange(web_client, code).status_code == 200
    assert_recorded_once()


def test_within_a_transaction_of_the_site_it_is_recorded_after_that(web_client, user):
    code = code_for(web_client, user)
    with transaction.atomic():
        assert exchange(web_client, code).status_code == 200
        assert events() == []

    assert_recorded_once()


class Elsewhere:
    """The audit trail has a database of its own."""

    def db_for_write(self, model, **hints):
        return "trail" if model is SecurityEvent else "default"


def test_a_trail_in_another_database_is_written_after_the_commit(settings):
    settings.DATABASE_ROUTERS = [Elsewhere()]

    assert not writer.may_join("default")
    assert not connections["default"].in_atomic_block


@pytest.mark.parametrize("detail", [None, {"name": ["old", "new"]}])
def test_a_row_is_inserted_as_django_would(detail):
    statement = Insert(SecurityEvent)
    for _ in range(2):
        statement.run("default", event_of(EventType.CLIENT_CHANGED, client_id="portal", detail=detail))

    assert list(SecurityEvent.objects.values_list("detail", flat=True)) == [detail, detail]
    assert SecurityEvent.objects.filter(detail__isnull=detail is None).count() == 2
