from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client as Browser
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_ciam_token.admin import SessionsOfUserMixin
from django_ciam_token.models.refresh_token import NOT_EXCHANGED
from tests.factories import ClientFactory, UserFactory, make_session, make_sessions
from tests.operators import url

pytestmark = pytest.mark.django_db


class PlainUserAdmin(SessionsOfUserMixin, admin.ModelAdmin):
    """For a custom user model; without fieldsets."""


class ArrangedUserAdmin(SessionsOfUserMixin, admin.ModelAdmin):
    """With fieldsets that include the sessions."""

    fieldsets = ((None, {"fields": ("username", ("ciam_sessions", "ciam_sign_out"))}),)


def fields_of_user(kind, user, *permissions):
    request = RequestFactory().get("/")
    request.user = UserFactory(is_staff=True)
    named = Permission.objects.filter(codename__in=["view_user", "change_user", *permissions])
    request.user.user_permissions.set(named)
    page = kind(get_user_model(), admin.site)
    # The form for changing the user contains none of them.
    assert not {"ciam_sessions", "ciam_sign_out"} & set(page.get_form(request, user).base_fields)
    return flatten_fieldsets(page.get_fieldsets(request, user))


@pytest.mark.parametrize("kind", [PlainUserAdmin, ArrangedUserAdmin])
def test_the_sessions_of_a_user_are_shown_once_and_only_with_permission(user, kind):
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


def test_the_page_of_a_user_lists_their_sessions(operator, session, user):
    page = operator.get(reverse("admin:auth_user_change", args=[user.pk])).content.decode()

    assert url("refreshtoken_change", session.pk) in page
    assert url("refreshtoken_sign_out", user.pk) in page
    other = operator.get(reverse("admin:auth_user_change", args=[UserFactory().pk])).content.decode()
    assert "None." in other
    assert operator.get(reverse("admin:auth_user_add")).status_code == 200


def test_the_page_of_a_user_shows_only_what_the_operator_may_see(session, user, viewer):
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


def test_deleting_a_user_with_thousands_of_sessions_lists_a_few(operator, web_client, user):
    make_sessions(3_000, web_client, user)

    page = operator.get(reverse("admin:auth_user_delete", args=[user.pk])).content.decode()

    assert "… and 2980 more" in page
    assert "Sessions: 3000" in page  # The count is that of all.
    assert len(page) < 30_000


def table_of(browser, user):
    page = browser.get(reverse("admin:auth_user_change", args=[user.pk])).content.decode()
    [table] = re.findall(r'<table class="ciam-sessions">.*?</table>', page, re.DOTALL)
    return re.findall(r"<tr>.*?</tr>", table, re.DOTALL)[1:]


def test_the_table_shows_device_address_use_and_state_of_live_and_ended_sessions(operator, user, web_client):
    now = timezone.now()
    seen = {"last_address": "192.0.2.7", "last_user_agent": "X11; Linux Firefox/140.0"}
    ended = make_session(web_client, user, revoked_at=now, revoked_reason="operator", **seen)
    expired = make_session(web_client, user, expires_at=now - timedelta(days=1))
    live = make_session(web_client, user, rotated_at=now - timedelta(minutes=2), **seen)
    code = make_session(web_client, user, nonce=NOT_EXCHANGED)

    rows = table_of(operator, user)

    assert len(rows) == 3
    # Those that began within a millisecond have no order.
    rows[1:] = sorted(rows[1:], key=lambda row: "ended by" in row)
    for session, row in zip((live, expired, ended), rows, strict=True):
        assert url("refreshtoken_change", session.pk) in row
    assert not any(str(code.pk) in row for row in rows)
    assert "Firefox 140" in rows[0]
    assert "192.0.2.7" in rows[0].replace("<wbr>", "")
    assert "2 min ago" in rows[0]
    assert url("refreshtoken_end", live.pk) in rows[0]
    assert "ended by operator" in rows[2]
    assert "/end/" not in rows[1] + rows[2]


def test_a_live_session_is_in_the_table_however_many_have_ended_since(operator, user, web_client):
    live = make_session(web_client, user)
    make_sessions(60, web_client, user, revoked_at=timezone.now(), revoked_reason="user")

    rows = table_of(operator, user)

    assert len(rows) == 21
    assert str(live.pk) in rows[0]


def test_a_user_with_many_sessions_is_shown_some_and_led_to_all(operator, user, web_client):
    make_sessions(30, web_client, user)
    make_sessions(30, web_client, user, revoked_at=timezone.now(), revoked_reason="user")

    assert len(table_of(operator, user)) == 40
    page = operator.get(reverse("admin:auth_user_change", args=[user.pk])).content.decode()
    assert f"{url('refreshtoken_changelist')}?q={user.get_username()}" in page


def test_the_table_makes_as_many_queries_for_forty_sessions_as_for_one(operator, user, web_client):
    def count():
        with CaptureQueriesContext(connection) as queries:
            table_of(operator, user)
        return len(queries)

    make_session(web_client, user)
    count()
    one = count()
    make_sessions(30, ClientFactory(), user)
    make_sessions(30, web_client, user, revoked_at=timezone.now(), revoked_reason="user")

    assert count() == one


def test_a_session_of_a_disabled_user_is_blocked_and_can_still_be_ended(operator, user, web_client):
    session = make_session(web_client, user)
    user.is_active = False
    user.save()

    [row] = table_of(operator, user)

    assert "user disabled" in row
    assert url("refreshtoken_end", session.pk) in row


def test_the_sessions_are_at_the_top_of_the_page(operator, user, session):
    page = operator.get(reverse("admin:auth_user_change", args=[user.pk])).content.decode()

    assert page.index("ciam-sessions") < page.index('name="username"')
    assert "django_ciam_token/admin.css" in page


def test_a_session_leads_to_all_of_its_users_whatever_user_admin_the_site_has(operator, user, session):
    mine = {make_session(ClientFactory(), user).pk, session.pk}
    make_session(ClientFactory(), UserFactory())
    page = operator.get(url("refreshtoken_change", session.pk)).content.decode()

    address = re.search('href="([^"]+)">All sessions of this user<', page)[1]
    shown = operator.get(address).context["cl"].result_list

    assert {row.pk for row in shown} == mine


def test_a_machines_session_has_no_user_whose_sessions_to_show(operator):
    session = make_session(ClientFactory(application_type="m2m"))

    assert (
        "All sessions of this user"
        not in operator.get(url("refreshtoken_change", session.pk)).content.decode()
    )
