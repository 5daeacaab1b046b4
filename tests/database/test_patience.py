"""What is only noted gives way to other people's locks."""

from __future__ import annotations

import time
from functools import partial

import pytest
from django.db import DatabaseError, OperationalError, connection, transaction

from django_ciam_token.database import patience
from django_ciam_token.database.patience import Pause, impatient, impatient_end
from django_ciam_token.models import Client
from tests.locks import held_elsewhere, row_locks, table_lock

pytestmark = pytest.mark.django_db(transaction=True)


def limits():
    """How long this connection waits."""
    queries = {
        "postgresql": "SHOW lock_timeout",
        "mysql": "SELECT @@innodb_lock_wait_timeout, @@lock_wait_timeout",
        "sqlite": "PRAGMA busy_timeout",
    }
    with connection.cursor() as cursor:
        cursor.execute(queries[connection.vendor])
        return cursor.fetchone()


@pytest.mark.parametrize("lock", [row_locks, table_lock])
def test_a_lock_is_not_waited_for(web_client, lock):
    usual = limits()
    with held_elsewhere(partial(lock, Client)):
        begun_at = time.monotonic()
        with pytest.raises(OperationalError), impatient("default"):
            Client.objects.update(name="changed")
        took = time.monotonic() - begun_at

    assert took < 1
    assert limits() == usual
    assert Client.objects.get().name == web_client.name


def test_what_nobody_holds_is_written_and_the_limit_ends_with_the_transaction(web_client):
    usual = limits()
    with impatient("default"):
        assert limits() != usual
        Client.objects.update(name="changed")

    assert limits() == usual
    assert Client.objects.get().name == "changed"


def test_an_error_rolls_back_and_lifts_the_limit(web_client):
    usual = limits()

    def fail():
        with impatient("default"):
            Client.objects.update(name="changed")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert limits() == usual
    assert Client.objects.get().name == web_client.name


def test_within_a_transaction_of_the_caller_the_limit_is_the_callers(web_client):
    usual = limits()
    with transaction.atomic():
        with impatient("default"):
            assert limits() == usual
            Client.objects.update(name="changed")
        transaction.set_rollback(True)

    assert Client.objects.get().name == web_client.name


def test_a_database_that_is_not_known_has_no_limit(web_client, monkeypatch):
    monkeypatch.setattr(patience, "_LIMITS", {})
    usual = limits()
    with impatient("default"):
        assert limits() == usual


@pytest.mark.skipif(connection.vendor == "postgresql", reason="its limit ends with the transaction by itself")
def test_a_limit_that_can_not_be_lifted_ends_with_the_connection(web_client, monkeypatch):
    usual, lift = limits(), patience._lift
    monkeypatch.setattr(patience, "_lift", lambda connection, statement: lift(connection, "no SQL"))
    with impatient("default"):
        limited = connection.connection

    assert connection.connection is not limited
    assert limits() == usual


def test_within_a_transaction_it_is_an_error_if_a_limit_can_not_be_lifted(web_client):
    """Django leaves a block whose connection was closed without an error, although nothing is committed."""

    @transaction.atomic
    def change():
        Client.objects.update(name="changed")
        patience._lift(connection, "no SQL")

    with pytest.raises(DatabaseError):
        change()

    assert Client.objects.get().name == web_client.name


@pytest.mark.skipif(connection.vendor == "sqlite", reason="its one lock is held already")
def test_the_end_of_a_transaction_may_be_impatient(web_client):
    usual = limits()
    with transaction.atomic():
        assert limits() == usual
        with impatient_end("default"):
            assert limits() != usual

    assert limits() == usual


def test_a_connection_that_was_lost_is_not_opened_to_lift_its_limit(web_client):
    def lose():
        with impatient("default"):
            connection.close()
            raise OperationalError("lost")

    with pytest.raises(DatabaseError):
        lose()

    assert connection.connection is None


def test_a_pause_lasts_for_a_while_or_until_it_is_ended(monkeypatch):
    now = [1_000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.time", lambda: now[0])
    pause = Pause(5)
    assert pause.is_over()

    pause.begin()
    now[0] += 4.9
    assert not pause.is_over()
    now[0] += 0.1
    assert pause.is_over()

    pause.begin()
    pause.end()
    assert pause.is_over()
