from __future__ import annotations

import pytest
from django.db import transaction
from django.dispatch import Signal

from django_ciam_token.signals import send_after_commit

pytestmark = pytest.mark.django_db(transaction=True)


def send(signal):
    send_after_commit(signal, sender=Signal, using="default", what="it happened")


def test_without_listeners_nothing_is_prepared(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("something was prepared")

    monkeypatch.setattr(transaction, "on_commit", fail)

    send(Signal())


def test_it_is_sent_after_the_transaction_around_it_and_not_at_all_if_that_fails():
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
