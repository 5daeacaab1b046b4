"""``POST /oauth2/introspect`` as a specification."""

from __future__ import annotations

import math
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_ciam_token.api import issue_tokens
from django_ciam_token.crypto import jose
from django_ciam_token.keys import key_set, signing_keys
from django_ciam_token.models import Client, RefreshToken, RevokedAccessToken
from django_ciam_token.views import introspection
from tests.conftest import post_form
from tests.factories import ClientFactory

pytestmark = pytest.mark.django_db

URL = "/oauth2/introspect"
INACTIVE = b'{"active": false}'
COMMON = ["active", "scope", "client_id", "username", "token_type"]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("django_ciam_token.database.retry.time.sleep", lambda seconds: None)


@pytest.fixture
def introspect(web_client):
    def introspect(token, *, client=web_client, **parameters):
        form = {"client_id": client.client_id, "token": token, **parameters}
        if client.plain_secret is not None:
            form["client_secret"] = client.plain_secret
        return post_form(form, url=URL)

    return introspect


def test_a_live_access_token_is_described(introspect, web_client, user, first_tokens):
    response = introspect(first_tokens["access_token"])

    assert response.status_code == 200
    assert response["Content-Type"] == "application/json;charset=UTF-8"
    assert response["Cache-Control"] == "private, no-store"
    body = response.json()
    assert list(body)[:5] == COMMON
    assert set(body) == {*COMMON, "exp", "iat", "nbf", "sub", "aud", "iss", "jti", "sid"}
    session = RefreshToken.objects.get()
    assert body["active"] is True
    assert body["scope"] == "openid profile email"
    assert (body["client_id"], body["username"]) == (web_client.client_id, user.username)
    assert (body["token_type"], body["sub"]) == ("Bearer", str(user.pk))
    assert (body["iss"], body["aud"]) == ("https://id.example.com", web_client.client_id)
    assert body["sid"] == str(session.pk)
    assert body["exp"] - body["iat"] == 300


def test_the_expiry_of_a_refresh_token_follows_the_current_setting(introspect, web_client, first_tokens):
    web_client.session_lifetime = timedelta(minutes=10)
    web_client.save()

    body = introspect(first_tokens["refresh_token"]).json()

    end = RefreshToken.objects.get().issued_at + timedelta(minutes=10)
    assert body["exp"] == math.floor(end.timestamp())


def test_a_refresh_token_whose_client_is_deleted_meanwhile_is_not_live(
    introspect, web_client, first_tokens, monkeypatch
):
    asking, find_reading = ClientFactory(may_introspect=True), introspection.find_session

    def find_and_lose(session_id):
        reading = find_reading(session_id)
        web_client.delete()
        return reading

    monkeypatch.setattr(introspection, "find_session", find_and_lose)

    assert introspect(first_tokens["refresh_token"], client=asking).content == INACTIVE


@pytest.mark.parametrize("hint", [{}, {"token_type_hint": "access_token"}])
def test_a_live_refresh_token_is_described(introspect, refresh, web_client, user, first_tokens, hint):
    token = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]

    body = introspect(token, **hint).json()

    assert list(body)[:5] == COMMON
    assert set(body) == {*COMMON, "exp", "iat", "nbf", "sub", "aud", "iss", "jti", "sid"}
    session = RefreshToken.objects.get()
    assert (body["active"], body["token_type"], body["sub"]) == (True, "refresh_token", str(user.pk))
    assert (body["exp"], body["iat"]) == (
        int(session.expires_at.timestamp()),
        int(session.rotated_at.timestamp()),
    )
    assert body["jti"] == f"{session.pk}.1"
    assert RefreshToken.objects.get().generation == 1


def test_a_refresh_token_was_issued_when_its_session_was_last_refreshed(
    introspect, refresh, web_client, first_tokens
):
    token = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    RefreshToken.objects.update(
        issued_at=F("issued_at") - timedelta(minutes=9), rotated_at=F("rotated_at") - timedelta(minutes=5)
    )

    body = introspect(token).json()

    # The age is measured by the database's clock.
    assert abs(body["iat"] - RefreshToken.objects.get().rotated_at.timestamp()) <= 2
    assert body["nbf"] == body["iat"]


def test_a_machines_tokens_have_no_username(introspect, machine):
    tokens = issue_tokens(client=machine)

    for name in ("access_token", "refresh_token"):
        body = introspect(tokens[name], client=machine).json()
        assert (body["active"], body["sub"]) == (True, machine.client_id)
        assert "username" not in body


def test_an_access_token_of_the_other_profile_is_live(introspect, web_client, user, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ACCESS_TOKEN_PROFILE": "rfc9068"}
    tokens = issue_tokens(client=web_client, user=user)

    assert introspect(tokens["access_token"]).json()["scope"] == "openid profile email"


def disable_user(user):
    type(user).objects.update(is_active=False)


def delete_user(user):
    user.delete()


def change_password(user):
    user.set_password("another")
    user.save()


def revoke_session(user):
    RefreshToken.objects.update(revoked_at=timezone.now())


def withdraw_scope(user):
    Client.objects.filter(client_id__startswith="client").update(scope="openid")


def withdraw_grant(user):
    Client.objects.filter(client_id__startswith="client").update(refresh_tokens_enabled=False)


ENDS = [disable_user, delete_user, change_password, revoke_session, withdraw_scope, withdraw_grant]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_when_a_session_ends_its_tokens_are_not_live(introspect, user, first_tokens, end, kind):
    assert introspect(first_tokens[kind]).json()["active"] is True

    end(user)

    assert introspect(first_tokens[kind]).content == INACTIVE


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
@pytest.mark.parametrize("how", ["disabled", "deleted"])
def test_a_disabled_or_deleted_client_has_no_live_tokens(introspect, web_client, first_tokens, kind, how):
    asker = ClientFactory(client_id="resource-server", may_introspect=True)
    if how == "disabled":
        Client.objects.filter(pk=web_client.pk).update(is_active=False)
    else:
        Client.objects.filter(pk=web_client.pk).delete()

    assert introspect(first_tokens[kind], client=asker).content == INACTIVE


def test_a_predecessor_is_not_live_and_asking_about_it_changes_nothing(
    introspect, refresh, web_client, first_tokens
):
    second = refresh(web_client, first_tokens["refresh_token"]).json()["refresh_token"]
    third = refresh(web_client, second).json()["refresh_token"]

    for token in (first_tokens["refresh_token"], second):
        assert introspect(token).content == INACTIVE

    assert RefreshToken.objects.get().revoked_at is None
    assert introspect(third).json()["active"] is True


def test_expired_tokens_are_not_live(introspect, first_tokens, monkeypatch):
    RefreshToken.objects.update(expires_at=F("expires_at") - timedelta(days=2))
    later = timezone.now() + timedelta(seconds=301)
    monkeypatch.setattr("django_ciam_token.views.introspection.timezone.now", lambda: later)

    for kind in ("refresh_token", "access_token"):
        assert introspect(first_tokens[kind]).content == INACTIVE


def test_a_revoked_access_token_is_not_live(introspect, first_tokens):
    body = introspect(first_tokens["access_token"]).json()
    RevokedAccessToken.objects.create(jti=body["jti"], expires_at=timezone.now())

    assert introspect(first_tokens["access_token"]).content == INACTIVE
    assert introspect(first_tokens["refresh_token"]).json()["active"] is True


@pytest.mark.parametrize(
    "token", ["unknown", "ciam_rt1_" + "A" * 91, "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "é"]
)
def test_a_string_that_is_not_a_token_is_not_live(introspect, first_tokens, token):
    assert introspect(token).content == INACTIVE


def test_an_id_token_and_a_token_of_a_removed_key_are_not_live(introspect, first_tokens):
    assert introspect(first_tokens["id_token"]).content == INACTIVE
    signing_keys.rotate(algorithm="ES256", compromised=True)
    key_set.forget()

    assert introspect(first_tokens["access_token"]).content == INACTIVE


def test_a_deleted_session_has_no_live_tokens(introspect, first_tokens):
    RefreshToken.objects.all().delete()

    for kind in ("refresh_token", "access_token"):
        assert introspect(first_tokens[kind]).content == INACTIVE


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_only_a_client_that_may_introspect_sees_another_clients_tokens_as_live(
    introspect, first_tokens, kind
):
    stranger, resource_server = ClientFactory(), ClientFactory(may_introspect=True)

    assert introspect(first_tokens[kind], client=stranger).content == INACTIVE
    assert introspect(first_tokens[kind], client=resource_server).json()["active"] is True


def test_a_token_without_a_session_is_live_if_its_client_and_user_are_active(introspect, user):
    client = ClientFactory(refresh_tokens_enabled=False)
    token = issue_tokens(client=client, user=user)["access_token"]
    body = introspect(token, client=client).json()
    assert (body["active"], body["username"]) == (True, user.username)
    assert "sid" not in body

    type(user).objects.update(is_active=False)

    assert introspect(token, client=client).content == INACTIVE


def test_a_machines_token_without_a_session_is_live_until_it_is_revoked(introspect):
    machine = ClientFactory(application_type="m2m", refresh_tokens_enabled=False)
    token = issue_tokens(client=machine)["access_token"]

    assert introspect(token, client=machine).json()["active"] is True
    body = introspect(token, client=machine).json()
    RevokedAccessToken.objects.create(jti=body["jti"], expires_at=timezone.now())
    assert introspect(token, client=machine).content == INACTIVE


def test_a_site_with_its_own_subject_says_which_user_it_means(introspect, user, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SUBJECT": lambda user: f"u-{user.pk}"}
    client = ClientFactory(refresh_tokens_enabled=False)
    token = issue_tokens(client=client, user=user)["access_token"]
    assert introspect(token, client=client).content == INACTIVE

    settings.CIAM_TOKEN = {
        **settings.CIAM_TOKEN,
        "USER_OF_SUBJECT": lambda sub: type(user).objects.get(pk=sub.removeprefix("u-")),
    }

    assert introspect(token, client=client).json()["username"] == user.username


def test_a_subject_that_is_not_a_primary_key_matches_no_user(introspect, user, settings):
    client = ClientFactory(refresh_tokens_enabled=False)
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "SUBJECT": lambda user: user.username}
    token = issue_tokens(client=client, user=user)["access_token"]
    settings.CIAM_TOKEN = {name: value for name, value in settings.CIAM_TOKEN.items() if name != "SUBJECT"}

    assert introspect(token, client=client).content == INACTIVE


def test_a_token_is_not_live_if_the_sites_own_function_does_not_find_its_user(introspect, user, settings):
    model = type(user)
    settings.CIAM_TOKEN = {
        **settings.CIAM_TOKEN,
        "SUBJECT": lambda user: user.username,
        "USER_OF_SUBJECT": lambda sub: model.objects.get(username=sub),
    }
    client = ClientFactory(refresh_tokens_enabled=False)
    token = issue_tokens(client=client, user=user)["access_token"]
    user.delete()

    assert introspect(token, client=client).content == INACTIVE


def test_a_client_that_was_created_again_does_not_inherit_tokens(introspect, user):
    client = ClientFactory(refresh_tokens_enabled=False)
    token = issue_tokens(client=client, user=user)["access_token"]
    Client.objects.filter(pk=client.pk).update(created_at=timezone.now() + timedelta(seconds=2))

    assert introspect(token, client=client).content == INACTIVE


@pytest.mark.parametrize(("before", "after"), [("web", "m2m"), ("m2m", "web")])
def test_a_client_that_became_another_kind_does_not_turn_users_into_machines(introspect, user, before, after):
    client = ClientFactory(application_type=before, refresh_tokens_enabled=False)
    token = issue_tokens(client=client, user=None if before == "m2m" else user)["access_token"]
    Client.objects.filter(pk=client.pk).update(application_type=after)

    assert introspect(token, client=client).content == INACTIVE


def test_a_token_that_lacks_its_scope_is_not_live(introspect, web_client, settings):
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ACCESS_TOKEN_PROFILE": "rfc9068"}
    now = timezone.now()
    claims = {
        "iss": "https://id.example.com",
        "sub": "1",
        "aud": web_client.client_id,
        "iat": 1,
        "exp": 2**31,
    }
    claims["jti"] = "5a18f141-e341-4338-85d6-bb4e41a86765"
    pair = key_set.current().signing_pair(now)

    assert introspect(jose.sign(claims, key=pair, typ="at+jwt")).content == INACTIVE


def test_a_token_without_a_session_is_not_live_after_its_client_was_deleted(introspect, user):
    client = ClientFactory(refresh_tokens_enabled=False)
    asker = ClientFactory(may_introspect=True)
    token = issue_tokens(client=client, user=user)["access_token"]
    Client.objects.filter(pk=client.pk).delete()

    assert introspect(token, client=asker).content == INACTIVE


def test_a_public_client_may_not_introspect(introspect, spa_client, user):
    tokens = issue_tokens(client=spa_client, user=user)

    response = introspect(tokens["access_token"], client=spa_client)

    assert response.status_code == 401
    assert response.content == b'{"error": "invalid_client"}'


def test_a_missing_token_and_a_wrong_secret_are_answered_as_at_the_token_endpoint(
    introspect, web_client, first_tokens
):
    form = {"client_id": web_client.client_id, "client_secret": "x", "token": first_tokens["access_token"]}

    missing = introspect("")
    wrong = post_form(form, url=URL)

    assert (missing.status_code, missing.json()["error"]) == (400, "invalid_request")
    assert (wrong.status_code, wrong.content) == (401, b'{"error": "invalid_client"}')


# What it costs


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_a_client_that_asks_about_its_own_token_costs_one_statement(
    introspect, first_tokens, django_assert_num_queries, kind
):
    key_set.current()

    with django_assert_num_queries(1):
        assert introspect(first_tokens[kind]).json()["active"] is True


@pytest.mark.parametrize(("kind", "statements"), [("access_token", 2), ("refresh_token", 3)])
def test_a_client_that_asks_about_anothers_token_costs_more(
    introspect, first_tokens, django_assert_num_queries, kind, statements
):
    asking = ClientFactory(may_introspect=True)
    key_set.current()

    with django_assert_num_queries(statements):
        assert introspect(first_tokens[kind], client=asking).json()["active"] is True


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_what_was_read_before_the_secret_was_compared_slowly_is_read_again(
    introspect, web_client, first_tokens, kind
):
    """The secret has never been used: that it is now is written first."""
    web_client.secrets.update(last_used_at=None)

    assert introspect(first_tokens[kind]).json()["active"] is True


def test_an_access_token_that_is_revoked_alone_is_seen_in_the_one_statement(
    introspect, first_tokens, django_assert_num_queries
):
    jti = introspect(first_tokens["access_token"]).json()["jti"]
    RevokedAccessToken.objects.create(jti=jti, expires_at=timezone.now() + timedelta(seconds=300))

    with django_assert_num_queries(1):
        assert introspect(first_tokens["access_token"]).content == INACTIVE
    assert introspect(first_tokens["refresh_token"]).json()["active"] is True


def test_of_client_and_session_no_more_is_read_than_an_access_token_needs(introspect, first_tokens):
    introspect(first_tokens["access_token"])

    with CaptureQueriesContext(connection) as captured:
        assert introspect(first_tokens["access_token"]).json()["active"] is True

    [statement] = captured
    columns = re.findall(r"\w+", statement["sql"].partition(" FROM ")[0])
    assert not {"redirect_uris", "session_lifetime", "nonce", "auth_time"}.intersection(columns)
    # That of the client's secret, and none of the session's.
    assert columns.count("secret_digest") == 1
