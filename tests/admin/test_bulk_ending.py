from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client as Browser
from django.utils import timezone

from django_ciam_token.admin import bulk_ending, session_ending
from django_ciam_token.api import issue_tokens
from django_ciam_token.models import EventType, RefreshToken, SecurityEvent
from django_ciam_token.monitoring import reach
from tests.factories import ClientFactory, UserFactory, live_ids, make_session, make_sessions
from tests.operators import browser_of, refuse, url

pytestmark = pytest.mark.django_db

PAGE = "refreshtoken_end_by_criteria"
DAY = timedelta(days=1)


def written(at):
    return timezone.localtime(at).strftime("%Y-%m-%dT%H:%M")


def preview(browser, **criteria):
    return browser.post(url(PAGE), {"confirmed": "yes", **criteria}).content.decode()


def end(browser, **criteria):
    form = {"confirmed": "yes", "step": "end", "understood": "on", **criteria}
    return browser.post(url(PAGE), form, follow=True).content.decode()


@pytest.fixture
def portal():
    return ClientFactory(name="Portal", client_id="portal")


def test_the_preview_says_how_many_sessions_of_how_many_users_and_clients_and_ends_none(operator, portal):
    ada, bob = UserFactory(), UserFactory()
    for client, user in [(portal, ada), (portal, ada), (portal, bob), (ClientFactory(name="App"), bob)]:
        issue_tokens(client=client, user=user)
    make_session(portal, ada, revoked_at=timezone.now(), revoked_reason="user")

    page = preview(operator, everything="on")

    assert "Live sessions: 4. Users: 2." in page
    assert "Clients: Portal (3), App (1)." in page
    assert "all sessions of everybody" in page
    assert "Live sessions: 3. Users: 2." in preview(operator, client="portal")
    assert len(live_ids()) == 4


def test_only_what_meets_every_criterion_ends_and_it_is_audited(
    operator, portal, user, django_capture_on_commit_callbacks
):
    now = timezone.now()
    old = make_session(portal, user, issued_at=now - 3 * DAY)
    others = {
        make_session(portal, user, issued_at=now - DAY).pk,
        make_session(portal, UserFactory(), issued_at=now - 3 * DAY).pk,
        make_session(ClientFactory(), user, issued_at=now - 3 * DAY).pk,
    }
    criteria = {"client": "portal", "user": user.username, "issued_before": written(now - 2 * DAY)}
    assert "Live sessions: 1. Users: 1." in preview(operator, **criteria)

    with django_capture_on_commit_callbacks(execute=True):
        answer = end(operator, **criteria)

    assert "1 session was ended." in answer
    assert live_ids() == others
    event = SecurityEvent.objects.get(event=EventType.REVOKED)
    assert (event.session_id, event.actor, event.address) == (old.pk, "operator", "127.0.0.1")
    entry = LogEntry.objects.get()
    assert "Portal (portal)" in entry.object_repr
    assert entry.get_change_message() == "1 session was ended."


def test_idle_sessions_end(operator, portal, user):
    idle = make_session(portal, user, issued_at=timezone.now() - 9 * DAY)
    busy = make_session(portal, user)

    end(operator, idle_since=written(timezone.now() - 7 * DAY))

    assert live_ids() == {busy.pk}
    assert idle.pk != busy.pk


def test_without_the_second_confirmation_nothing_ends(operator, portal, user):
    make_session(portal, user)

    page = operator.post(url(PAGE), {"confirmed": "yes", "step": "end", "client": "portal"})

    assert "I have read the numbers" in page.content.decode()
    # What was filled in is sent again.
    assert 'name="client" value="portal"' in page.content.decode()
    assert len(live_ids()) == 1


@pytest.mark.parametrize(
    ("criteria", "message"),
    [
        ({}, "Fill in what the sessions have in common"),
        ({"client": "portal", "everything": "on"}, "Fill in what the sessions have in common"),
        ({"client": "Portal"}, "no client with this client_id"),
        ({"client": "nobody"}, "no client with this client_id"),
        ({"user": "nobody"}, "no user with this name"),
        ({"issued_before": "yesterday"}, "Enter a valid date/time"),
        ({"issued_before": "0001-01-01T00:00"}, "Enter a valid date/time"),
        ({"idle_since": "9999-12-31T23:59"}, "Enter a valid date/time"),
        ({"client": "x" * 101}, "at most 100"),
        ({"client": "a\x00b"}, "Null characters"),
    ],
)
def test_criteria_that_are_missing_or_wrong_end_nothing(operator, portal, user, criteria, message):
    make_session(portal, user)

    for answer in (preview(operator, **criteria), end(operator, **criteria)):
        assert message in answer
    assert len(live_ids()) == 1


def test_criteria_in_the_address_are_filled_in_and_nothing_else(operator, portal, user):
    make_session(portal, user)

    page = operator.get(url(PAGE), {"client": "portal", "confirmed": "yes", "step": "end"}).content.decode()

    assert 'value="portal"' in page
    assert "Show what would end" in page
    assert len(live_ids()) == 1


def test_what_one_request_has_no_time_for_is_counted_and_the_command_named(
    operator, portal, user, monkeypatch
):
    monkeypatch.setattr(bulk_ending, "_SECONDS_PER_REQUEST", 0.0)
    monkeypatch.setattr("django_ciam_token.sessions.revocation.BATCH_SIZE", 3)
    revoke = session_ending.revoke_sessions
    monkeypatch.setattr(session_ending, "revoke_sessions", lambda *a, **k: revoke(*a, batch_size=3, **k))
    make_sessions(7, portal, user, issued_at=timezone.now() - 3 * DAY)
    before = timezone.now() - 2 * DAY
    criteria = {"client": "portal", "issued_before": written(before)}

    answer = end(operator, **criteria)

    assert "3 sessions were ended." in answer
    assert "Live sessions: 4. Users: 1." in answer
    assert "manage.py revoke_sessions --client portal --issued-before " in answer
    assert timezone.localtime(before).isoformat(timespec="minutes").replace("+", "&#43;")[:16] in answer
    end(operator, **criteria)
    assert "There are more sessions" not in end(operator, **criteria)
    assert not live_ids()


def test_a_large_table_is_estimated(operator, portal, user, monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr(reach, "EXACT_UP_TO", 50)
    monkeypatch.setattr(reach, "SAMPLE", 60)
    make_sessions(200, portal, user)

    with django_assert_max_num_queries(130):
        page = preview(operator, client="portal")

    assert "Live sessions: about " in page
    assert "Estimated from a sample" in page


def test_the_preview_makes_few_statements(operator, portal, user, django_assert_max_num_queries):
    make_sessions(200, portal, user)

    with django_assert_max_num_queries(9):
        assert "Live sessions: 200. Users: 1." in preview(operator, client="portal")


def test_a_database_that_does_not_count_does_not_keep_anybody_from_ending(
    operator, portal, user, monkeypatch
):
    make_session(portal, user)
    monkeypatch.setattr("django_ciam_token.admin.blast_radius.reach_of", refuse)

    assert "can&#x27;t be counted now" in preview(operator, client="portal")
    end(operator, client="portal")

    assert not live_ids()


def test_a_database_that_refuses_is_reported(operator, portal, user, monkeypatch):
    make_session(portal, user)
    monkeypatch.setattr(session_ending, "revoke_sessions", refuse)

    assert "some sessions may not have been ended" in end(operator, client="portal")
    assert not LogEntry.objects.exists()


def test_the_permission_to_end_single_sessions_does_not_suffice(portal, user):
    make_session(portal, user)
    browser = browser_of("view_refreshtoken", "revoke_refreshtoken", "view_client", "change_client")

    assert url(PAGE) not in browser.get(url("refreshtoken_changelist")).content.decode()
    assert browser.get(url(PAGE)).status_code == 403
    form = {"confirmed": "yes", "step": "end", "understood": "on", "client": "portal"}
    assert browser.post(url(PAGE), form).status_code == 403
    assert len(live_ids()) == 1


def test_the_permission_shows_the_button(portal):
    browser = browser_of("view_refreshtoken", "bulk_revoke_refreshtoken")

    assert url(PAGE) in browser.get(url("refreshtoken_changelist")).content.decode()
    assert browser.get(url(PAGE)).status_code == 200


def test_it_is_protected_against_forged_requests():
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(UserFactory(is_staff=True, is_superuser=True))

    assert browser.post(url(PAGE), {"confirmed": "yes", "everything": "on"}).status_code == 403


def test_a_code_that_nobody_exchanged_is_no_session_of_the_preview(operator, portal, user):
    from django_ciam_token.models.refresh_token import NOT_EXCHANGED

    make_session(portal, user, nonce=NOT_EXCHANGED)

    assert "Live sessions: 0. Users: 0." in preview(operator, client="portal")


def test_the_other_confirmations_say_what_they_reach(operator, portal, user):
    app = ClientFactory(name="App")
    for client, owner in [(portal, user), (portal, UserFactory()), (app, user)]:
        issue_tokens(client=client, user=owner)

    def page(name, *args):
        return operator.get(url(name, *args)).content.decode()

    assert "Live sessions: 2. Users: 2." in page("client_end_sessions", portal.pk)
    assert "Live sessions: 2. Users: 1." in page("refreshtoken_sign_out", user.pk)
    assert "Clients: Portal (1), App (1)." in page("refreshtoken_sign_out", user.pk)
    assert "Live sessions: 2." in page("client_switch", portal.pk)
    form = {"action": "disable", "_selected_action": [str(portal.pk), str(app.pk)]}
    both = operator.post(url("client_changelist"), form).content.decode()
    assert "Live sessions: 3." in both
    assert "Clients: Portal (2), App (1)." in both
    assert RefreshToken.objects.filter(revoked_at=None).count() == 3
