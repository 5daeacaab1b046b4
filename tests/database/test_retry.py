from __future__ import annotations

import pytest
from django.db import DatabaseError, InterfaceError, InternalError, OperationalError, connection, transaction

from django_ciam_token.database import retry as module
from django_ciam_token.database.retry import ATTEMPTS, LostRace, retry
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import Client
from tests.factories import ClientFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    taken = []
    monkeypatch.setattr(module.time, "sleep", taken.append)
    return taken


def failing(error, *, times):
    """An operation that fails a number of times and then succeeds, and the list of its calls."""
    calls = []

    def operation(attempt):
        calls.append(1)
        if len(calls) <= times:
            raise error
        return "done"

    return operation, calls


def test_an_operation_that_succeeds_at_once_is_not_delayed(pauses):
    operation, calls = failing(LostRace(), times=0)

    assert retry(operation, using="default") == "done"
    assert (len(calls), pauses) == (1, [])


@pytest.mark.parametrize(
    "error", [OperationalError("deadlock"), InterfaceError("closed"), InternalError("read-only"), LostRace()]
)
def test_an_operation_that_the_database_refuses_is_retried_after_ever_longer_pauses(error, pauses):
    operation, calls = failing(error, times=ATTEMPTS - 1)

    assert retry(operation, using="default") == "done"

    assert len(calls) == ATTEMPTS
    assert len(pauses) == ATTEMPTS - 1
    assert all(0 <= pause <= 0.02 * 2**attempt for attempt, pause in enumerate(pauses, start=1))


def test_the_limit_of_the_pauses_doubles_each_time(monkeypatch):
    limits = []
    monkeypatch.setattr(module.random, "uniform", lambda low, high: limits.append((low, high)))
    operation, _ = failing(LostRace(), times=ATTEMPTS - 1)

    retry(operation, using="default")

    assert limits == [(0, 0.04), (0, 0.08), (0, 0.16)]


@pytest.mark.parametrize("error", [OperationalError("deadlock"), LostRace()])
def test_an_operation_that_fails_every_time_is_temporarily_unavailable(error):
    operation, calls = failing(error, times=ATTEMPTS)

    with pytest.raises(TemporarilyUnavailable):
        retry(operation, using="default")

    assert len(calls) == ATTEMPTS


def test_other_database_errors_are_bugs_and_are_not_retried():
    operation, calls = failing(DatabaseError("no such column"), times=1)

    with pytest.raises(DatabaseError, match="no such column"):
        retry(operation, using="default")

    assert len(calls) == 1


def test_a_lost_race_is_retried_even_within_a_transaction_of_the_caller():
    operation, _ = failing(LostRace(), times=1)

    with transaction.atomic():
        assert retry(operation, using="default") == "done"


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server to drop a connection")
def test_a_connection_that_the_server_has_dropped_is_replaced():
    ClientFactory(name="before")
    number, kill = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend(%s)"),
        "mysql": ("SELECT connection_id()", "KILL %s"),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(number)
        [mine] = cursor.fetchone()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute(kill, [mine])
    other.close()

    assert retry(lambda _: Client.objects.get().name, using="default") == "before"


@pytest.mark.parametrize(("error", "looks"), [(OperationalError("gone"), 2), (LostRace(), 0)])
def test_after_each_refusal_the_connection_is_looked_at(monkeypatch, error, looks):
    seen = []
    monkeypatch.setattr(connection, "close_if_unusable_or_obsolete", lambda: seen.append(1))
    operation, _ = failing(error, times=2)

    assert retry(operation, using="default") == "done"

    assert len(seen) == looks


def test_a_connection_that_can_not_be_closed_does_not_stop_the_retry(monkeypatch):
    def fail():
        raise OperationalError(2006, "")

    monkeypatch.setattr(connection, "close_if_unusable_or_obsolete", fail)
    operation, _ = failing(OperationalError("gone"), times=1)

    assert retry(operation, using="default") == "done"


def test_the_log_has_the_class_and_code_of_an_error_but_not_its_message(traces):
    class Deadlock(Exception):
        sqlstate = "40P01"

    class Quoting(Exception):
        pass

    for cause in (Deadlock("Key (secret)=(hunter2)"), Quoting("Key (secret)=(hunter2)"), Quoting(1213, "x")):
        error = OperationalError("Key (secret)=(hunter2)")
        error.__cause__ = cause
        retry(failing(error, times=1)[0], using="default")

    text = "\n".join(traces.logged)
    assert "Deadlock 40P01" in text
    assert "Quoting 1213" in text
    assert "hunter2" not in text
