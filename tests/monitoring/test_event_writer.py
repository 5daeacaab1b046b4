"""An answer does not wait for the audit trail, and nothing that happened is missing from it."""

from __future__ import annotations

import time
from functools import partial

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.db.models import QuerySet

from django_ciam_token.api import issue_tokens
from django_ciam_token.models import EventType, SecurityEvent
from django_ciam_token.monitoring import event_writer
from django_ciam_token.monitoring.audit_trail import event_of, record, writer
from django_ciam_token.monitoring.event_writer import EventWriter
from tests.locks import held_elsewhere, table_lock

pytestmark = pytest.mark.django_db(transaction=True)


def failed(reason="wrong_secret"):
    return event_of(EventType.CLIENT_AUTHENTICATION_FAILED, reason=reason)


def reasons():
    return list(SecurityEvent.objects.order_by("pk").values_list("reason", flat=True))


@pytest.fixture
def refuse(monkeypatch):
    """Let the database refuse every event, until what it returns is called."""
    context = pytest.MonkeyPatch()

    def fail(*args, **kwargs):
        raise OperationalError("lock time-out")

    context.setattr(QuerySet, "bulk_create", fail)
    yield context.undo
    context.undo()


def let_the_pause_be_over():
    writer._refused.end()


def test_an_event_that_is_not_written_at_once_is_written_at_a_later_refresh(
    web_client, first_tokens, refresh, traces
):
    SecurityEvent.objects.all().delete()
    begun_at = time.monotonic()
    with held_elsewhere(partial(table_lock, SecurityEvent)):
        for reason in ("first", "second", "third"):
            record(failed(reason))
        took = time.monotonic() - begun_at
    assert took < 1
    assert reasons() == []
    # The second and the third did not even try.
    assert sum("'event': 'events_not_written'" in line for line in traces.logged) == 1
    at = [event.at for event in writer._kept[("default", None)]]

    token = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    assert reasons() == []
    let_the_pause_be_over()
    refresh(web_client, token)

    assert reasons() == ["first", "second", "third"]
    assert list(SecurityEvent.objects.order_by("pk").values_list("at", flat=True)) == at
    assert not writer._kept


def test_what_is_kept_is_written_with_the_next_event(refuse):
    record(failed("first"))
    refuse()
    let_the_pause_be_over()

    record(failed("second"))

    assert reasons() == ["first", "second"]


def test_a_process_keeps_a_limited_number_of_events(refuse, monkeypatch):
    monkeypatch.setattr(event_writer, "MOST_KEPT", 3)
    for number in range(5):
        record(failed(str(number)))
    let_the_pause_be_over()
    record(failed("more"))
    refuse()
    let_the_pause_be_over()

    record(failed("last"))

    assert reasons() == ["0", "1", "2"]


def test_an_operator_who_does_much_at_once_waits(refuse, monkeypatch):
    monkeypatch.setattr(event_writer, "MOST_KEPT", 3)

    with pytest.raises(OperationalError):
        record(*(failed() for _ in range(4)))
    refuse()
    record(*(failed() for _ in range(4)))

    assert len(reasons()) == 4
    assert not writer._kept


def test_in_a_transaction_of_the_site_an_event_is_part_of_it():
    with transaction.atomic():
        record(failed())
        assert len(reasons()) == 1
        transaction.set_rollback(True)

    assert reasons() == []


def test_an_event_whose_commit_is_uncertain_is_not_written_twice(break_next_commit):
    broken = break_next_commit()

    with pytest.raises(OperationalError):
        record(failed())

    assert broken
    let_the_pause_be_over()
    record(failed("next"))
    assert reasons() == ["wrong_secret", "next"]


def test_one_tenants_events_are_not_written_by_the_requests_of_another(refuse, monkeypatch):
    for schema in ("blue", "green"):
        monkeypatch.setattr(connections["default"], "schema_name", schema, raising=False)
        record(failed(schema))
        let_the_pause_be_over()
    refuse()

    writer.write_kept()

    assert reasons() == ["green"]


def test_a_forked_process_does_not_write_what_its_parent_kept(refuse):
    writer = EventWriter()
    parents = writer._lock
    writer.add([failed()])
    refuse()

    writer.forget()
    writer.write_kept()

    assert reasons() == []
    assert writer._lock is not parents


def test_a_login_does_not_wait_for_the_trail(web_client, user):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one lock for all tables, which the session needs as well")
    with held_elsewhere(partial(table_lock, SecurityEvent)):
        begun_at = time.monotonic()
        assert "refresh_token" in issue_tokens(client=web_client, user=user)
        assert time.monotonic() - begun_at < 1

    let_the_pause_be_over()
    writer.write_kept()

    assert list(SecurityEvent.objects.values_list("event", flat=True)) == ["issued"]
