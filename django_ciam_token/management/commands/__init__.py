"""What the commands share: help with examples, output as JSON, durations on the command line."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from getpass import getuser
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_ciam_token.concealed import Concealed
from django_ciam_token.database.retry import UNAVAILABLE
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.models import Client

WRONG_SECRETS: Final = (
    "This process has other secrets than the active signing key was encrypted with: was it started with the "
    "wrong SECRET_KEY? Nothing was changed."
)


class TokenCommand(BaseCommand):
    """A command whose ``--help`` ends with examples."""

    examples: str = ""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Keep the line breaks of the examples, and call the command in them as it was called."""
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        own_name = type(self).__module__.rpartition(".")[2]
        examples = self.examples.replace(f"manage.py {own_name}", f"manage.py {subcommand}")
        return super().create_parser(prog_name, subcommand, epilog=f"Examples:\n{examples}", **kwargs)

    def execute(self, *args: Any, **options: Any) -> Any:
        """Run the command; a database that refuses where the command does not expect it ends it cleanly."""
        for text in _texts(options.values()):
            _require_text(text)
        try:
            return super().execute(*args, **options)
        except (TemporarilyUnavailable, *UNAVAILABLE) as error:
            raise CommandError("The database refused. Try again.") from error

    def confirm(self, consequence: str) -> None:
        """Ask on standard error whether to go on: standard output is for the answer of the command.

        Raises:
            CommandError: the answer was not yes.
        """
        self.stderr.write(f"{consequence} Continue? Type yes: ", style_func=str, ending="")
        self.stderr.flush()
        if sys.stdin.readline().strip().lower() != "yes":
            raise CommandError("Nothing was changed. With --no-input the command does not ask.")

    def write_json(self, members: Mapping[str, Any]) -> None:
        """Write one JSON object and nothing else; what is concealed is revealed."""
        Concealed(json.dumps(members, default=Concealed.reveal)).lend(self.stdout.write)

    def write_lines(self, members: Mapping[str, Any]) -> None:
        """Write a line for each; what is concealed is revealed."""
        for name, value in members.items():
            shown = Concealed.reveal if isinstance(value, Concealed) else str
            Concealed(f"{name}: {shown(value)}").lend(self.stdout.write)


def _texts(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from _texts(value)


def _require_text(argument: str) -> None:
    """Refuse what no database can look for: bytes of another encoding, which Python takes for surrogates."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise CommandError(f"{argument!a} is not text in UTF-8.") from None
    if "\0" in argument:
        raise CommandError(f"{argument!a} contains a NUL.")


def add_json_option(parser: CommandParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="Print one JSON object and nothing else.")


def add_no_input_option(parser: CommandParser) -> None:
    """Add ``--no-input``."""
    parser.add_argument("--no-input", "--noinput", action="store_true", help="Do not ask for confirmation.")


def count(most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from 1 to a limit, for ``type=``."""

    def read(text: str) -> int:
        if not re.fullmatch("[0-9]{1,20}", text) or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {most}")
        return int(text)

    return read


def find_client(client_id: str) -> Client:
    """Return a client by its client_id.

    Raises:
        CommandError: there is none.
    """
    # From the database that it will be written to: a replica may not have it yet.
    client = Client.objects.using(write_database(Client)).filter(client_id=client_id).first()
    if client is None or client.client_id != client_id:
        raise CommandError(f"There is no client {client_id!r}. Create it with: manage.py create_client")
    return client


def find_user(username: str) -> Any:
    """Return a user by the name they sign in with.

    Raises:
        CommandError: there is none.
    """
    model = get_user_model()
    try:
        # As above.
        return model._default_manager.db_manager(write_database(model)).get_by_natural_key(username)
    except model.DoesNotExist:
        raise CommandError(
            f"There is no user {username!r} (looked for in {model.USERNAME_FIELD!r})."
        ) from None


def operator_name() -> str:
    """Name the account that runs the command, so that the audit trail says who it was."""
    try:
        return f"{getuser()} (manage.py)"
    except (KeyError, OSError):  # A container whose user has no name.
        return "manage.py"


def explain(error: ValidationError) -> str:
    """Write the messages of a ValidationError on one line."""
    return " ".join(
        f"{field}: {' '.join(messages)}" for field, messages in sorted(error.message_dict.items())
    )
