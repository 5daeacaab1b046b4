"""``/userinfo`` as a specification."""

from __future__ import annotations

import datetime
import json

import jwt
import pytest
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import OperationalError
from django.test import Client as Browser
from django.test.utils import isolate_apps
from django.urls import path
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.crypto import jose
from django_ciam_token.keys import key_set, signing_keys
from django_ciam_token.models import RefreshToken
from django_ciam_token.tokens import access_tokens
from django_ciam_token.views import userinfo
from django_ciam_token.views.userinfo import UserInfoView
from tests.factories import ClientFactory, UserFactory

pytestmark = pytest.mark.django_db

urlpatterns = [path("userinfo", UserInfoView.as_view())]

ONLY_SUB = "openid"


@pytest.fixture(autouse=True)
def _site(settings, monkeypatch):
    settings.ROOT_URLCONF = __name__
    monkeypatch.setattr("django_ciam_token.database.retry.time.sleep", lambda seconds: None)


@pytest.fixture
def user():
    return UserFactory(username="ada", first_name="Ada", last_name="Lovelace", email="ada@example.com")


def ask(token=None, *, method="get", authorization=None, url="/userinfo", **extra):
    if token is not None:
        authorization = f"Bearer {token}"
    if authorization is not None:
        extra["HTTP_AUTHORIZATION"] = authorization
    return getattr(Browser(raise_request_exception=False), method)(url, **extra)


def token_of(user, scope="openid profile email", **client):
    return issue_tokens(client=ClientFactory(**client), user=user, scope=scope)["access_token"]


def resign(token, **changes):
    claims = {**jwt.decode(token, options={"verify_signature": False}), **changes}
    return jose.sign(claims, key=key_set.current().signing_pair(timezone.now()))


def configure(settings, **values):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, **values}


def assert_error(response, status, error, challenge):
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/json;charset=UTF-8"
    assert response["Cache-Control"] == "private, no-store"
    assert response.get("WWW-Authenticate") == challenge
    body = response.json()
    assert body["error"] == error
    assert set(body) <= {"error", "error_description"}


def assert_invalid_token(response):
    assert_error(response, 401, "invalid_token", 'Bearer error="invalid_token"')
    assert response.content == b'{"error": "invalid_token"}'


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("profile", ["ciam", "rfc9068"])
def test_the_claims_follow_the_scope_and_sub_is_first(settings, user, method, profile):
    configure(settings, ACCESS_TOKEN_PROFILE=profile)

    response = ask(token_of(user), method=method)

    assert response.status_code == 200
    assert response["Content-Type"] == "application/json;charset=UTF-8"
    assert response["Cache-Control"] == "private, no-store"
    assert response["Pragma"] == "no-cache"
    assert "WWW-Authenticate" not in response
    assert (
        response.content
        == json.dumps(
            {
                "sub": str(user.pk),
                "name": "Ada Lovelace",
                "given_name": "Ada",
                "family_name": "Lovelace",
                "preferred_username": "ada",
                "email": "ada@example.com",
            }
        ).encode()
    )


@pytest.mark.parametrize(
    ("scope", "members"),
    [
        ("openid", ["sub"]),
        ("openid email", ["sub", "email"]),
        ("profile openid", ["sub", "name", "given_name", "family_name", "preferred_username"]),
    ],
)
def test_a_scope_that_was_not_granted_gives_no_claims(user, scope, members):
    assert list(ask(token_of(user, scope)).json()) == members


def test_claims_without_a_value_are_left_out():
    user = UserFactory(username="anon")

    assert ask(token_of(user)).json() == {"sub": str(user.pk), "preferred_username": "anon"}


def test_a_user_model_that_has_no_names_has_no_such_claims():
    # In the real registry it would be a model without a migration.
    with isolate_apps("django.contrib.auth"):

        class Plain(AbstractBaseUser):
            USERNAME_FIELD = "login"
            login = "ada"

            class Meta:
                app_label = "auth"
                managed = False

    assert userinfo._standard_claims(Plain(), ("profile", "email")) == {"preferred_username": "ada"}


def test_sub_is_the_one_in_the_tokens(settings, web_client, user):
    configure(settings, SUBJECT=lambda user: f"u-{user.username}")
    tokens = issue_tokens(client=web_client, user=user, scope="openid")

    claims = jwt.decode(tokens["id_token"], options={"verify_signature": False})
    assert ask(tokens["access_token"]).json() == {"sub": claims["sub"]} == {"sub": "u-ada"}


def test_a_machine_has_its_client_id_and_nothing_else(settings, machine):
    configure(settings, USER_CLAIMS=lambda **_: {"role": "x"})

    assert ask(issue_tokens(client=machine)["access_token"]).json() == {"sub": machine.client_id}


def test_the_site_adds_replaces_and_takes_away_claims(settings, web_client, user):
    asked = {}

    def claims(**arguments):
        asked.update(arguments)
        return {
            "email": None,
            "name": "Countess of Lovelace",
            "birthdate": datetime.date(1815, 12, 10),
            "email_verified": False,
            "nickname": None,
        }

    configure(settings, USER_CLAIMS=claims)
    token = issue_tokens(client=web_client, user=user)["access_token"]

    assert ask(token).json() == {
        "sub": str(user.pk),
        "name": "Countess of Lovelace",
        "given_name": "Ada",
        "family_name": "Lovelace",
        "preferred_username": "ada",
        "birthdate": "1815-12-10",
        "email_verified": False,
    }
    assert asked == {"user": user, "client": web_client, "scope": ("openid", "profile", "email")}


@pytest.mark.parametrize("claims", [{"sub": "1"}, {"sub": None}, ["x"], None, {"x": object()}])
def test_a_wrong_callable_of_the_site_is_an_error_in_json_that_the_log_explains(
    settings, traces, user, claims
):
    configure(settings, USER_CLAIMS=lambda **_: claims)

    response = ask(token_of(user))

    assert_error(response, 500, "server_error", None)
    assert any("Internal error at /userinfo" in line for line in traces.logged)


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("authorization", [None, "Basic eDp5", "Bearer", "Bearer a b"])
def test_no_token_is_an_invalid_request(method, authorization):
    response = ask(method=method, authorization=authorization)

    assert_error(response, 400, "invalid_request", 'Bearer error="invalid_request"')
    assert "Authorization: Bearer TOKEN" in response.json()["error_description"]


def test_a_token_in_the_form_is_not_accepted(user):
    response = ask(method="post", data={"access_token": token_of(user)})

    assert_error(response, 400, "invalid_request", 'Bearer error="invalid_request"')


def test_a_token_in_the_query_string_is_refused_even_with_one_in_the_header(traces, user):
    token = token_of(user)
    traces.secrets.clear()  # Django's own log has the URL.

    response = ask(token, url=f"/userinfo?access_token={token}")

    assert_error(response, 400, "invalid_request", 'Bearer error="invalid_request"')
    assert "query string" in response.json()["error_description"]


def test_any_other_token_is_an_invalid_token(web_client, user):
    tokens = issue_tokens(client=web_client, user=user)

    for token in ("abc", "a,b", tokens["id_token"], tokens["refresh_token"]):
        assert_invalid_token(ask(token))


def test_a_token_signed_by_a_removed_key_is_invalid(user):
    token = token_of(user)
    signing_keys.rotate(compromised=True)
    key_set.forget()

    assert_invalid_token(ask(token))


def test_an_expired_token_is_invalid_except_within_the_leeway(settings, user):
    token = resign(token_of(user), exp=int(timezone.now().timestamp()) - 30)

    assert_invalid_token(ask(token))
    configure(settings, RESOURCE_LEEWAY=60)
    assert ask(token).status_code == 200


@pytest.mark.parametrize("checks", [True, False])
def test_a_token_of_a_revoked_session_is_invalid_even_if_the_sites_own_views_do_not_check(
    settings, user, checks
):
    configure(settings, RESOURCE_CHECKS_REVOCATION=checks)
    token = token_of(user)
    RefreshToken.objects.update(revoked_at=timezone.now())

    assert_invalid_token(ask(token))


def test_a_token_of_a_disabled_user_is_invalid(user):
    token = token_of(user)
    user.is_active = False
    user.save()

    assert_invalid_token(ask(token))


def test_a_token_for_another_audience_may_ask_its_issuer(settings, user):
    configure(settings, RESOURCE_AUDIENCES=["https://here.example"])

    assert ask(token_of(user, audience="https://api.example.com")).json()["sub"] == str(user.pk)


def test_a_token_without_openid_has_insufficient_scope(user):
    response = ask(token_of(user, "profile email"))

    assert_error(response, 403, "insufficient_scope", 'Bearer error="insufficient_scope", scope="openid"')


@pytest.mark.parametrize("method", ["put", "delete", "options", "head"])
def test_other_methods_are_not_served_and_not_challenged(user, method):
    response = ask(token_of(user), method=method)

    assert response.status_code == 405
    assert response["Allow"] == "GET, POST"
    assert "WWW-Authenticate" not in response


def test_a_request_costs_one_query(django_assert_num_queries, user):
    token = token_of(user)
    key_set.current()

    with django_assert_num_queries(1):
        assert ask(token).status_code == 200


def test_an_unavailable_database_is_answered_503_and_never_401(monkeypatch, user):
    token = token_of(user)

    def fail(verified):
        raise OperationalError("gone")

    monkeypatch.setattr(access_tokens, "require_live", fail)

    response = ask(token)

    assert_error(response, 503, "temporarily_unavailable", None)
    assert response["Retry-After"] == "1"
