"""User names that are no strings, as phone number fields make them."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client as Browser

from django_ciam_token.api import list_sessions
from django_ciam_token.models import RefreshToken, SecurityEvent
from django_ciam_token.sessions import user as module
from django_ciam_token.sessions.criteria import SessionCriteria
from django_ciam_token.sessions.user import user_name, user_with_key
from tests.conftest import post_form
from tests.operators import browser_of

pytestmark = pytest.mark.django_db


class PhoneNumber:
    """Like the object of a phone number field: no str, and nothing that JSON knows."""

    def __init__(self, digits):
        self.digits = digits

    def __str__(self):
        return f"+49{self.digits}"


@pytest.fixture(autouse=True)
def _phone_numbers_are_user_names(monkeypatch):
    monkeypatch.setattr(User, "get_username", lambda self: PhoneNumber(self.pk))


def test_a_user_name_is_text(user):
    assert user_name(user) == f"+49{user.pk}"
    assert SessionCriteria(user=user).described()["user"] == f"+49{user.pk}"


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_introspection_shows_it(web_client, user, first_tokens, kind):
    form = {
        "token": first_tokens[kind],
        "client_id": web_client.client_id,
        "client_secret": web_client.plain_secret,
    }

    assert post_form(form, url="/oauth2/introspect").json()["username"] == f"+49{user.pk}"


def test_userinfo_shows_it(web_client, user, monkeypatch):
    from django_ciam_token.api import issue_tokens

    web_client.scope = "openid profile email"
    web_client.save()
    monkeypatch.setattr(User, "get_full_name", lambda self: PhoneNumber("name"))
    token = issue_tokens(client=web_client, user=user)["access_token"]

    claims = Browser().get("/userinfo", headers={"Authorization": f"Bearer {token}"}).json()

    assert claims["preferred_username"] == f"+49{user.pk}"
    assert claims["name"] == "+49name"


def test_sessions_are_listed_with_it(user, first_tokens, capsys):
    assert [session.user for session in list_sessions()] == [f"+49{user.pk}"]

    call_command("list_tokens")
    assert f"+49{user.pk}" in capsys.readouterr().out
    call_command("list_tokens", "--json")
    assert json.loads(capsys.readouterr().out)["sessions"][0]["user"] == f"+49{user.pk}"


def test_what_an_operator_does_is_recorded_with_it(
    settings, first_tokens, django_capture_on_commit_callbacks
):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "AUDIT_TRAIL": True}
    browser = browser_of(is_superuser=True)
    operator = User.objects.get(is_superuser=True)
    [session] = list_sessions()

    with django_capture_on_commit_callbacks(execute=True):
        browser.post(f"/admin/django_ciam_token/refreshtoken/{session.session_id}/end/", {"confirmed": "yes"})

    assert list_sessions() == []
    assert SecurityEvent.objects.get(event="revoked").actor == f"+49{operator.pk}"


@pytest.mark.parametrize("model", [User, RefreshToken], ids=["integer keys", "UUID keys"])
@pytest.mark.parametrize("key", ["no-key-of-a-user", "9" * 30, ""])
def test_what_can_be_no_key_is_the_key_of_nobody(monkeypatch, model, key):
    monkeypatch.setattr(module, "get_user_model", lambda: model)

    assert user_with_key(key) is None


def test_a_user_is_found_by_the_key_as_text(user):
    assert user_with_key(str(user.pk)) == user
