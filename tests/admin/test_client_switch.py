from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.db import OperationalError

from django_ciam_token.api import issue_tokens
from django_ciam_token.database import retry
from django_ciam_token.models import Client
from django_ciam_token.monitoring import reach
from tests.factories import ClientFactory, UserFactory
from tests.operators import url

pytestmark = pytest.mark.django_db

LIST = "client_changelist"


def test_a_client_is_disabled_and_enabled_after_confirmation(operator, web_client):
    page = url("client_switch", web_client.pk)
    for asked, is_active in (("off", False), ("on", True)):
        assert f'name="switch" value="{asked}"' in operator.get(page).content.decode()
        operator.post(page, {"confirmed": "yes", "switch": asked})
        web_client.refresh_from_db()
        assert web_client.is_active is is_active
    operator.post(page, {"confirmed": "yes", "switch": "on"})  # Twice: nothing to write or log.
    operator.post(page, {"confirmed": "yes"})  # Neither: asked again.
    assert [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")] == [
        "Disabled.",
        "Enabled.",
    ]


@pytest.mark.parametrize(("action", "is_active"), [("disable", False), ("enable", True)])
def test_selected_clients_are_switched_after_confirmation(operator, action, is_active):
    selected = [ClientFactory(is_active=not is_active) for _ in range(2)]
    form = {"action": action, "_selected_action": [client.pk for client in selected]}
    other = ClientFactory()

    assert selected[0].name in operator.post(url(LIST), form).content.decode()
    assert Client.objects.filter(is_active=not is_active).exists()
    operator.post(url(LIST), {**form, "confirmed": "yes"})

    assert Client.objects.filter(is_active=is_active).exclude(pk=other.pk).count() == 2
    assert LogEntry.objects.count() == 2


@pytest.mark.parametrize("is_large", [False, True])
def test_the_question_says_how_many_sessions_of_how_many_users_stop(operator, monkeypatch, is_large):
    if is_large:
        monkeypatch.setattr(reach, "EXACT_UP_TO", 1)
        monkeypatch.setattr(reach, "SAMPLE", 1_000)
    selected, user = [ClientFactory(name=name) for name in ("Portal", "Shop")], UserFactory()
    for client in (*selected, selected[0], ClientFactory(name="Other")):
        issue_tokens(client=client, user=user)
    form = {"action": "disable", "_selected_action": [client.pk for client in selected]}

    page = operator.post(url(LIST), form).content.decode()

    number, users = ("about 3", "at least 1") if is_large else ("3", "1")
    assert f"Live sessions: {number}. Users: {users}." in page
    assert "Clients: Portal (2), Shop (1)." in page


def test_a_switch_during_a_database_failure_is_reported(operator, web_client, monkeypatch):
    def fail(*args, **kwargs):
        raise OperationalError("gone")

    monkeypatch.setattr(LogEntry.objects, "log_actions", fail)

    form = {"confirmed": "yes", "switch": "off"}
    page = operator.post(url("client_switch", web_client.pk), form, follow=True)

    assert "The change may have been made all the same" in page.content.decode()
    web_client.refresh_from_db()
    assert web_client.is_active


def test_a_client_can_be_disabled_although_its_sessions_can_not_be_counted(operator, web_client, monkeypatch):
    def fail(*args, **kwargs):
        raise OperationalError("canceling statement due to statement timeout")

    monkeypatch.setattr("django_ciam_token.monitoring.reach.live_sessions", fail)
    monkeypatch.setattr(retry.time, "sleep", lambda seconds: None)

    page = operator.get(url("client_switch", web_client.pk)).content.decode()

    assert "How many sessions these are can&#x27;t be counted now." in page
    assert 'name="switch" value="off"' in page
