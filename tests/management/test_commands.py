from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.db.models import QuerySet

from django_ciam_token.api import issue_tokens
from django_ciam_token.management import commands
from django_ciam_token.management.instants import duration
from django_ciam_token.models import ClientSecret, SecurityEvent, SigningKey
from tests.factories import ClientFactory

pytestmark = pytest.mark.django_db

COMMANDS = [
    "create_client",
    "rotate_client_secret",
    "issue_tokens",
    "rotate_signing_key",
    "list_signing_keys",
    "revoke_tokens",
    "purge_tokens",
    "list_tokens",
    "list_sessions",
    "revoke_sessions",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_examples(command, capsys):
    with pytest.raises(SystemExit) as end:
        call_command(command, "--help")

    assert end.value.code == 0
    examples = capsys.readouterr().out.partition("Examples:\n")[2]
    assert f"  manage.py {command}" in examples


@pytest.mark.parametrize("client_id", ["nobody", "CLIENT", "client "])
def test_commands_say_which_client_does_not_exist(run, client_id):
    ClientFactory(client_id="client")

    with pytest.raises(CommandError, match=r"There is no client .* create_client"):
        run("rotate_client_secret", client_id)


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
def test_if_the_database_refuses_the_command_says_so_and_changes_nothing(
    run, monkeypatch, command, target, text
):
    ClientFactory(client_id="client")

    def refuse(*args, **kwargs):
        raise OperationalError("gone")

    monkeypatch.setattr(target, refuse)

    with pytest.raises(CommandError, match=text):
        run(*command)

    assert ClientSecret.objects.get().expires_at is None
    assert SigningKey.objects.get().retired_at is None


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
def test_a_wrong_duration_is_explained(run, web_client, text):
    with pytest.raises(CommandError, match="write 90s, 15m, 12h, 7d, 2w or 0"):
        run("rotate_client_secret", web_client.client_id, f"--overlap={text}")


@pytest.mark.django_db(transaction=True)
def test_the_command_is_named_as_actor_if_the_account_has_no_name(run, web_client, user, monkeypatch):

    def fail():
        raise KeyError("getpwuid(): uid not found")

    for getuser, actor in ((lambda: "root", "root (manage.py)"), (fail, "manage.py")):
        monkeypatch.setattr(commands, "getuser", getuser)
        issue_tokens(client=web_client, user=user)
        run("revoke_tokens", "--user", user.username, "--no-input")
        assert SecurityEvent.objects.filter(event="revoked").latest("pk").actor == actor


@pytest.mark.parametrize(
    "arguments",
    [
        ("erase_user", "42"),
        ("list_tokens", "--user", "alice"),
        ("list_tokens", "--client", "app"),
        ("issue_tokens", "--client", "app"),
        ("revoke_tokens", "--user", "alice"),
        ("rotate_client_secret", "app"),
        ("list_signing_keys",),
    ],
    ids=" ".join,
)
def test_a_database_that_refuses_ends_a_command_with_a_sentence(run, monkeypatch, arguments):
    def refuse(*args, **kwargs):
        raise OperationalError("could not connect to 10.0.0.1")

    monkeypatch.setattr(QuerySet, "_fetch_all", refuse)

    with pytest.raises(CommandError) as caught:
        run(*arguments)

    assert "database refused" in str(caught.value)
    assert "10.0.0.1" not in str(caught.value)


@pytest.mark.parametrize("argument", ["M\udcfcller", "a\0b"])
@pytest.mark.parametrize(
    "command", [("list_tokens", "--user"), ("create_client", "--type=web"), ("erase_user",)]
)
def test_an_argument_that_is_no_text_is_named(run, command, argument):
    """A terminal that is not in UTF-8 sends bytes that Python takes for surrogates."""
    with pytest.raises(CommandError, match=r"^'(M\\udcfcller|a\\x00b)' "):
        run(*command, argument)
