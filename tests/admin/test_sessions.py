from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client as Browser
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_ciam_token.admin import SessionsOfUserMixin, paging, session_list, sessions, user_agents
from django_ciam_token.api import issue_tokens
from django_ciam_token.database.uuid7 import lowest_uuid7, uuid7
from django_ciam_token.models import EventType, RefreshToken, SecurityEvent, SessionState
from django_ciam_token.sessions import revocation
from django_ciam_token.sessions.criteria import SessionCriteria
from django_ciam_token.tokens import access_tokens
from tests.factories import ClientFactory, UserFactory
from tests.operators import browser_of, refuse, url

pytestmark = pytest.mark.django_db

LIST = "refreshtoken_changelist"


@pytest.fixture
def session(first_tokens):
    return RefreshToken.objects.get()


def shown(response):
    """The keys of the sessions in a list."""
    return [session.pk for session in response.context["cl"].result_list]


# --- the list ----------------------------------------------------------------------------------------


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
def test_the_list_tells_the_state_of_a_session(operator, session, changes, state, text):
    days = {name: value for name, value in changes.items() if isinstance(value, int)}
    fields = {name: timezone.now() + timedelta(days=value) for name, value in days.items()}
    RefreshToken.objects.update(**{**changes, **fields})

    page = operator.get(url(LIST)).content.decode()

    assert f'<span class="ciam-state ciam-state-{state.value}">{text}</span>' in page


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ("", "live expired revoked old"),
        ("state=live", "live old"),
        ("state=expired", "expired"),
        ("state=revoked", "revoked"),
        ("state=revoked-reuse", "revoked"),
        ("state=revoked-user", ""),
        ("state=nonsense", "live expired revoked old"),
        ("started=1d", "live expired revoked"),
        ("started=nonsense", "live expired revoked old"),
        ("client__id__exact=CLIENT", "old"),
        ("client__id__exact=x", "live expired revoked old"),
        ("client__id__exact=999999", ""),
    ],
)
def test_the_list_is_filtered(operator, web_client, user, filters, found):
    now = timezone.now()
    rows = {}
    other = ClientFactory()
    for name in ("live", "expired", "revoked", "old"):
        issue_tokens(client=other if name == "old" else web_client, user=user)
        rows[name] = RefreshToken.objects.order_by("-pk").first()
    RefreshToken.objects.filter(pk=rows["expired"].pk).update(expires_at=now)
    RefreshToken.objects.filter(pk=rows["revoked"].pk).update(revoked_at=now, revoked_reason="reuse")
    old = lowest_uuid7(now - timedelta(days=3))
    RefreshToken.objects.filter(pk=rows["old"].pk).update(id=old)
    keys = {name: row.pk for name, row in rows.items()} | {"old": old}

    response = operator.get(url(LIST) + "?" + filters.replace("CLIENT", str(other.pk)))

    assert set(shown(response)) == {keys[name] for name in found.split()}


def test_a_state_is_looked_for_among_the_newest_and_the_page_says_so(operator, web_client, monkeypatch):
    monkeypatch.setattr(paging, "WINDOW", 2)
    for _ in range(3):
        issue_tokens(client=web_client, user=UserFactory())
    newest = list(RefreshToken.objects.order_by("-pk").values_list("pk", flat=True)[:2])

    response = operator.get(url(LIST) + "?state=live")

    assert shown(response) == newest
    assert "among the newest 2 sessions" in response.content.decode()


def test_the_list_ends_after_so_many_rows_and_says_so(operator, web_client, monkeypatch):
    monkeypatch.setattr(paging, "MOST_SHOWN", 3)
    monkeypatch.setattr(sessions.RefreshTokenAdmin, "list_per_page", 2)
    for _ in range(5):
        issue_tokens(client=web_client, user=UserFactory())
    newest = list(RefreshToken.objects.order_by("-pk").values_list("pk", flat=True))

    assert shown(operator.get(url(LIST))) == newest[:2]
    last = operator.get(url(LIST) + "?p=2")
    assert shown(last) == newest[2:3]
    assert "Only the newest 3 are shown" in last.content.decode()


def test_no_page_of_the_list_counts_the_table(operator, session):
    with CaptureQueriesContext(connection) as queries:
        operator.get(url(LIST))

    assert not any("COUNT(" in query["sql"].upper() for query in queries)


@pytest.mark.parametrize(
    ("term", "found"), [("ali", True), ("Custom", True), ("portal-1", True), ("bob", False), (" ", True)]
)
def test_the_search_finds_users_by_their_beginning_and_clients_by_name(operator, term, found):
    issue_tokens(
        client=ClientFactory(client_id="portal-1", name="Customer portal"), user=UserFactory(username="alice")
    )

    assert len(shown(operator.get(url(LIST), {"q": term}))) == found


def test_a_term_that_names_a_user_and_a_client_finds_both(operator):
    issue_tokens(client=ClientFactory(name="acme shop"), user=UserFactory(username="zoe"))
    issue_tokens(client=ClientFactory(), user=UserFactory(username="acme"))

    assert len(shown(operator.get(url(LIST), {"q": "acme"}))) == 2


def test_the_filter_lists_the_chosen_client_however_many_there_are(operator, session, monkeypatch):
    monkeypatch.setattr("django_ciam_token.admin.session_list._MOST_CLIENTS", 0)

    page = operator.get(url(LIST) + f"?client__id__exact={session.client_id}").content.decode()

    assert f"client__id__exact={session.client_id}" in page


def test_a_machines_session_is_listed(operator, machine):
    issue_tokens(client=machine)

    assert "(machine)" in operator.get(url(LIST)).content.decode()
    assert operator.get(url("refreshtoken_change", RefreshToken.objects.get().pk)).status_code == 200


# --- ending ------------------------------------------------------------------------------------------


def test_a_session_is_ended_after_a_question(operator, session, django_capture_on_commit_callbacks):
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
    assert "had been ended already" in again.content.decode()


def test_selected_sessions_are_ended_after_a_question(operator, web_client):
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


class PlainUserAdmin(SessionsOfUserMixin, admin.ModelAdmin):
    """Of a user model of the site's own, without fieldsets."""


class ArrangedUserAdmin(SessionsOfUserMixin, admin.ModelAdmin):
    """With a place for the sessions."""

    fieldsets = ((None, {"fields": ("username", ("ciam_sessions", "ciam_sign_out"))}),)


def fields_of_user(kind, user, *permissions):
    request = RequestFactory().get("/")
    request.user = UserFactory(is_staff=True)
    named = Permission.objects.filter(codename__in=["view_user", "change_user", *permissions])
    request.user.user_permissions.set(named)
    page = kind(get_user_model(), admin.site)
    # The form of who may change the user has none of them.
    assert not {"ciam_sessions", "ciam_sign_out"} & set(page.get_form(request, user).base_fields)
    return flatten_fieldsets(page.get_fieldsets(request, user))


@pytest.mark.parametrize("kind", [PlainUserAdmin, ArrangedUserAdmin])
def test_a_users_sessions_are_shown_once_and_to_whom_may_see_them(user, kind):
    assert not {"ciam_sessions", "ciam_sign_out"} & set(fields_of_user(kind, user))
    assert not {"ciam_sessions", "ciam_sign_out"} & set(fields_of_user(kind, None, "view_refreshtoken"))
    seen = fields_of_user(kind, user, "view_refreshtoken")
    assert (seen.count("ciam_sessions"), seen.count("ciam_sign_out")) == (1, 0)
    ended = fields_of_user(kind, user, "view_refreshtoken", "revoke_refreshtoken")
    assert (ended.count("ciam_sessions"), ended.count("ciam_sign_out")) == (1, 1)


def test_the_address_of_signing_out_takes_any_key(user):
    user.pk = "anna_25"

    link = PlainUserAdmin(type(user), admin.site).ciam_sign_out(user)

    assert "/sign-out/anna_5F25/" in link


def test_a_user_is_signed_out_everywhere_after_a_question(operator, user, web_client, session):
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
def test_a_database_that_refuses_is_said_and_nothing_is_logged(operator, session, user, monkeypatch, what):
    monkeypatch.setattr(sessions, "revoke_session", refuse)
    monkeypatch.setattr(sessions, "revoke_sessions", refuse)
    page, form = {
        "end": (url("refreshtoken_end", session.pk), {}),
        "user": (url("refreshtoken_sign_out", user.pk), {}),
        "selected": (url(LIST), {"action": "end_sessions", "_selected_action": str(session.pk)}),
    }[what]

    response = operator.post(page, {**form, "confirmed": "yes"}, follow=True)

    assert "The database refused" in response.content.decode()
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("name", ["refreshtoken_end", "refreshtoken_sign_out"])
@pytest.mark.parametrize("key", ["nonsense", "0190a5a0-0000-7000-8000-000000000000", "999999"])
def test_what_is_not_there_is_not_found(operator, name, key):
    assert operator.get(url(name, key)).status_code == 404


def test_who_may_only_view_is_offered_nothing_and_refused_everything(viewer, session, user):
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


def test_the_pages_that_end_sessions_are_protected_against_forged_requests(session, user):
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(UserFactory(is_staff=True, is_superuser=True))

    for page in (url("refreshtoken_end", session.pk), url("refreshtoken_sign_out", user.pk)):
        assert browser.post(page, {"confirmed": "yes"}).status_code == 403


# --- one session -------------------------------------------------------------------------------------


def test_the_page_of_a_session_tells_what_happened(
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


def test_the_history_is_for_who_may_see_the_audit_trail(session):
    browser = browser_of("view_refreshtoken")

    page = browser.get(url("refreshtoken_change", session.pk)).content.decode()

    assert "ciam-timeline" not in page


def test_the_history_that_django_keeps_of_a_session_is_shown(operator, session):
    assert operator.get(url("refreshtoken_history", session.pk)).status_code == 200


def test_events_are_found_by_session_client_or_user_and_their_pages_open(operator, session):
    event = SecurityEvent.objects.create(event="issued", session_id=session.pk, client_id="a", user_id="7")
    SecurityEvent.objects.create(event="issued", client_id="b")
    for term in (str(session.pk), "a", "7"):
        found = operator.get(url("securityevent_changelist"), {"q": term}).context["cl"].result_list
        assert [row.pk for row in found] == [event.pk]
    assert len(operator.get(url("securityevent_changelist"), {"q": " "}).context["cl"].result_list) == 2
    assert operator.get(url("securityevent_history", event.pk)).status_code == 200


def test_a_page_that_is_not_there_leads_back_and_who_may_not_view_is_refused(operator, session):
    assert operator.get(url("refreshtoken_change", uuid7())).status_code == 302
    stranger = Browser()
    stranger.force_login(UserFactory(is_staff=True))
    assert stranger.get(url("refreshtoken_change", session.pk)).status_code == 403


def test_without_a_page_of_users_signing_out_leads_to_the_list(operator, session, user, monkeypatch):
    def missing(name, *args, **kwargs):
        if "auth_user" in name:
            raise sessions.NoReverseMatch(name)
        return reverse(name, *args, **kwargs)

    monkeypatch.setattr(sessions, "reverse", missing)

    response = operator.post(url("refreshtoken_sign_out", user.pk), {"confirmed": "yes"})

    assert response["Location"] == url(LIST)


# --- finding by token --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["refresh_token", "superseded", "access_token"])
def test_a_session_is_found_by_any_token_of_it(operator, session, web_client, first_tokens, refresh, kind):
    newer = refresh(web_client, first_tokens["refresh_token"]).json()
    tokens = {
        "superseded": first_tokens["refresh_token"],
        "refresh_token": newer["refresh_token"],
        "access_token": newer["access_token"],
    }

    response = operator.post(url("refreshtoken_find_by_token"), {"token": f" {tokens[kind]}\n"})

    assert response["Location"] == url("refreshtoken_change", session.pk)
    assert "no-store" in response["Cache-Control"]


def test_finding_by_token_never_shows_it_again(operator, first_tokens):
    RefreshToken.objects.all().delete()

    response = operator.post(
        url("refreshtoken_find_by_token"), {"token": first_tokens["refresh_token"]}, follow=True
    )

    page = response.content.decode()
    assert "its session is not stored any more" in page
    assert first_tokens["refresh_token"] not in page


@pytest.mark.parametrize("token", ["", "x" * 9_000, "ciam_rt1_garbage", "a.b.c", "\x00"])
def test_what_is_no_token_finds_nothing(operator, token):
    response = operator.post(url("refreshtoken_find_by_token"), {"token": token})

    assert response.status_code == 200
    assert response.context["form"].errors
    assert "value=" not in str(response.context["form"]["token"])


def test_an_access_token_without_a_session_is_told_so(operator, user):
    client = ClientFactory(refresh_tokens_enabled=False)
    token = issue_tokens(client=client, user=user)["access_token"]

    response = operator.post(url("refreshtoken_find_by_token"), {"token": token})

    assert "belongs to no session" in response.content.decode()


def test_finding_by_token_survives_a_database_that_refuses(operator, monkeypatch):
    monkeypatch.setattr(access_tokens, "verify", refuse)

    response = operator.post(url("refreshtoken_find_by_token"), {"token": "a.b.c"})

    assert "The database refused" in response.content.decode()


def test_who_may_not_view_sessions_can_not_find_them():
    assert browser_of("view_client").get(url("refreshtoken_find_by_token")).status_code == 403


# --- the page of a user ------------------------------------------------------------------------------


def test_the_page_of_a_user_lists_their_sessions(operator, session, user):
    page = operator.get(reverse("admin:auth_user_change", args=[user.pk])).content.decode()

    assert url("refreshtoken_change", session.pk) in page
    assert url("refreshtoken_sign_out", user.pk) in page
    other = operator.get(reverse("admin:auth_user_change", args=[UserFactory().pk])).content.decode()
    assert "None." in other
    assert operator.get(reverse("admin:auth_user_add")).status_code == 200


def test_the_page_of_a_user_shows_no_more_than_one_may_see(session, user, viewer):
    page = viewer.get(reverse("admin:auth_user_change", args=[user.pk])).content.decode()
    assert url("refreshtoken_change", session.pk) in page
    assert "sign-out" not in page
    stranger = Browser()
    stranger.force_login(UserFactory(is_staff=True))
    operator = UserFactory(is_staff=True)
    operator.user_permissions.add(Permission.objects.get(codename="view_user"))
    stranger.force_login(operator)
    page = stranger.get(reverse("admin:auth_user_change", args=[user.pk])).content.decode()
    assert str(session.pk) not in page


# --- user agents -------------------------------------------------------------------------------------

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (WINDOWS + "Chrome/130.0.0.0 Safari/537.36", "Chrome 130 · Windows"),
        (WINDOWS + "Chrome/130.0.0.0 Safari/537.36 Edg/130.0.2849.46", "Edge 130 · Windows"),
        (IPHONE + "Version/18.1 Mobile/15E148 Safari/604.1", "Safari 18 · iPhone"),
        (IPHONE + "CriOS/130.0.6723.90 Mobile/15E148 Safari/604.1", "Chrome 130 · iPhone"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0", "Firefox 132 · Linux"),
        ("okhttp/4.12.0", "okhttp 4.12"),
        ("Portal/3.2.1 CFNetwork/1568 Darwin/24.1.0", "Portal 3.2 · macOS"),
        ("Mozilla/5.0", "Mozilla/5.0"),
        ("", "unknown"),
        ("?" * 200, "?" * 40),
    ],
)
def test_a_user_agent_is_told_in_a_few_words(header, text):
    assert user_agents.describe(header) == text


# --- what they are built on --------------------------------------------------------------------------


def test_the_keys_of_new_sessions_are_at_least_the_bound_of_their_time():
    before = lowest_uuid7(timezone.now())

    assert uuid7() >= before > lowest_uuid7(timezone.now() - timedelta(seconds=1))
    assert uuid.UUID(int=0) == lowest_uuid7(timezone.now().replace(year=1969))


def test_revoking_stops_in_time_and_the_same_call_ends_the_rest(web_client):
    for _ in range(3):
        issue_tokens(client=web_client, user=UserFactory())

    def revoke(**limits):
        return revocation.revoke_sessions(
            SessionCriteria(client=web_client), reason="operator", batch_size=1, **limits
        )

    assert revoke(max_seconds=0) == 1
    assert revoke(max_seconds=60) == 2


@pytest.mark.parametrize("number", ["9" * 30, str(2**63), "-1", "²"])
def test_numbers_that_no_row_can_have_find_nothing(operator, session, number):
    assert operator.get(url(LIST), {"client__id__exact": number}).status_code == 200
    assert operator.get(url("refreshtoken_sign_out", number)).status_code == 404


def test_the_keys_that_clients_may_have_are_read_to_the_last():
    """CockroachDB draws keys of nineteen digits; a row with the largest would end MariaDB's counting."""
    assert session_list._key(str(2**63 - 1)) == 2**63 - 1
    assert session_list._key(str(2**63)) is None
