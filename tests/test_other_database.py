"""A site that keeps all tables in a database which is not the default, and has none that is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connections
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from django_ciam_token.api import (
    issue_tokens,
    list_consents,
    list_sessions,
    rotate_client_secret,
    rotate_signing_key,
    withdraw_consent,
)
from django_ciam_token.clients.secret_retirement import live_secrets, retire_client_secret
from django_ciam_token.crypto import jose
from django_ciam_token.keys.importing import import_signing_key
from django_ciam_token.models import Consent, RefreshToken, SecurityEvent, SigningKey
from django_ciam_token.purging import purge
from tests.authorization.conftest import CALLBACK, VERIFIER, answer_of, press, url
from tests.conftest import post_form
from tests.factories import ClientFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)


class Elsewhere:
    """Everything is in the database `main`."""

    def db_for_read(self, model, **hints):
        return "main"

    def db_for_write(self, model, **hints):
        return "main"


@pytest.fixture(autouse=True)
def no_default(settings, monkeypatch, as_in_production):
    """Call the database of the tests `main`. Whatever asks the default one fails."""
    settings.DATABASE_ROUTERS = [Elsewhere()]
    default = connections["default"]
    monkeypatch.setitem(connections.settings, "main", {**default.settings_dict})
    main = connections.create_connection("main")
    main.settings_dict = default.settings_dict
    connections["main"] = main
    nowhere = connections.create_connection("main")
    nowhere.alias = "default"
    nowhere.ensure_connection = refused
    if default.vendor == "mysql":
        # Django's models ask the default connection what the server can.
        nowhere.mysql_server_data = default.mysql_server_data
    connections["default"] = nowhere
    yield
    main.close()
    del connections["main"]
    connections["default"] = default


def refused():
    raise AssertionError("a statement for the default database, which this site does not have")


@pytest.fixture
def client():
    return ClientFactory(redirect_uris=CALLBACK, asks_consent=True, may_use_client_credentials=False)


def token_request(client, **form):
    credentials = {"client_id": client.client_id, "client_secret": client.plain_secret}
    return post_form({**credentials, **form})


def test_a_person_signs_in_and_stays_signed_in(client, user):
    browser = Browser()
    browser.force_login(user)
    page = browser.get(url(client, scope="openid"))
    code = answer_of(press(browser, page, "allow"))["code"]

    exchanged = token_request(
        client, grant_type="authorization_code", code=code, redirect_uri=CALLBACK, code_verifier=VERIFIER
    ).json()
    refreshed = token_request(client, grant_type="refresh_token", refresh_token=exchanged["refresh_token"])
    access_token = refreshed.json()["access_token"]

    assert Browser().get("/userinfo", HTTP_AUTHORIZATION=f"Bearer {access_token}").status_code == 200
    again = token_request(client, grant_type="refresh_token", refresh_token=exchanged["refresh_token"])
    assert again.json()["refresh_token"] == refreshed.json()["refresh_token"]
    assert [consent.client for consent in list_consents(user=user)] == [client]
    assert withdraw_consent(user=user, client=client) is True
    assert list_sessions() == []
    assert not Consent.objects.exists()
    assert {event.event for event in SecurityEvent.objects.all()} >= {
        "issued",
        "revoked",
        "consent_withdrawn",
    }


def test_a_user_who_is_deleted_and_a_password_that_is_changed_end_sessions(client, user):
    first = issue_tokens(client=client, user=user)["refresh_token"]
    user.set_password("another one")
    user.save()
    assert token_request(client, grant_type="refresh_token", refresh_token=first).status_code == 400

    user.delete()

    assert not RefreshToken.objects.exists()


def test_an_operator_looks_after_it(client, user):
    issue_tokens(client=client, user=user)
    rotate_client_secret(client, overlap=timedelta(days=1))
    assert retire_client_secret(client, live_secrets(client)[1].pk) is not None
    rotate_signing_key()
    assert import_signing_key(jose.generate_private_key("ES256"))[1]
    for command in (
        ["list_tokens"],
        ["list_clients"],
        ["rotate_signing_key", "--now", "--no-input"],
        ["revoke_tokens", "--client", client.client_id, "--no-input"],
        ["create_client", "Machine", "--type", "m2m", "--client-credentials"],
        ["purge_tokens"],
        ["check_health"],
    ):
        call_command(*command)
    purge(now=timezone.now() + timedelta(days=400))
    assert SigningKey.objects.exists()

    browser = Browser()
    browser.force_login(UserFactory(is_staff=True, is_superuser=True))
    pages = ["refreshtoken", "securityevent", "client", "signingkey", "consent"]
    for name in pages:
        assert browser.get(reverse(f"admin:django_ciam_token_{name}_changelist")).status_code == 200
    assert browser.get(reverse("admin:app_list", args=["django_ciam_token"])).status_code == 200
