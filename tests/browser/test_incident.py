"""What an operator asks during an incident: why was I logged out, what else happened, what is this token."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from django_ciam_token.api import issue_tokens
from django_ciam_token.models import Client, RefreshRefusal, RefreshToken, SecurityEvent
from tests.browser.conftest import DESKTOP, PHONE
from tests.browser.rows import CHROME
from tests.factories import UserFactory
from tests.operators import url

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def session_with_history():
    return RefreshToken.objects.get(pk=RefreshRefusal.objects.first().session_id)


def test_the_page_of_a_session_answers_why_its_user_was_logged_out(console, shoot):
    session = session_with_history()
    console.goto(url("refreshtoken_change", session.pk))

    refusals = console.get_by_role("region", name="Refused refreshes")

    assert refusals.locator("li").count() == 3
    first = refusals.locator("li").last
    assert "password changed" in first.inner_text()
    assert "Chrome 130" in first.inner_text()
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (UTC|[+-]\d\d:\d\d)", first.inner_text())
    shoot(console, "session-refused")


def test_from_a_session_to_its_event_to_the_events_of_its_user_and_back(console, shoot):
    session = session_with_history()
    console.goto(url("refreshtoken_change", session.pk))

    console.get_by_role("link", name="first tokens issued").click()
    shoot(console, "event")
    console.locator(".field-user .ciam-value").click()
    shoot(console, "events-of-user")

    rows = console.locator("#result_list tbody tr")
    assert rows.count() == SecurityEvent.objects.filter(user_id=str(session.user_id)).count()
    # A click on another value narrows the list further.
    before = rows.count()
    rows.filter(has_text="first tokens issued").locator(".field-what a").first.click()
    assert 0 < rows.count() < before
    console.get_by_role("link", name="Clear all filters").click()
    assert rows.count() > before


def test_a_period_is_entered_to_the_second(console, shoot):
    console.goto(url("securityevent_changelist"))
    console.get_by_text("Time: All").click()
    shoot(console, "events-period")
    console.goto(url("securityevent_changelist"))
    console.get_by_text("Time: All").click()
    console.get_by_role("textbox", name="To").fill("2020-01-02T03:04:05")
    console.get_by_role("button", name="Apply").click()

    console.get_by_text("2020-01-02 03:04:05").wait_for()
    assert console.locator("#result_list tbody tr").count() == 0


def test_a_token_is_inspected_and_leads_to_its_session(console, shoot):
    client = Client.objects.first()
    tokens = issue_tokens(client=client, user=UserFactory(username="alice"))
    console.goto(url("refreshtoken_changelist"))
    console.get_by_role("link", name="Inspect a token").click()

    for kind in ("access_token", "refresh_token"):
        console.get_by_label("Token:").fill(tokens[kind])
        console.get_by_role("button", name="Inspect").click()
        console.get_by_role("heading", name=kind.replace("_", " ").capitalize()).wait_for()
        assert tokens[kind] not in console.content()
        assert console.get_by_label("Token:").input_value() == ""
        shoot(console, f"inspect-{kind}")

    assert "The current one" in console.locator(".ciam-inspection").inner_text()
    assert tokens["refresh_token"] not in console.url
    console.locator(".ciam-inspection dd a").click()
    console.wait_for_url("**/change/")


def test_a_users_sessions_are_at_the_top_of_their_page_and_ended_one_by_one(console, shoot):
    user = UserFactory(username="alice")
    for client in Client.objects.all()[:3]:
        issue_tokens(client=client, user=user)
    seen = {"last_address": "2001:db8:85a3:8d3:1319:8a2e:370:7348", "last_user_agent": CHROME}
    RefreshToken.objects.filter(user=user).update(**seen)
    console.goto(reverse("admin:auth_user_change", args=[user.pk]))
    shoot(console, "user-sessions")
    console.set_viewport_size(PHONE)
    assert console.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    console.set_viewport_size(DESKTOP)

    rows = console.get_by_role("region", name="Sessions and devices").locator("tbody tr")
    assert rows.count() == 3
    rows.first.get_by_role("link", name="End").click()
    console.get_by_role("button", name="Yes, end it").click()

    console.goto(reverse("admin:auth_user_change", args=[user.pk]))
    assert "ended by operator" in rows.last.inner_text()
    assert rows.get_by_role("link", name="End").count() == 2
