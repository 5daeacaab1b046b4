from __future__ import annotations

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
