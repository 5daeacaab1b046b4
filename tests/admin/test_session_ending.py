from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.admin import session_ending
from django_ciam_token.api import issue_tokens
from django_ciam_token.models import EventType, RefreshToken, SecurityEvent
from django_ciam_token.sessions import revocation
from django_ciam_token.sessions.criteria import SessionCriteria
from tests.factories import ClientFactory, UserFactory, make_session
from tests.operators import refuse, url

pytestmark = pytest.mark.django_db

LIST = "refreshtoken_changelist"


def test_a_session_is_ended_after_confirmation(operator, session, django_capture_on_commit_callbacks):
    page = url("refreshtoken_end", session.pk)

    for answer in (operator.get(page), operator.post(page)):
        assert "End this session of" in answer.content.decode()
    session.refresh_from_db()
    assert session.revoked_at is None

    with django_capture_on_commit_callbacks(execute=True):
        operator.post(page, {"confirmed": "yes"})

    session.refresh_from_db()
    assert session.revoked_reason == "operator"
    event = SecurityEvent.objects.get(event=EventType.REVOKED)
    assert (event.actor, event.address, event.session_id) == ("operator", "127.0.0.1", session.pk)
    assert "Ended." in LogEntry.objects.get(object_id=str(session.pk)).get_change_message()
    again = operator.post(page, {"confirmed": "yes"}, follow=True)
    assert "had already been ended" in again.content.decode()


def test_the_question_about_selected_sessions_says_whose_they_are(operator, web_client, user):
    for _ in range(2):
        issue_tokens(client=web_client, user=user)
    chosen = [session.pk for session in RefreshToken.objects.all()]

    page = operator.post(url(LIST), {"action": "end_sessions", "_selected_action": chosen}).content.decode()

    assert "Live sessions: 2. Users: 1." in page
    assert f"Clients: {web_client.name} (2)." in page


def test_selected_sessions_are_ended_after_confirmation(operator, web_client):
    for _ in range(3):
        issue_tokens(client=web_client, user=UserFactory())
    first, second, third = RefreshToken.objects.order_by("pk")
    form = {"action": "end_sessions", "_selected_action": [str(first.pk), str(second.pk)]}

    question = operator.post(url(LIST), form).content.decode()
    assert "End 2 sessions?" in question
    assert question.count('name="_selected_action"') == 2
    assert RefreshToken.objects.filter(revoked_at=None).count() == 3

    operator.post(url(LIST), {**form, "confirmed": "yes"})

    assert RefreshToken.objects.get(revoked_at=None) == third
    assert LogEntry.objects.count() == 2


def test_a_user_is_signed_out_everywhere_after_confirmation(operator, user, web_client, session):
    issue_tokens(client=ClientFactory(), user=user)
    issue_tokens(client=web_client, user=UserFactory())
    page = url("refreshtoken_sign_out", user.pk)
    assert "on every device" in operator.get(page).content.decode()
    assert RefreshToken.objects.filter(revoked_at=None).count() == 3

    response = operator.post(page, {"confirmed": "yes"})

    assert response["Location"] == reverse("admin:auth_user_change", args=[user.pk])
    assert RefreshToken.objects.get(revoked_at=None).user != user
    assert "Signed out everywhere." in LogEntry.objects.get().get_change_message()


@pytest.mark.parametrize("what", ["end", "user", "selected"])
def test_an_unavailable_database_is_reported_and_nothing_logged(operator, session, user, monkeypatch, what):
    monkeypatch.setattr(session_ending, "revoke_session", refuse)
    monkeypatch.setattr(session_ending, "revoke_sessions", refuse)
    page, form = {
        "end": (url("refreshtoken_end", session.pk), {}),
        "user": (url("refreshtoken_sign_out", user.pk), {}),
        "selected": (url(LIST), {"action": "end_sessions", "_selected_action": str(session.pk)}),
    }[what]

    response = operator.post(page, {**form, "confirmed": "yes"}, follow=True)

    assert "The database is temporarily unavailable" in response.content.decode()
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("name", ["refreshtoken_end", "refreshtoken_sign_out"])
@pytest.mark.parametrize("key", ["nonsense", "0190a5a0-0000-7000-8000-000000000000", "999999"])
def test_missing_sessions_and_users_are_not_found(operator, name, key):
    assert operator.get(url(name, key)).status_code == 404


def test_the_pages_that_end_sessions_are_protected_against_forged_requests(session, user):
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(UserFactory(is_staff=True, is_superuser=True))

    for page in (url("refreshtoken_end", session.pk), url("refreshtoken_sign_out", user.pk)):
        assert browser.post(page, {"confirmed": "yes"}).status_code == 403


def test_without_a_user_page_signing_out_leads_to_the_list(operator, session, user, monkeypatch):
    def missing(name, *args, **kwargs):
        if "auth_user" in name:
            raise session_ending.NoReverseMatch(name)
        return reverse(name, *args, **kwargs)

    monkeypatch.setattr(session_ending, "reverse", missing)

    response = operator.post(url("refreshtoken_sign_out", user.pk), {"confirmed": "yes"})

    assert response["Location"] == url(LIST)


def test_revoking_stops_in_time_and_the_same_call_ends_the_rest(web_client):
    for _ in range(3):
        issue_tokens(client=web_client, user=UserFactory())

    def revoke(**limits):
        return revocation.revoke_sessions(
            SessionCriteria(client=web_client), reason="operator", batch_size=1, **limits
        )

    assert revoke(max_seconds=0) == 1
    assert revoke(max_seconds=60) == 2


@pytest.mark.parametrize("is_live", [True, False])
def test_a_session_that_is_deleted_alone_is_ended_before(
    operator, web_client, user, traces, is_live, django_capture_on_commit_callbacks
):
    session = make_session(web_client, user, revoked_at=None if is_live else timezone.now())

    with django_capture_on_commit_callbacks(execute=True):
        operator.post(url("refreshtoken_delete", session.pk), {"post": "yes"})

    assert not RefreshToken.objects.exists()
    sent = [
        (arguments["session"].pk, arguments["reason"], arguments["actor"])
        for arguments in traces.of(signals.session_revoked)
    ]
    assert sent == ([(session.pk, "operator", "operator")] if is_live else [])
