from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_ciam_token.admin import refusals
from django_ciam_token.api import issue_tokens
from django_ciam_token.database.uuid7 import uuid7
from django_ciam_token.models import RefreshRefusal, RefreshToken, SessionState
from django_ciam_token.models.refresh_token import NOT_EXCHANGED
from tests.conftest import post_form
from tests.factories import ClientFactory, UserFactory, make_session
from tests.operators import browser_of, url

pytestmark = pytest.mark.django_db

LIST = "refreshtoken_changelist"


@pytest.mark.parametrize(
    ("changes", "state", "text"),
    [
        ({}, SessionState.LIVE, "live"),
        ({"expires_at": -1}, SessionState.IDLE_EXPIRED, "expired unused"),
        ({"issued_at": -40, "expires_at": 1}, SessionState.EXPIRED, "expired"),
        (
            {"revoked_at": -1, "revoked_reason": "user"},
            SessionState.REVOKED,
            "revoked: by the user",
        ),
    ],
)
def test_the_list_shows_the_state_of_a_session(operator, session, changes, state, text):
    days = {name: value for name, value in changes.items() if isinstance(value, int)}
    fields = {name: timezone.now() + timedelta(days=value) for name, value in days.items()}
    RefreshToken.objects.update(**{**changes, **fields})

    page = operator.get(url(LIST)).content.decode()

    assert f'<span class="ciam-state ciam-state-{state.value}" title="{text}">' in page


def test_the_list_of_sessions_makes_as_many_queries_for_ten_as_for_one(operator, web_client):
    def count():
        with CaptureQueriesContext(connection) as queries:
            assert operator.get(url("refreshtoken_changelist")).status_code == 200
        return len(queries)

    issue_tokens(client=web_client, user=UserFactory())
    count()  # Content types and the like are cached by the first request.
    one = count()
    for _ in range(9):
        issue_tokens(client=web_client, user=UserFactory())

    assert count() == one


def test_a_machines_session_is_listed(operator, machine):
    issue_tokens(client=machine)

    assert "(machine)" in operator.get(url(LIST)).content.decode()
    assert operator.get(url("refreshtoken_change", RefreshToken.objects.get().pk)).status_code == 200


def test_the_page_of_a_session_shows_what_happened(
    operator, session, web_client, first_tokens, refresh, django_capture_on_commit_callbacks
):
    second = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    refresh(web_client, second)
    with django_capture_on_commit_callbacks(execute=True):
        refresh(web_client, first_tokens["refresh_token"])  # A thief.

    page = operator.get(url("refreshtoken_change", session.pk)).content.decode()

    assert "ciam-event-reuse_detected" in page
    assert "a superseded refresh token was used" in page
    assert url("refreshtoken_end", session.pk) not in page


def test_the_history_needs_the_permission_to_view_the_audit_trail(session):
    browser = browser_of("view_refreshtoken")

    page = browser.get(url("refreshtoken_change", session.pk)).content.decode()

    assert 'id="ciam-timeline"' not in page


def test_the_history_that_django_keeps_of_a_session_is_shown(operator, session):
    assert operator.get(url("refreshtoken_history", session.pk)).status_code == 200


def test_a_missing_session_redirects_and_viewing_needs_the_permission(operator, session):
    assert operator.get(url("refreshtoken_change", uuid7())).status_code == 302
    stranger = Browser()
    stranger.force_login(UserFactory(is_staff=True))
    assert stranger.get(url("refreshtoken_change", session.pk)).status_code == 403


def test_an_operator_who_may_only_view_is_offered_nothing_and_refused_everything(viewer, session, user):
    pages = [url(LIST), url("refreshtoken_change", session.pk)]
    for page in pages:
        text = viewer.get(page).content.decode()
        assert "/end/" not in text
        assert "sign-out" not in text
        assert "end_sessions" not in text
    for page in (url("refreshtoken_end", session.pk), url("refreshtoken_sign_out", user.pk)):
        assert viewer.get(page).status_code == 403
        assert viewer.post(page, {"confirmed": "yes"}).status_code == 403
    form = {"action": "end_sessions", "_selected_action": str(session.pk), "confirmed": "yes"}
    viewer.post(url(LIST), form)
    assert RefreshToken.objects.filter(revoked_at=None).exists()


def test_what_is_only_a_code_is_no_session_yet(operator, user, web_client):
    session = make_session(web_client, user, nonce=NOT_EXCHANGED)

    page = operator.get(url("refreshtoken_changelist")).content.decode()

    assert str(session.pk) not in page
    assert operator.get(url("refreshtoken_change", session.pk)).status_code == 302


def test_a_live_session_is_ended_and_not_deleted(operator, session):
    delete, end = url("refreshtoken_delete", session.pk), url("refreshtoken_end", session.pk)
    page = operator.get(url("refreshtoken_change", session.pk)).content.decode()
    assert end in page
    assert delete not in page

    RefreshToken.objects.update(revoked_at=timezone.now())

    page = operator.get(url("refreshtoken_change", session.pk)).content.decode()
    assert end not in page
    assert delete in page


@pytest.mark.django_db(transaction=True)
def test_the_page_of_a_session_says_why_its_user_was_logged_out(session, web_client, user, first_tokens):
    user.set_password("another horse")
    user.save()
    form = {
        "grant_type": "refresh_token",
        "client_id": web_client.client_id,
        "client_secret": web_client.plain_secret,
        "refresh_token": first_tokens["refresh_token"],
    }
    for _ in range(2):
        post_form(form, REMOTE_ADDR="192.0.2.9", HTTP_USER_AGENT="X11; Linux Firefox/140.0")
    thief = ClientFactory()
    secret = {"client_id": thief.client_id, "client_secret": thief.plain_secret}
    post_form({**form, **secret}, REMOTE_ADDR="2001:db8::1")

    # Those who may see the session may see this: it has the same facts.
    page = browser_of("view_refreshtoken").get(url("refreshtoken_change", session.pk)).content.decode()

    [refusals] = re.findall(r'<ol class="ciam-timeline ciam-refusals">.*?</ol>', page, re.DOTALL)
    other, own = re.findall(r"<li.*?</li>", refusals, re.DOTALL)
    assert "password changed" in own
    assert "192.0.2.9" in own
    assert "Firefox 140" in own
    assert "2 times since" in own
    assert web_client.client_id not in own
    assert "the token belongs to another application" in other
    assert f"by the client {thief.client_id}" in other
    assert re.search(r">\d{4}-\d\d-\d\d \d\d:\d\d:\d\d -0[56]:00</time>", own)


def test_the_page_of_a_session_says_so_if_nothing_was_refused_or_recorded(operator, session, settings):
    page = operator.get(url("refreshtoken_change", session.pk)).content.decode()
    assert "No refresh of this session was refused" in page

    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "AUDIT_TRAIL": False}

    page = operator.get(url("refreshtoken_change", session.pk)).content.decode()
    assert "refused refreshes are not recorded" in page


def test_the_page_of_a_session_makes_as_many_queries_for_ten_refusals_as_for_none(operator, session):
    def count():
        with CaptureQueriesContext(connection) as queries:
            assert operator.get(url("refreshtoken_change", session.pk)).status_code == 200
        return len(queries)

    count()  # Content types and the like are cached by the first request.
    none = count()
    now = timezone.now()
    RefreshRefusal.objects.bulk_create(
        RefreshRefusal(session_id=session.pk, slot=slot, reason="revoked", first_at=now, last_at=now)
        for slot in range(10)
    )

    assert count() == none


@pytest.mark.parametrize("reason", ["reuse", "revoked", "expired", "password_changed", "wrong_secret"])
def test_every_reason_of_a_refusal_is_in_words(reason):
    assert refusals.in_words(reason) != reason
    assert refusals.in_words("a reason of the site's own grant") == "a reason of the site's own grant"


def test_every_time_on_the_page_of_a_session_has_seconds_and_an_offset(operator, session):
    RefreshToken.objects.update(rotated_at=timezone.now())

    page = operator.get(url("refreshtoken_change", session.pk)).content.decode()

    for name in ("auth_time", "issued_at", "rotated_at", "expires_at"):
        [row] = re.findall(rf'<div class="form-row field-{name}">.*?</time>', page, re.DOTALL)
        assert re.search(r">\d{4}-\d\d-\d\d \d\d:\d\d:\d\d -0[56]:00</time>", row)
    assert not re.search(r"[ap]\.m\.", page)
