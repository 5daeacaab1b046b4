"""Sites whose routers send reads elsewhere, or forbid relations between databases."""

from __future__ import annotations

import uuid

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from django.test import Client as Browser
from rest_framework.test import APIRequestFactory

from django_ciam_token.api import (
    RevocationReason,
    issue_tokens,
    list_sessions,
    revoke_sessions,
    rotate_client_secret,
)
from django_ciam_token.checks import check_settings
from django_ciam_token.clients import secret_retirement
from django_ciam_token.clients.secret_retirement import live_secrets, retire_client_secret
from django_ciam_token.crypto import jose
from django_ciam_token.integrations import cors_headers
from django_ciam_token.keys.importing import import_signing_key
from django_ciam_token.models import Client, RefreshToken
from django_ciam_token.resource_server import AccessTokenAuthentication
from django_ciam_token.sessions.criteria import SessionCriteria
from tests.conftest import post_form

pytestmark = pytest.mark.django_db(transaction=True)


class DeadReplica:
    """Reads go to a replica that is not there; nothing is said of relations."""

    def db_for_read(self, model, **hints):
        return "dead"

    def db_for_write(self, model, **hints):
        return "default"


@pytest.fixture
def dead_replica(settings, monkeypatch):
    """A second alias that can't be connected to, whatever the first is."""
    settings.DATABASE_ROUTERS = [DeadReplica()]
    nowhere = {**connections["default"].settings_dict, "NAME": f"/nowhere/{uuid.uuid4()}", "TEST": {}}
    monkeypatch.setitem(connections.settings, "dead", nowhere)


def test_nothing_of_a_refresh_is_read_from_a_replica(web_client, first_tokens, refresh, dead_replica, caplog):
    token = first_tokens["refresh_token"]
    for _ in range(2):
        answer = refresh(web_client, token)
        assert answer.status_code == 200
        token, old = answer.json()["refresh_token"], token

    assert refresh(web_client, old).status_code == 200
    assert refresh(web_client, first_tokens["refresh_token"]).status_code == 400
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_nor_of_anything_else(web_client, user, dead_replica, caplog):
    tokens = issue_tokens(client=web_client, user=user)
    credentials = {"client_id": web_client.client_id, "client_secret": web_client.plain_secret}
    access_token = tokens["access_token"]
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {access_token}"}

    introspected = post_form({"token": access_token, **credentials}, url="/oauth2/introspect").json()
    assert introspected["active"] is True
    assert Browser().get("/userinfo", **bearer).json()["sub"] == str(user.pk)
    assert Browser().get("/oauth2/jwks").status_code == 200
    request = APIRequestFactory().get("/", **bearer)
    assert AccessTokenAuthentication().authenticate(request)[0] == user
    assert cors_headers.allowed_origins() == frozenset()
    assert len(list_sessions(user=user)) == 1
    call_command("list_tokens", user=user.get_username())
    call_command("purge_tokens")
    refreshed = post_form({"token": tokens["refresh_token"], **credentials}, url="/oauth2/introspect").json()
    assert refreshed["active"] is True
    assert post_form({"token": access_token, **credentials}, url="/oauth2/revoke").json() == {}
    assert revoke_sessions(SessionCriteria(user=user), reason=RevocationReason.USER) == 1
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_first_tokens_for_a_client_and_a_user_that_were_read_from_a_replica(web_client, user, dead_replica):
    """The router says nothing of relations, so Django allows none between databases."""
    web_client._state.db = user._state.db = "dead"

    tokens = issue_tokens(client=web_client, user=user)

    session = RefreshToken.objects.using("default").get()
    assert (session.client_id, session.user_id) == (web_client.pk, user.pk)
    assert tokens["refresh_token"]
    assert Client.objects.using("default").get().client_id == web_client.client_id


def test_whether_a_secret_was_retired_is_not_read_from_a_replica(web_client, dead_replica, monkeypatch):
    rotate_client_secret(web_client)
    chosen = live_secrets(web_client)[1]
    # The COMMIT of the first attempt was not confirmed.
    monkeypatch.setattr(secret_retirement, "retry", lambda write, *, using: (write(1), write(2))[1])

    assert retire_client_secret(web_client, chosen.pk) == chosen


def test_whether_a_key_is_here_already_is_not_read_from_a_replica(dead_replica):
    pem = jose.generate_private_key("ES256")

    assert [import_signing_key(pem)[1] for _ in range(2)] == [True, False]


TOGETHER = ("Client", "ClientSecret", "Consent", "ForeignToken", "RefreshToken", "RevokedAccessToken")


class Split:
    """Some models are in another database."""

    def __init__(self, *labels):
        self.labels = labels

    def db_for_write(self, model, **hints):
        return "other" if model._meta.label in self.labels else None


@pytest.mark.parametrize(
    "label", [settings.AUTH_USER_MODEL, *(f"django_ciam_token.{name}" for name in TOGETHER)]
)
def test_rows_that_are_read_together_must_be_in_one_database(settings, label):
    settings.DATABASE_ROUTERS = [Split(label)]

    [message] = check_settings(None)

    assert message.id == "django_ciam_token.E008"
    assert f"{label} to 'other'" in message.msg


def test_all_of_them_may_be_in_another_database_and_what_is_kept_of_a_tenant_elsewhere(settings):
    ours = (f"django_ciam_token.{name}" for name in TOGETHER)
    settings.DATABASE_ROUTERS = [Split(settings.AUTH_USER_MODEL, *ours)]
    assert check_settings(None) == []

    settings.DATABASE_ROUTERS = [Split("django_ciam_token.SecurityEvent")]
    assert check_settings(None) == []
