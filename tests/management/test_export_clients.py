from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError
from django.utils import timezone

from django_ciam_token.clients.secrets import secret_digest
from tests.factories import ClientFactory

pytestmark = pytest.mark.django_db


def export(run, *arguments):
    return json.loads(run("export_clients", *arguments))["clients"]


def test_clients_are_exported_with_the_metadata_of_rfc_7591(run):
    portal = ClientFactory(
        client_id="portal",
        scope="openid profile",
        redirect_uris="https://a.example.com/cb\nhttps://b.example.com/cb",
        allowed_origins="https://a.example.com",
    )
    ClientFactory(client_id="app", application_type="mobile", refresh_tokens_enabled=False)
    ClientFactory(client_id="export", application_type="m2m")

    web, mobile, machine = export(run)

    assert web == {
        "client_id": "portal",
        "client_id_issued_at": int(portal.created_at.timestamp()),
        "client_name": "Portal",
        "application_type": "web",
        "scope": "openid profile",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "redirect_uris": ["https://a.example.com/cb", "https://b.example.com/cb"],
        "post_logout_redirect_uris": [],
        "token_endpoint_auth_method": "client_secret_basic",
        "type": "web",
        "is_active": True,
        "allowed_origins": ["https://a.example.com"],
        "audience": "",
        "asks_consent": False,
        "requires_pkce": False,
        "may_introspect": False,
    }
    assert (mobile["application_type"], mobile["token_endpoint_auth_method"]) == ("native", "none")
    assert (mobile["grant_types"], mobile["requires_pkce"]) == ([], True)
    assert "client_credentials" in machine["grant_types"]


def test_digests_only_if_asked(run):
    client = ClientFactory(client_id="portal")
    ended = client.secrets.get()
    ended.pk, ended.expires_at = None, timezone.now() - timedelta(days=1)
    ended.save()
    ClientFactory()

    [exported] = export(run, "--client", "portal", "--with-digests")

    assert exported["secret_digests"] == [secret_digest(client.plain_secret)]
    assert client.plain_secret not in json.dumps(exported)
    assert "secret_digests" not in export(run)[0]


def test_an_unknown_client_is_reported(run):
    with pytest.raises(CommandError, match="There is no client"):
        export(run, "--client", "nobody")


@pytest.mark.django_db(transaction=True)
def test_a_refusing_database_is_reported(run, refusing):
    refusing("_fetch_all")

    with pytest.raises(CommandError, match="The database refused"):
        export(run)
