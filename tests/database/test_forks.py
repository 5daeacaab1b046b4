"""A real fork, as ``gunicorn --preload`` makes it, of a process that has connections and copies already."""

from __future__ import annotations

import os
import threading
import traceback

import pytest
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction

from django_ciam_token.database import forks
from django_ciam_token.integrations import cors_headers
from django_ciam_token.keys import key_set
from django_ciam_token.models import RefreshToken
from django_ciam_token.monitoring import audit_trail, refresh_counter

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    # A child has only the thread that forked; that is what these tests are about.
    pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning"),
]


def in_a_child(function, *, seconds=30):
    """Run a function in a child; return what it returned, as text."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with os.fdopen(writable, "w") as answer:
                answer.write(str(function()))
            status = 0
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writable)
    # One that hangs is stopped, and fails.
    timer = threading.Timer(seconds, os.kill, (child, 9))
    timer.start()
    with os.fdopen(readable) as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    timer.cancel()
    assert status == 0, "the child failed, or hung"
    return text


def backend_pid():
    statement = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT CONNECTION_ID()"}
    with connection.cursor() as cursor:
        cursor.execute(statement[connection.vendor])
        return str(cursor.fetchone()[0])


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server that tells connections apart")
def test_a_child_opens_a_connection_of_its_own_and_the_parents_lives_on():
    before = backend_pid()

    assert in_a_child(backend_pid) != before
    assert in_a_child(backend_pid) != before

    assert backend_pid() == before


def test_children_and_parent_refresh_at_once(as_in_production, web_client, first_tokens, refresh, user):
    token = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]

    def go_on():
        answer = refresh(web_client, token)
        assert answer.status_code == 200, answer.content
        return answer.json()["refresh_token"]

    successor = in_a_child(go_on)

    # The second of them is answered with the same successor.
    assert in_a_child(go_on) == successor
    assert go_on() == successor
    assert RefreshToken.objects.get().generation == 2


def test_a_connection_that_is_in_a_transaction_is_not_used_by_the_child():
    def use_it():
        if connection.connection is None and connection.needs_rollback:
            return "lost"
        return "in use"

    with transaction.atomic():
        RefreshToken.objects.exists()
        assert in_a_child(use_it) == "lost"
        RefreshToken.objects.exists()

    assert connections[DEFAULT_DB_ALIAS].is_usable()


def test_locks_that_another_thread_held_do_not_stop_the_child(web_client, first_tokens, refresh):
    """Such a thread does not exist there, and nobody would let go of them."""
    held, may_go = threading.Event(), threading.Event()

    def hold():
        with refresh_counter.counter._lock, audit_trail._lock:
            held.set()
            may_go.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()

    def use_them():
        # A refresh is counted, and a replay is written down.
        return [refresh(web_client, first_tokens["refresh_token"]).status_code for _ in range(2)]

    try:
        assert in_a_child(use_them) == "[200, 200]"
    finally:
        may_go.set()
        thread.join()


def test_a_reading_in_the_background_is_not_waited_for_in_the_child(monkeypatch):
    cors_headers._readings["anybody's"] = cors_headers._Reading()

    assert in_a_child(lambda: list(cors_headers._readings)) == "[]"
    assert list(cors_headers._readings) == ["anybody's"]


def test_what_is_only_data_is_inherited():
    kids = [key.kid for key in key_set.current().keys]

    assert in_a_child(lambda: [key.kid for key in key_set.current().keys]) == str(kids)


def test_a_pool_of_the_parent_is_left_to_it(monkeypatch):
    wrapper, pool = connections[DEFAULT_DB_ALIAS], object()
    monkeypatch.setattr(wrapper, "_connection_pools", {DEFAULT_DB_ALIAS: pool}, raising=False)
    monkeypatch.setattr(wrapper, "connection", None)

    forks.abandon_connections()

    assert wrapper._connection_pools == {}
    assert forks._inherited.pop() is pool


def test_abandoned_is_not_closed(monkeypatch):
    class Driver:
        """Has no `close`."""

    wrapper = connections[DEFAULT_DB_ALIAS]
    wrapper.close()
    for is_in_transaction in (False, True):
        monkeypatch.setattr(wrapper, "connection", driver := Driver())
        monkeypatch.setattr(wrapper, "in_atomic_block", is_in_transaction)
        monkeypatch.setattr(forks, "_is_in_memory", lambda connection: False)

        forks.abandon_connections()

        assert wrapper.connection is None
        assert wrapper.closed_in_transaction is wrapper.needs_rollback is is_in_transaction
        assert forks._inherited.pop() is driver
    wrapper.closed_in_transaction = wrapper.needs_rollback = False


@pytest.mark.skipif(connection.vendor != "sqlite", reason="of SQLite alone")
def test_a_database_in_memory_stays(monkeypatch):
    monkeypatch.setattr(connections[DEFAULT_DB_ALIAS], "is_in_memory_db", lambda: True)
    connection.ensure_connection()
    driver = connection.connection

    forks.abandon_connections()

    assert connection.connection is driver


def test_where_there_is_no_fork_nothing_is_registered(monkeypatch):
    monkeypatch.delattr("os.register_at_fork")

    forks.after_fork(lambda: None)
