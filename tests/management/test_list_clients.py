from __future__ import annotations

import pytest
from django.core.management import CommandError

from tests.factories import ClientFactory

pytestmark = pytest.mark.django_db


def test_list_clients_shows_what_each_may_do_and_no_secret(run, traces):
    ClientFactory(client_id="portal", name="Portal", redirect_uris="https://a.example/ https://b.example/")
    ClientFactory(client_id="app", name="App", application_type="spa", is_active=False)

    text = run("list_clients")

    assert text.splitlines() == [
        "client_id  name    type  active  scope",
        "app        App     spa   no      openid profile email",
        "portal     Portal  web   yes     openid profile email",
        "    redirect uri: https://a.example/",
        "    redirect uri: https://b.example/",
    ]


def test_list_clients_shows_which_switches_are_not_as_usual(run):
    ClientFactory(
        client_id="partner",
        name="Partner",
        asks_consent=True,
        requires_pkce=True,
        may_use_client_credentials=True,
        refreshes_client_credentials=True,
        may_introspect=True,
        refresh_tokens_enabled=False,
    )

    assert run("list_clients").splitlines()[2:] == [
        "    ask consent: yes",
        "    require pkce: yes",
        "    client credentials: yes",
        "    refresh client credentials: yes",
        "    introspect all tokens: yes",
        "    refresh tokens: no",
    ]


def test_list_clients_as_json(run_json):
    client = ClientFactory(
        client_id="portal", name="Portal", redirect_uris="https://a.example/", requires_pkce=True
    )
    ClientFactory(client_id="app", name="App", application_type="spa")

    answer = run_json("list_clients", "--type", "web")

    [members] = answer["clients"]
    assert members.pop("created_at").endswith("+00:00")
    assert members == {
        "client_id": "portal",
        "client_name": "Portal",
        "application_type": "web",
        "active": True,
        "scope": "openid profile email",
        "audience": "portal",
        "redirect_uris": ["https://a.example/"],
        "post_logout_redirect_uris": [],
        "allowed_origins": [],
        "ask_consent": False,
        "require_pkce": True,
        "client_credentials": False,
        "refresh_client_credentials": False,
        "refresh_tokens": True,
        "may_introspect": False,
    }
    assert client.plain_secret not in str(answer)


def test_list_clients_when_there_are_none_or_the_database_refuses(run, refusing):
    assert run("list_clients") == "No clients.\n"

    refusing("_fetch_all")
    with pytest.raises(CommandError, match="The database refused"):
        run("list_clients")
