from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client as Browser
from django.test import RequestFactory
from django.urls import reverse

from django_ciam_token.admin import SessionsOfUserMixin
from tests.factories import UserFactory, make_sessions
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
