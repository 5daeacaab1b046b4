"""A refresh stays fast: it compiles and parses nothing again, and keeps nothing in memory."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import uuid
import weakref

import pytest
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.models.sql.compiler import SQLCompiler, SQLUpdateCompiler
from django.test import client as test_client

from django_ciam_token.crypto import jose
from django_ciam_token.database.compiled import Select
from django_ciam_token.models import RefreshToken
from django_ciam_token.sessions import rows
from django_ciam_token.sessions.rows import read_client, read_session
from tests.calls import calls_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def refresh_again(as_in_production, web_client, first_tokens, refresh):
    """Return a function that goes on with the token of its last answer."""
    tokens = [first_tokens["refresh_token"]]

    def again():
        answer = refresh(web_client, tokens.pop())
        assert answer.status_code == 200
        tokens.append(answer.json()["refresh_token"])

    for _ in range(5):
        again()
    return again


def test_no_refresh_compiles_sql_or_parses_a_key(refresh_again, monkeypatch):
    def never(*arguments, **others):
        raise AssertionError("this takes longer than everything else")

    monkeypatch.setattr(SQLCompiler, "as_sql", never)
    monkeypatch.setattr(SQLUpdateCompiler, "as_sql", never)
    monkeypatch.setattr(jose, "parse_private_key", never)

    refresh_again()


@pytest.mark.django_db(transaction=True)
def test_refreshes_leave_nothing_in_memory(refresh_again, traces):
    tracemalloc.start(3)
    try:
        refresh_again()
        before = kept_bytes()
        for _ in range(100):
            refresh_again()
        # The tests record these themselves.
        for written in (traces.secrets, traces.logged, traces.signalled):
            written.clear()
        after = kept_bytes()
    finally:
        tracemalloc.stop()

    assert after - before < 100 * 1024


def kept_bytes():
    """Return the size of all allocated memory, except what Django's test client allocated within three calls.

    It connects a receiver for each request, and Django keeps a finalizer for every one of them.
    """
    gc.collect()
    client = tracemalloc.Filter(False, test_client.__file__, all_frames=True)
    kept = tracemalloc.take_snapshot().filter_traces([client])
    return sum(statistic.size for statistic in kept.statistics("filename"))


def test_a_refresh_allocates_little(refresh_again):
    """Measured: at most about 90 KiB at a time, including Django's test client."""
    tracemalloc.start()
    try:
        refresh_again()
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        refresh_again()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak - before < 200 * 1024


def test_a_refresh_calls_few_functions(refresh_again):
    """Measured: 1,100 to 1,650, depending on version and database; 4,500 with querysets."""
    assert calls_of(refresh_again) < 1800


def test_a_statement_reads_the_same_as_the_orm(web_client, first_tokens, refresh):
    refresh(web_client, first_tokens["refresh_token"])
    row = RefreshToken.objects.select_related("user").get()

    alone = read_session(row.pk, using="default")
    along = read_client(web_client.client_id, using="default", session_id=row.pk)

    assert {name: getattr(along.client, name) for name in values_of(web_client)} == values_of(web_client)
    for seen in (alone, along.session):
        values = {name: getattr(seen.session, name) for name in values_of(row)}
        assert normalised(values) == normalised(values_of(row))
        assert values_of(seen.session.user) == values_of(row.user)
        assert seen.since_rotation is not None


def test_a_session_of_another_client_is_not_read(web_client, spa_client, first_tokens):
    [session] = RefreshToken.objects.all()

    assert read_client(spa_client.client_id, using="default", session_id=session.pk).session is None
    assert read_client(web_client.client_id, using="default", session_id=uuid.uuid4()).session is None
    assert read_client("nobody", using="default", session_id=session.pk) is None


def test_attributes_that_were_left_out_are_read_when_used(
    web_client, first_tokens, django_assert_num_queries
):
    seen = read_session(RefreshToken.objects.get().pk, using=connection.alias)

    with django_assert_num_queries(1):
        assert seen.session.revoked_reason == ""


@pytest.mark.parametrize("select", [rows._SESSION, rows._CLIENT, rows._CLIENT_AND_SESSION])
def test_a_statement_keeps_no_connection_of_a_thread_that_has_ended(select):
    kept, connections_of_thread = Select(select._build), []

    def run_it():
        kept.rows(DEFAULT_DB_ALIAS, client_id="nobody", session_id=uuid.uuid4())
        connections_of_thread.append(weakref.ref(connections[DEFAULT_DB_ALIAS]))
        connections[DEFAULT_DB_ALIAS].close()

    thread = threading.Thread(target=run_it)
    thread.start()
    thread.join()
    gc.collect()

    [connection_of_thread] = connections_of_thread
    assert connection_of_thread() is None


def values_of(instance):
    return {field.attname: getattr(instance, field.attname) for field in instance._meta.concrete_fields}


def normalised(values):
    return {name: bytes(value) if isinstance(value, memoryview) else value for name, value in values.items()}
