from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from django_ciam_token.admin import client_secrets
from django_ciam_token.models import ClientSecret, EventType, SecurityEvent
from tests.admin.new_clients import SECRET
from tests.conftest import post_form
from tests.factories import ClientFactory
from tests.operators import refuse, url

pytestmark = pytest.mark.django_db


def test_the_page_of_a_missing_client_redirects_to_the_list(operator):
    response = operator.get(url("client_new_secret", 999_999))

    assert response["Location"] == url("client_changelist")


def test_a_secret_is_replaced_after_confirmation_and_the_old_one_stays_valid(
    operator, django_capture_on_commit_callbacks
):
    client = ClientFactory()
    page = url("client_replace_secret", client.pk)
    assert "How long the current secret stays valid" in operator.get(page).content.decode()
    assert ClientSecret.objects.count() == 1

    with django_capture_on_commit_callbacks(execute=True):
        shown = operator.post(page, {"confirmed": "yes", "overlap": "3600"}, follow=True).content.decode()

    event = SecurityEvent.objects.get(event=EventType.SECRET_ROTATED)
    assert (event.actor, event.client_id) == ("operator", client.client_id)
    [new] = set(SECRET.findall(shown))
    assert "The previous secret stays valid until" in shown
    form = {"grant_type": "refresh_token", "client_id": client.client_id, "refresh_token": "x"}
    for secret in (client.plain_secret, new):
        assert post_form({**form, "client_secret": secret}).json() == {"error": "invalid_grant"}
    old = ClientSecret.objects.order_by("pk").first()
    assert old.expires_at - timezone.now() < timedelta(hours=1)
    assert "new secret" in LogEntry.objects.get().get_change_message()
    question = operator.get(page).content.decode()
    assert f"…{old.last_four} ends now: a client can have at most two" in question
    ClientSecret.objects.exclude(pk=old.pk).update(last_used_at=None)
    question = operator.get(page).content.decode()
    assert f"…{old.last_four} is already due to end on" in question
    assert f"…{new[-4:]} ends now" in question


def test_an_overlap_that_is_not_offered_is_asked_for_again(operator):
    client = ClientFactory()

    operator.post(url("client_replace_secret", client.pk), {"confirmed": "yes", "overlap": "99"})

    assert ClientSecret.objects.count() == 1


def test_the_usual_overlap_of_the_site_is_offered(operator, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "CLIENT_SECRET_OVERLAP": 7_200}

    page = operator.get(url("client_replace_secret", ClientFactory().pk)).content.decode()

    assert '<option value="7200" selected>02:00:00</option>' in page


def test_a_public_client_is_warned_before_it_gets_a_secret(operator, spa_client):
    page = operator.get(url("client_replace_secret", spa_client.pk)).content.decode()

    assert "Installed copies without the new one will be refused" in page


def test_nothing_is_replaced_if_the_database_is_unavailable(operator, monkeypatch):
    client = ClientFactory()
    monkeypatch.setattr(client_secrets, "replace_client_secret", refuse)

    response = operator.post(
        url("client_replace_secret", client.pk), {"confirmed": "yes", "overlap": "0"}, follow=True
    )

    assert "nobody has seen" in response.content.decode()
    assert not LogEntry.objects.exists()
