from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection

from django_ciam_token.admin import session_ending
from django_ciam_token.api import issue_tokens
from django_ciam_token.models import RefreshToken
from tests.factories import ClientFactory
from tests.operators import browser_of, refuse, url

pytestmark = pytest.mark.django_db


def test_all_sessions_of_a_client_are_ended_after_confirmation(operator, web_client, user):
    issue_tokens(client=web_client, user=user)
    issue_tokens(client=ClientFactory(), user=user)
    page = url("client_end_sessions", web_client.pk)
    assert "for every user" in operator.get(page).content.decode()

    operator.post(page, {"confirmed": "yes"})

    assert RefreshToken.objects.get(revoked_at=None).client != web_client
    assert "1 session was ended." in LogEntry.objects.get().get_change_message()


def test_sessions_left_over_by_one_request_are_reported(operator, web_client, user, monkeypatch):
    monkeypatch.setattr(session_ending, "revoke_sessions", lambda *_, **__: 0)
    issue_tokens(client=web_client, user=user)

    page = operator.post(url("client_end_sessions", web_client.pk), {"confirmed": "yes"}, follow=True)

    assert "There are more sessions." in page.content.decode()


def test_an_unavailable_database_is_reported(operator, web_client, monkeypatch):
    monkeypatch.setattr(session_ending, "revoke_sessions", refuse)

    page = operator.post(url("client_end_sessions", web_client.pk), {"confirmed": "yes"}, follow=True)

    assert "some sessions may not have been ended" in page.content.decode()


@pytest.mark.django_db(transaction=True)
def test_an_unavailable_database_is_reported_with_atomic_requests_too(web_client, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    in_transaction = []

    def look(*_, **__):
        in_transaction.append(connection.in_atomic_block)
        refuse()

    monkeypatch.setattr(session_ending, "revoke_sessions", look)

    page = browser_of(is_superuser=True).post(url("client_end_sessions", web_client.pk), {"confirmed": "yes"})

    assert page.status_code == 302
    assert in_transaction == [False]
