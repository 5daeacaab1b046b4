from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError

from django_ciam_token.models import Client
from tests.factories import ClientFactory
from tests.management.conftest import client_is_accepted

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("application_type", ["web", "m2m"])
def test_create_client_prints_a_secret_that_works(run_json, application_type):
    answer = run_json("create_client", "Portal", "--type", application_type)

    assert list(answer) == ["client_id", "client_secret", "client_name", "application_type", "scope"]
    assert (answer["client_name"], answer["application_type"]) == ("Portal", application_type)
    assert answer["scope"] == "openid"
    assert client_is_accepted(answer["client_id"], answer["client_secret"])


@pytest.mark.parametrize("application_type", ["spa", "mobile"])
def test_create_client_gives_a_public_client_no_secret(run_json, application_type):
    answer = run_json(
        "create_client", "App", "--type", application_type, "--client-id", "app", "--scope", "openid profile"
    )

    assert "client_secret" not in answer
    assert (answer["client_id"], answer["scope"]) == ("app", "openid profile")
    assert client_is_accepted("app", None)


def test_create_client_says_that_the_secret_is_shown_once(run):
    text = run("create_client", "Portal", "--type", "web", "--client-id", "portal")

    lines = text.splitlines()
    assert lines[0] == "client_id: portal"
    assert lines[1].startswith("client_secret: ciam_cs_")
    assert "can't be shown again" in lines[2]
    assert run("create_client", "App", "--type", "spa", "--client-id", "app") == "client_id: app\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--client-id", "a b"], "client_id: Use only letters"),
        (["--client-id", ""], "client_id: This field cannot be blank"),
        (["--client-id", "taken"], "client_id: Client with this Client_id already exists"),
        (
            ["--scope", "openid admin"],
            "scope: Unknown scope admin. This site defines: openid, profile, email.",
        ),
        (["--scope", "openid  profile"], "scope: Enter scope names separated by single spaces."),
    ],
)
def test_create_client_says_what_is_wrong(run, arguments, message):
    ClientFactory(client_id="taken")

    with pytest.raises(CommandError, match="^" + message):
        run("create_client", "Portal", "--type", "web", *arguments)

    assert Client.objects.count() == 1


def test_create_client_refuses_an_unknown_type(run):
    with pytest.raises(CommandError, match="invalid choice: 'desktop'"):
        run("create_client", "Portal", "--type", "desktop")


def test_create_client_registers_what_it_needs_to_sign_people_in(run_json):
    answer = run_json(
        *("create_client", "Portal", "--type", "web", "--audience", "https://api.example.com"),
        *("--redirect-uri", "https://a.example/", "--redirect-uri", "https://b.example/"),
        *("--post-logout-redirect-uri", "https://a.example/bye", "--allowed-origin", "https://a.example"),
        *("--ask-consent", "--require-pkce", "--client-credentials", "--refresh-client-credentials"),
    )

    client = Client.objects.get(client_id=answer["client_id"])
    assert client.redirect_uris.split() == ["https://a.example/", "https://b.example/"]
    assert client.post_logout_redirect_uris == "https://a.example/bye"
    assert (client.allowed_origins, client.audience) == ("https://a.example", "https://api.example.com")
    assert client.asks_consent
    assert client.requires_pkce
    assert client.may_use_client_credentials
    assert client.refreshes_client_credentials


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["spa", "--redirect-uri", "com.example.app:/", "--redirect-uri", "http://a.example/"],
            "redirect_uris: http://a.example/ must begin with https://; .* com.example.app:/ is for mobile",
        ),
        (
            ["m2m", "--redirect-uri", "https://a.example/"],
            "redirect_uris: A machine-to-machine .* to.$",
        ),
        (["spa", "--client-credentials"], "may_use_client_credentials: Only web and machine"),
        (["mobile", "--refresh-client-credentials"], "refreshes_client_credentials: Only web and machine"),
        (
            ["spa", "--allowed-origin", "https://a.example/"],
            "allowed_origins: https://a.example/ is not",
        ),
    ],
)
def test_create_client_refuses_what_the_type_must_not_have(run, arguments, message):
    with pytest.raises(CommandError, match="^" + message):
        run("create_client", "App", "--type", *arguments)

    assert not Client.objects.exists()


def test_create_client_gives_the_lifetimes_of_the_type(run_json):
    run_json("create_client", "Export", "--type", "m2m")

    assert Client.objects.get().session_lifetime == timedelta(days=365)
