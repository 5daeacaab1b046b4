from __future__ import annotations

from datetime import datetime, timedelta, timezone

import jwt
import pytest
from django.db import OperationalError, connection
from django.test import RequestFactory

from django_ciam_token import api, signals
from django_ciam_token.crypto import refresh_token_string, site_keys
from django_ciam_token.errors import (
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    ServerError,
    TemporarilyUnavailable,
    UnauthorizedClient,
)
from django_ciam_token.models import Client, RefreshToken, SigningKey
from tests.factories import ClientFactory, UserFactory

pytestmark = pytest.mark.django_db


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_first_tokens_are_what_the_token_endpoint_answers(web_client, user, refresh):
    first = api.issue_tokens(client=web_client, user=user)

    second = refresh(web_client, first["refresh_token"]).json()

    assert list(first) == list(second)
    assert first["scope"] == second["scope"] == "openid profile email"
    assert claims(first["id_token"]).keys() == claims(second["id_token"]).keys()


def test_first_tokens_are_signed_with_the_newest_secret(web_client, user, settings):
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "the-secret-of-this-year-" + "n" * 30

    token = api.issue_tokens(client=web_client, user=user)["refresh_token"]

    # It is still accepted when the fallbacks are removed.
    newest = site_keys.token_keys()[:1]
    assert refresh_token_string.authenticate(token, newest).session_id == RefreshToken.objects.get().pk


def test_the_log_says_whom_first_tokens_were_issued_to(web_client, user, caplog):
    caplog.set_level("INFO")

    api.issue_tokens(client=web_client, user=user)

    [record] = [record for record in caplog.records if getattr(record, "event", "") == "issued"]
    session_id = str(RefreshToken.objects.get().pk)
    assert (record.client_id, record.session_id) == (web_client.client_id, session_id)


def test_a_machine_acts_for_itself(machine):
    answer = api.issue_tokens(client=machine)

    session = RefreshToken.objects.get()
    assert session.user is None
    assert session.auth_time is None
    assert claims(answer["access_token"])["sub"] == machine.client_id


def test_the_requested_scope_is_granted(web_client, user):
    answer = api.issue_tokens(client=web_client, user=user, scope="profile")

    assert answer["scope"] == RefreshToken.objects.get().scope == "profile"
    assert "id_token" not in answer


def test_a_client_without_refresh_tokens_gets_none_and_no_session(user):
    client = ClientFactory(refresh_tokens_enabled=False)

    answer = api.issue_tokens(client=client, user=user)

    assert list(answer) == ["access_token", "scope", "id_token", "token_type", "expires_in"]
    assert "sid" not in claims(answer["id_token"])
    assert not RefreshToken.objects.exists()


def test_the_session_records_where_it_was_started_from(web_client, user):
    request = RequestFactory().post("/login", REMOTE_ADDR="192.0.2.7", HTTP_USER_AGENT="App/1.0")

    api.issue_tokens(client=web_client, user=user, request=request)

    session = RefreshToken.objects.get()
    assert (session.last_address, session.last_user_agent) == ("192.0.2.7", "App/1.0")


def test_auth_time_is_when_the_user_signed_in(web_client, user):
    login = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)

    answer = api.issue_tokens(client=web_client, user=user, auth_time=login)

    assert claims(answer["id_token"])["auth_time"] == int(login.timestamp())


@pytest.mark.django_db(transaction=True)
def test_issuing_is_signalled(web_client, user, traces):
    api.issue_tokens(client=web_client, user=user)

    [issued] = traces.of(signals.tokens_issued)
    assert issued["session"] == RefreshToken.objects.get()
    assert (issued["client"], issued["user"]) == (web_client, user)


def test_a_refusal_to_issue_tokens_raises_and_leaves_no_session(web_client, machine, user, settings):
    disabled_client = ClientFactory(is_active=False)
    disabled_user = UserFactory(is_active=False)

    with pytest.raises(InvalidRequest) as missing_user:
        api.issue_tokens(client=web_client)
    with pytest.raises(InvalidRequest) as needless_user:
        api.issue_tokens(client=machine, user=user)
    with pytest.raises(UnauthorizedClient):
        api.issue_tokens(client=disabled_client, user=user)
    with pytest.raises(InvalidGrant):
        api.issue_tokens(client=web_client, user=disabled_user)
    with pytest.raises(InvalidScope) as wide:
        api.issue_tokens(client=web_client, user=user, scope="openid admin")
    settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ISSUANCE_POLICY": lambda **arguments: False}
    with pytest.raises(InvalidGrant) as policy:
        api.issue_tokens(client=web_client, user=user)

    assert "name the user" in missing_user.value.description
    assert "has no user" in needless_user.value.description
    assert "openid profile email" in wide.value.description
    assert policy.value.reason == "policy"
    assert not RefreshToken.objects.exists()


def test_without_a_signing_key_no_session_is_left_behind(web_client, user):
    SigningKey.objects.all().delete()

    with pytest.raises(ServerError):
        api.issue_tokens(client=web_client, user=user)

    assert not RefreshToken.objects.exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("committed", [True, False])
def test_a_session_is_stored_once_when_its_commit_breaks(
    web_client, user, monkeypatch, refresh, key_has_signed, committed
):
    key_has_signed()
    commit, failures = connection._commit, []

    def breaking_commit():
        if committed or failures:
            commit()
        if not failures:
            failures.append(1)
            raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(connection, "_commit", breaking_commit)

    answer = api.issue_tokens(client=web_client, user=user)

    assert RefreshToken.objects.count() == 1
    assert refresh(web_client, answer["refresh_token"]).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_database_that_stays_unavailable_raises_temporarily_unavailable(
    web_client, user, monkeypatch, key_has_signed
):
    key_has_signed()

    def failing_commit():
        raise OperationalError("gone")

    monkeypatch.setattr(connection, "_commit", failing_commit)

    with pytest.raises(TemporarilyUnavailable):
        api.issue_tokens(client=web_client, user=user)

    monkeypatch.undo()
    assert not RefreshToken.objects.exists()


def test_keys_that_can_not_be_read_raise_temporarily_unavailable(web_client, user, monkeypatch):
    def fail(*args, **kwargs):
        raise OperationalError("gone")

    monkeypatch.setattr("django_ciam_token.keys.key_set._read", fail)

    with pytest.raises(TemporarilyUnavailable):
        api.issue_tokens(client=web_client, user=user)

    assert not RefreshToken.objects.exists()


def test_the_lifetimes_of_the_client_override_those_of_the_site(web_client, user):
    Client.objects.update(
        access_token_lifetime=timedelta(minutes=10),
        id_token_lifetime=timedelta(hours=1),
        refresh_token_lifetime=timedelta(hours=2),
        session_lifetime=timedelta(hours=1),
        audience="https://api.example.com",
    )
    client = Client.objects.get()

    answer = api.issue_tokens(client=client, user=user)

    access, id_token = claims(answer["access_token"]), claims(answer["id_token"])
    session = RefreshToken.objects.get()
    assert access["exp"] - access["iat"] == 600
    assert access["aud"] == "https://api.example.com"
    assert id_token["exp"] - id_token["iat"] == 3600
    assert id_token["aud"] == client.client_id
    assert session.expires_at - session.issued_at == timedelta(hours=1)
