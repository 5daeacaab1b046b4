"""Taking back what a user allowed an application."""

from __future__ import annotations

import pytest
from django.db.models import QuerySet

from django_ciam_token import signals
from django_ciam_token.models import Consent, RefreshToken, SecurityEvent
from django_ciam_token.sessions import consents
from django_ciam_token.sessions.consents import withdraw_consent
from tests.factories import ClientFactory, UserFactory, live_ids, make_session

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def client():
    return ClientFactory(asks_consent=True)


@pytest.fixture
def consent(client, user):
    return Consent.objects.create(client=client, user=user, scope="openid email")


def test_withdrawing_ends_the_sessions_of_that_user_and_client_only(client, user, consent):
    ended = [make_session(client, user).pk for _ in range(2)]
    kept = {make_session(client, UserFactory()).pk, make_session(ClientFactory(), user).pk}
    Consent.objects.create(client=client, user=UserFactory(), scope="openid")

    assert withdraw_consent(user=user, client=client, actor="alice") is True

    assert live_ids() == kept
    for session in RefreshToken.objects.filter(pk__in=ended):
        assert session.revoked_reason == "consent_withdrawn"
    assert not Consent.objects.filter(user=user).exists()
    assert Consent.objects.count() == 1
    events = SecurityEvent.objects.filter(actor="alice").order_by("pk")
    assert [event.event for event in events] == ["revoked", "revoked", "consent_withdrawn"]
    last = events.last()
    assert (last.client_id, last.user_id, last.reason) == (client.client_id, str(user.pk), "openid email")


def test_without_a_consent_the_sessions_end_all_the_same(client, user):
    make_session(client, user)

    assert withdraw_consent(user=user, client=client) is False

    assert live_ids() == set()
    assert not SecurityEvent.objects.filter(event="consent_withdrawn").exists()


def test_a_session_that_begins_meanwhile_ends_too(client, user, consent, monkeypatch):
    real = consents.retry

    def slow(*args, **kwargs):
        make_session(client, user)
        return real(*args, **kwargs)

    monkeypatch.setattr(consents, "retry", slow)

    withdraw_consent(user=user, client=client)

    assert RefreshToken.objects.count() == 1
    assert live_ids() == set()


def test_it_is_reported_once_after_a_commit_whose_outcome_was_unknown(client, user, consent, monkeypatch):
    heard = []

    def hear(scope, **_):
        heard.append(scope)

    def twice(write, *, using):
        write(1)
        return write(2)

    signals.consent_withdrawn.connect(hear)
    monkeypatch.setattr(consents, "retry", twice)

    assert withdraw_consent(user=user, client=client) is True

    signals.consent_withdrawn.disconnect(hear)
    assert heard == [("openid", "email")]


def test_what_somebody_else_has_withdrawn_meanwhile_is_not_reported_again(client, user, consent, monkeypatch):
    delete = QuerySet.delete

    def late(rows):
        if rows.model is Consent:
            delete(Consent.objects.all())
        return delete(rows)

    monkeypatch.setattr(QuerySet, "delete", late)

    assert withdraw_consent(user=user, client=client) is False
    assert not SecurityEvent.objects.filter(event="consent_withdrawn").exists()
