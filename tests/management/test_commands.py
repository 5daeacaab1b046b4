from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.db.models import QuerySet
from django.utils import timezone

from django_ciam_token.clients.secrets import secret_digest
from django_ciam_token.management.commands import duration
from django_ciam_token.models import Client, ClientSecret, RefreshToken, SigningKey
from tests.conftest import post_form
from tests.factories import ClientFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(capsys):
    """Run a command and return what it wrote."""

    def run(*arguments):
        output = StringIO()
        call_command(*arguments, stdout=output)
        return output.getvalue()

    return run


@pytest.fixture
def run_json(run):
    """Run a command with --json; what it wrote must be one JSON object and nothing else."""
    return lambda *arguments: json.loads(run(*arguments, "--json"))


def client_is_accepted(client_id, client_secret):
    form = {"grant_type": "refresh_token", "client_id": client_id, "refresh_token": "x"}
    response = post_form({**form, "client_secret": client_secret or ""})
    return response.json() == {"error": "invalid_grant"}


COMMANDS = [
    "create_client",
    "rotate_client_secret",
    "issue_tokens",
    "rotate_signing_key",
    "list_signing_keys",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_examples(command, capsys):
    with pytest.raises(SystemExit) as end:
        call_command(command, "--help")

    assert end.value.code == 0
    examples = capsys.readouterr().out.partition("Examples:\n")[2]
    assert f"  manage.py {command}" in examples


# --- create_client ---------------------------------------------------------------------------------


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


def test_create_client_wants_a_type_there_is(run):
    with pytest.raises(CommandError, match="invalid choice: 'desktop'"):
        run("create_client", "Portal", "--type", "desktop")


# --- rotate_client_secret --------------------------------------------------------------------------


def test_rotate_client_secret_lets_both_secrets_work_for_the_overlap(run_json, web_client):
    answer = run_json("rotate_client_secret", web_client.client_id, "--overlap", "12h")

    assert list(answer) == ["client_id", "client_secret", "replaced_secret_expires_at"]
    assert client_is_accepted(web_client.client_id, answer["client_secret"])
    assert client_is_accepted(web_client.client_id, web_client.plain_secret)
    replaced = ClientSecret.objects.order_by("pk").first()
    assert replaced.expires_at.isoformat() == answer["replaced_secret_expires_at"]
    assert abs(replaced.expires_at - timezone.now() - timedelta(hours=12)) < timedelta(minutes=1)


def test_rotate_client_secret_without_overlap_ends_the_old_one_now(run_json, web_client):
    answer = run_json("rotate_client_secret", web_client.client_id, "--overlap", "0")

    assert list(answer) == ["client_id", "client_secret"]
    assert client_is_accepted(web_client.client_id, answer["client_secret"])
    assert not client_is_accepted(web_client.client_id, web_client.plain_secret)


def test_rotate_client_secret_says_until_when_the_old_one_works(run, web_client):
    text = run("rotate_client_secret", web_client.client_id)

    assert "can't be shown again" in text
    assert f"The secret that ends with {web_client.plain_secret[-4:]} works until " in text
    again = run("rotate_client_secret", web_client.client_id, "--overlap", "0")
    assert "works until" not in again
    assert again.count("has ended now") == 2


def test_rotate_client_secret_does_not_lock_out_a_public_client_by_accident(run, run_json, spa_client):
    with pytest.raises(CommandError, match="--make-confidential"):
        run("rotate_client_secret", spa_client.client_id)
    assert client_is_accepted(spa_client.client_id, None)

    answer = run_json("rotate_client_secret", spa_client.client_id, "--make-confidential")

    assert client_is_accepted(spa_client.client_id, answer["client_secret"])
    assert not client_is_accepted(spa_client.client_id, None)
    run("rotate_client_secret", spa_client.client_id)


@pytest.mark.parametrize("client_id", ["nobody", "CLIENT", "client "])
def test_commands_name_a_client_that_is_not_there(run, client_id):
    ClientFactory(client_id="client")

    with pytest.raises(CommandError, match=r"There is no client .* create_client"):
        run("rotate_client_secret", client_id)


def test_a_new_secret_is_shown_even_if_the_old_one_can_not_be_read(run_json, web_client, monkeypatch):
    def refuse(*args, **kwargs):
        raise OperationalError("gone")

    monkeypatch.setattr(QuerySet, "values_list", refuse)

    answer = run_json("rotate_client_secret", web_client.client_id)

    assert secret_digest(answer["client_secret"]) == web_client.secrets.order_by("-pk")[0].secret_digest
    assert "replaced_secret_expires_at" not in answer


@pytest.mark.parametrize(
    ("command", "target", "text"),
    [
        (["rotate_client_secret", "client"], "django_ciam_token.clients.secrets._store_secret", "again now"),
        (
            ["rotate_signing_key", "--algorithm", "ES256"],
            "django_ciam_token.models.SigningKey.save",
            "there may be a new key",
        ),
    ],
)
def test_a_database_that_refuses_is_said_and_changes_nothing(run, monkeypatch, command, target, text):
    ClientFactory(client_id="client")

    def refuse(*args, **kwargs):
        raise OperationalError("gone")

    monkeypatch.setattr(target, refuse)

    with pytest.raises(CommandError, match=text):
        run(*command)

    assert ClientSecret.objects.get().expires_at is None
    assert SigningKey.objects.get().retired_at is None


# --- durations -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("0", timedelta(0)),
    ],
)
def test_durations_are_read(text, expected):
    assert duration(text) == expected


@pytest.mark.parametrize("text", ["7", "", "d", "-1d", "1.5h", "7 d", "7y", "999999w", "٣d"])
def test_other_durations_are_explained(run, web_client, text):
    with pytest.raises(CommandError, match="write 90s, 15m, 12h, 7d, 2w or 0"):
        run("rotate_client_secret", web_client.client_id, f"--overlap={text}")


# --- issue_tokens ----------------------------------------------------------------------------------


def test_issue_tokens_answers_as_the_token_endpoint(run_json, web_client, user, refresh):
    answer = run_json("issue_tokens", "--client", web_client.client_id, "--user", user.username)

    assert list(answer) == list(refresh(web_client, answer["refresh_token"]).json())
    assert RefreshToken.objects.get().user == user


def test_issue_tokens_for_a_machine_and_a_scope(run, machine):
    text = run("issue_tokens", "--client", machine.client_id, "--scope", "profile")

    assert [line.partition(":")[0] for line in text.splitlines()] == [
        "access_token",
        "refresh_token",
        "scope",
        "token_type",
        "expires_in",
    ]


def test_issue_tokens_says_what_is_wrong(run):
    client = ClientFactory(scope="openid")
    UserFactory(username="gone", is_active=False)

    for arguments, message in [
        (["--user", "nobody"], "There is no user 'nobody'."),
        ([], "invalid_request: this application signs users in; name the user"),
        (["--user", "gone"], "invalid_grant: user_disabled"),
        (["--user", "alice", "--scope", "email"], "invalid_scope: this application may be granted: openid"),
    ]:
        get_user_model().objects.get_or_create(username="alice")
        with pytest.raises(CommandError, match=message):
            run("issue_tokens", "--client", client.client_id, *arguments)


# --- keys ------------------------------------------------------------------------------------------


def test_rotate_signing_key_publishes_a_key_ahead(run_json):
    answer = run_json("rotate_signing_key", "--algorithm", "ES256")

    old, new = SigningKey.objects.order_by("pk")
    assert answer == {"kid": new.kid, "alg": "ES256", "active_at": new.active_at.isoformat()}
    assert old.retired_at == new.active_at > timezone.now() + timedelta(minutes=59)


def test_rotate_signing_key_says_from_when_on_it_signs(run):
    text = run("rotate_signing_key", "--algorithm", "EdDSA", "--now")

    new = SigningKey.objects.latest("pk")
    assert text == f"Made key {new.kid} (EdDSA). It signs from {new.active_at.isoformat()} on.\n"
    assert new.active_at <= timezone.now()


def test_rotate_signing_key_takes_compromised_keys_out_at_once(run):
    run("rotate_signing_key", "--algorithm", "ES256", "--compromised")

    old, new = SigningKey.objects.order_by("pk")
    assert old.removed_at == old.retired_at == new.active_at <= timezone.now()


def test_list_signing_keys_tells_the_life_of_each(run, run_json):
    run("rotate_signing_key", "--algorithm", "ES256")
    old, new = SigningKey.objects.order_by("pk")

    listed = run_json("list_signing_keys")

    assert listed == {
        "keys": [
            {
                "kid": new.kid,
                "alg": "ES256",
                "state": "published",
                "published_at": new.created_at.isoformat(),
                "active_at": new.active_at.isoformat(),
                "retired_at": None,
                "removed_at": None,
            },
            {
                "kid": old.kid,
                "alg": "RS256",
                "state": "active",
                "published_at": old.created_at.isoformat(),
                "active_at": old.active_at.isoformat(),
                "retired_at": old.retired_at.isoformat(),
                "removed_at": old.removed_at.isoformat(),
            },
        ]
    }
    text = run("list_signing_keys")
    assert f"{new.kid}  ES256  published\n" in text
    assert f"{old.kid}  RS256  active\n" in text


def test_list_signing_keys_says_when_none_is_active():
    SigningKey.objects.all().delete()
    errors = StringIO()

    call_command("list_signing_keys", stdout=StringIO(), stderr=errors)

    assert "rotate_signing_key --now" in errors.getvalue()
