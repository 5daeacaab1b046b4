from __future__ import annotations

import html
import re
import uuid
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test import RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_ciam_token.admin import event_filters
from django_ciam_token.caller import Caller
from django_ciam_token.models import SecurityEvent
from django_ciam_token.monitoring import audit_trail
from django_ciam_token.monitoring.erasure import erase_person
from tests.factories import ClientFactory, UserFactory
from tests.operators import browser_of, url

pytestmark = pytest.mark.django_db


def test_events_are_found_by_session_client_or_user_and_their_pages_open(operator, session):
    event = SecurityEvent.objects.create(event="issued", session_id=session.pk, client_id="a", user_id="7")
    SecurityEvent.objects.create(event="issued", client_id="b")
    for term in (str(session.pk), "a", "7"):
        found = operator.get(url("securityevent_changelist"), {"q": term}).context["cl"].result_list
        assert [row.pk for row in found] == [event.pk]
    assert len(operator.get(url("securityevent_changelist"), {"q": " "}).context["cl"].result_list) == 2
    assert operator.get(url("securityevent_history", event.pk)).status_code == 200


EVENTS = "securityevent_changelist"


def add(at=None, **fields):
    fields = {"event": "issued", **fields}
    return SecurityEvent.objects.create(**fields, **({"at": at} if at else {}))


def shown(browser, **query):
    response = browser.get(url(EVENTS), query)
    assert response.status_code == 200, response.headers.get("Location")
    return [row.pk for row in response.context["cl"].result_list]


def page_of(browser, **query):
    return html.unescape(browser.get(url(EVENTS), query).content.decode())


def test_a_user_and_a_client_are_shown_by_name(operator, user, web_client):
    add(client_id=web_client.client_id, user_id=str(user.pk))
    add(client_id="gone", user_id="4711")
    add(user_id="no key of a user")
    add(user_id="9" * 60)

    page = page_of(operator)

    assert f">{user.get_username()}<" in page.replace("<wbr>", "")
    assert web_client.name in page.replace("<wbr>", "")
    assert ">4711<" in page
    assert ">gone<" in page


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("client", "client_id", "portal"),
        ("user", "user_id", "4711"),
        ("actor", "actor", "alice@example.org"),
        ("address", "address", "2001:db8::7"),
        ("session", "session_id", "0197a5c0-0000-7000-8000-000000000001"),
        ("event__exact", "event", "revoked"),
    ],
)
def test_a_click_on_a_value_shows_the_events_that_have_it_and_keeps_the_other_filters(
    operator, name, column, value
):
    wanted = add(**{column: value, "reason": "x"})
    add(at=timezone.now() - timedelta(days=3), **{column: value})
    add()
    since = (timezone.localtime() - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S")
    page = operator.get(url(EVENTS), {"from": since}).content.decode()

    links = [html.unescape(link) for link in re.findall(r'class="ciam-value" href="([^"]*)"', page)]
    [link] = {link for link in links if parse_qs(urlsplit(link).query).get(name) == [value]}

    assert parse_qs(urlsplit(link).query) == {name: [value], "from": [since]}
    response = operator.get(link)
    assert [row.pk for row in response.context["cl"].result_list] == [wanted.pk]


def test_filters_and_a_search_narrow_each_other(operator, user):
    wanted = add(user_id=str(user.pk), client_id="portal", address="192.0.2.7")
    add(user_id=str(user.pk), client_id="portal", address="192.0.2.8")
    add(user_id="4711", client_id="portal", address="192.0.2.7")

    assert shown(operator, client="portal", address="192.0.2.7", q=user.get_username()) == [wanted.pk]
    assert shown(operator, client="portal", user=user.pk, address="192.0.2.7") == [wanted.pk]
    page = page_of(operator, user=user.pk)
    assert f"User: <strong>{user.get_username()}</strong>" in page
    assert "only the newest" in page


def test_a_period_includes_its_first_and_its_last_second(operator):
    at = datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone.get_current_timezone())
    before, first, last, after = [
        add(at=at + timedelta(seconds=seconds)).pk for seconds in (-0.001, 0, 10.999, 11)
    ]

    assert shown(operator, **{"from": "2026-03-04T05:06:07", "to": "2026-03-04T05:06:17"}) == [last, first]
    assert shown(operator, **{"from": "2026-03-04T05:06:07"}) == [after, last, first]
    assert shown(operator, to="2026-03-04T05:06:17") == [last, first, before]
    # Without seconds, as a browser sends a full minute; with an offset, as somebody may write it.
    assert shown(operator, **{"from": "2026-03-04T05:07"}) == []
    assert shown(operator, **{"from": at.isoformat()}) == [after, last, first]


@pytest.mark.parametrize(
    "query",
    [
        {"from": "nonsense"},
        {"to": "2026-02-31T00:00:00"},
        {"from": "0001-01-01T00:00:00"},
        {"to": "9999-12-31T23:59:59"},
        {"session": "nonsense"},
        {"address": "nonsense"},
        {"user": "x" * 500},
        {"client": "\x00"},
        {"user": "\x00"},
        {"address": "\x00"},
        {"session": "\x00"},
        {"event__exact": "\x00"},
        {"event__exact": "nonsense"},
        {"from": ""},
        {"client": ""},
    ],
)
def test_what_is_no_time_address_or_session_is_no_error(operator, query):
    add()

    response = operator.get(url(EVENTS), query, follow=True)

    assert response.status_code == 200


def test_the_form_of_the_period_keeps_the_other_filters_and_names_the_zone(operator):
    add(client_id="portal", event="revoked")

    page = page_of(operator, client="portal", event__exact="revoked", q="portal", to="2099-01-02T03:04:05")

    [form] = re.findall(r'<div class="ciam-period">.*?</form>', page, re.DOTALL)
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form))
    assert hidden == {"client": "portal", "event__exact": "revoked", "q": "portal"}
    assert 'name="to" value="2099-01-02T03:04:05"' in form
    assert timezone.get_current_timezone_name() in form


def test_events_are_in_the_order_of_their_times_and_those_of_one_instant_in_that_of_their_keys(operator):
    now = timezone.now()
    first, second = add(at=now).pk, add(at=now).pk
    late = add(at=now - timedelta(minutes=1)).pk  # The database refused it at first.

    assert shown(operator) == [second, first, late]


def test_a_reuse_is_older_than_the_end_of_the_session_that_it_caused(
    operator, session, web_client, first_tokens, refresh, django_capture_on_commit_callbacks
):
    second = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    refresh(web_client, second)
    with django_capture_on_commit_callbacks(execute=True):
        refresh(web_client, first_tokens["refresh_token"])

    newest = [event.event for event in operator.get(url(EVENTS)).context["cl"].result_list][:2]

    assert newest == ["revoked", "reuse_detected"]


def test_the_page_of_an_event_has_everything_and_leads_to_what_it_names(operator, session, web_client, user):
    event = add(
        event="revoked", reason="operator", actor="alice", address="192.0.2.7", session_id=session.pk,
        client_id=web_client.client_id, user_id=str(user.pk), user_agent="X11; Linux Firefox/140.0",
    )  # fmt: skip

    page = html.unescape(operator.get(url("securityevent_change", event.pk)).content.decode())

    opened = re.findall(r'class="ciam-open" href="([^"]*)"', page)
    assert opened == [
        url("client_change", web_client.pk),
        reverse("admin:auth_user_change", args=[user.pk]),
        url("refreshtoken_change", session.pk),
    ]
    assert "by an operator" in page
    assert "X11; Linux Firefox/140.0" in page
    assert f"?session={session.pk}" in page
    for link in opened:
        assert operator.get(link).status_code == 200


def test_nothing_leads_where_the_operator_may_not_go_or_where_nothing_is(operator, session, web_client, user):
    values = {"client_id": web_client.client_id, "user_id": str(user.pk), "session_id": session.pk}
    event = add(**values)
    gone = add(client_id="gone", user_id="4711", session_id=uuid.uuid4())

    may_see_events_only = browser_of("view_securityevent", username="auditor")

    for browser, seen in ((may_see_events_only, event), (operator, gone)):
        page = browser.get(url("securityevent_change", seen.pk)).content.decode()
        assert "ciam-open" not in page


def test_the_list_of_events_makes_as_many_queries_for_fifty_as_for_one(operator, web_client):
    def count(**query):
        with CaptureQueriesContext(connection) as queries:
            assert operator.get(url(EVENTS), query).status_code == 200
        return len(queries)

    user = UserFactory()
    add(client_id=web_client.client_id, user_id=str(user.pk), address="192.0.2.7", actor="alice")
    every = {"client": web_client.client_id, "user": user.pk, "address": "192.0.2.7", "actor": "alice"}
    count()  # Content types and the like are cached by the first request.
    one, narrowed = count(), count(**every)
    for _ in range(50):
        other = UserFactory()
        add(client_id=ClientFactory().client_id, user_id=str(other.pk), session_id=uuid.uuid4())
        add(client_id=web_client.client_id, user_id=str(user.pk), address="192.0.2.7", actor="alice")

    assert count() == one
    assert count(**every) == narrowed


def test_the_user_agent_is_recorded_and_erased_with_the_person(web_client, user, rf):
    request = rf.post("/login", REMOTE_ADDR="192.0.2.7", HTTP_USER_AGENT="Firefox/140.0")
    audit_trail.record(audit_trail.event_of("issued", user_id=user.pk, caller=Caller.of(request)))
    assert SecurityEvent.objects.get().user_agent == "Firefox/140.0"

    erase_person(user_key=str(user.pk))

    assert SecurityEvent.objects.get().user_agent == ""


def test_an_event_that_is_gone_is_said_to_be_gone(operator):
    response = operator.get(url("securityevent_change", 4711), follow=True)

    assert "Perhaps it was deleted?" in response.content.decode()


def test_filters_without_a_value_keep_everything():
    rows = SecurityEvent.objects.all()
    request = RequestFactory().get("/")
    for kind in (event_filters.AddressFilter, event_filters.SessionFilter):
        built = kind(request, {}, SecurityEvent, None)
        assert built.queryset(request, rows) is rows


def test_the_period_names_its_parameters():
    built = event_filters.PeriodFilter(RequestFactory().get("/"), {}, SecurityEvent, None)

    assert built.expected_parameters() == [event_filters.FIRST, event_filters.LAST]


@override_settings(USE_TZ=False)
def test_without_time_zones_an_offset_is_converted():
    assert event_filters._parsed("2026-03-01T12:00:00+01:00").tzinfo is None
    assert event_filters._parsed("2026-03-01T12:00:00") == datetime(2026, 3, 1, 12)  # noqa: DTZ001
