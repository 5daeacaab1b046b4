"""What the commands share: help with examples, answers as JSON, durations on the command line."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from datetime import timedelta
from getpass import getuser
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_ciam_token.database.routing import write_database
from django_ciam_token.models import Client

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class TokenCommand(BaseCommand):
    """A command whose ``--help`` ends with examples."""

    examples: str = ""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Keep the line breaks of the examples."""
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        return super().create_parser(prog_name, subcommand, epilog=f"Examples:\n{self.examples}", **kwargs)

    def write_json(self, members: Mapping[str, Any]) -> None:
        """Write one JSON object and nothing else."""
        self.stdout.write(json.dumps(members))


def add_json_option(parser: CommandParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="Print one JSON object and nothing else.")


def duration(text: str) -> timedelta:
    """Read a duration such as 90s, 15m, 12h, 7d, 2w or 0.

    Raises:
        argparse.ArgumentTypeError: it is not one.
    """
    match = re.fullmatch(r"([0-9]{1,5})([smhdw]?)", text)
    if match is None or (not match[2] and int(match[1])):
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write 90s, 15m, 12h, 7d, 2w or 0")
    return timedelta(**{_UNITS[match[2] or "s"]: int(match[1])})


def find_client(client_id: str) -> Client:
    """Return a client by its client_id.

    Raises:
        CommandError: there is none.
    """
    # From where it will be written: a replica may not have heard of it.
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
        raise CommandError(f"There is no user {username!r}.") from None


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
