from __future__ import annotations

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.dispatch import Signal

from django_ciam_token import signals
from django_ciam_token.signals import send_after_commit

pytestmark = pytest.mark.django_db(transaction=True)


def send(signal):
    send_after_commit(signal, sender=Signal, using="default", what="it happened")


def test_without_listeners_nothing_is_prepared(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("something was prepared")

    monkeypatch.setattr(transaction, "on_commit", fail)

    send(Signal())


def test_a_signal_is_sent_after_the_commit_and_not_at_all_after_a_rollback():
    signal, heard = Signal(), []

    def receive(sender, **arguments):
        heard.append(arguments["what"])

    signal.connect(receive)
    with transaction.atomic():
        send(signal)
        assert heard == []
    assert heard == ["it happened"]
    with transaction.atomic():
        send(signal)
        transaction.set_rollback(True)
    assert heard == ["it happened"]


@pytest.mark.django_db(transaction=True)
def test_a_receiver_that_loses_the_connection_does_not_break_the_answer(
    web_client, first_tokens, refresh, traces
):
    """The state after a server has ended the connection between COMMIT and the return to autocommit."""

    def lose(**arguments):
        connection.set_autocommit(False)

    for _ in range(2):
        token = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    refresh(web_client, token)
    signals.session_revoked.connect(lose)
    try:
        answer = refresh(web_client, first_tokens["refresh_token"])
    finally:
        signals.session_revoked.disconnect(lose)
        connection.close()

    assert (answer.status_code, answer.content) == (400, b'{"error": "invalid_grant"}')
    assert len(traces.of(signals.reuse_detected)) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no server that could end a connection")
def test_a_failing_audit_trail_leaves_a_working_connection(web_client, first_tokens, refresh, monkeypatch):
    token = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]

    def gone(autocommit):
        monkeypatch.undo()
        raise OperationalError(2013, "Lost connection")

    def write_and_lose(*arguments, **others):
        monkeypatch.setattr(connection, "set_autocommit", gone)

    monkeypatch.setattr(QuerySet, "bulk_create", write_and_lose)

    # The trail records a replay.
    assert refresh(web_client, first_tokens["refresh_token"]).status_code == 200
    assert connection.get_autocommit()
    assert refresh(web_client, token).status_code == 200
