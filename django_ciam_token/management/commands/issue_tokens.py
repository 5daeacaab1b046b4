"""``manage.py issue_tokens``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_ciam_token.api import issue_tokens
from django_ciam_token.concealed import Concealed
from django_ciam_token.errors import OAuthError
from django_ciam_token.management.commands import TokenCommand, add_json_option, find_client, find_user


class Command(TokenCommand):
    """Issues first tokens from the command line."""

    help = "Begin a session: print the first tokens for a user of an application, or for a machine."
    examples = (
        "  manage.py issue_tokens --client customer-portal --user alice\n"
        '  manage.py issue_tokens --client customer-portal --user alice --scope "openid" --json\n'
        "  manage.py issue_tokens --client nightly-export"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("--client", required=True, metavar="CLIENT_ID")
        parser.add_argument("--user", metavar="USERNAME", help="Who signs in; omit it for an m2m client.")
        parser.add_argument(
            "--scope", help="Scope names separated by spaces; by default all that the client may have."
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Issue and print."""
        client = find_client(options["client"])
        user = None if options["user"] is None else find_user(options["user"])
        try:
            answer = _concealed(issue_tokens(client=client, user=user, scope=options["scope"]))
        except OAuthError as error:
            raise CommandError(f"{error.error}: {error.description or error.reason}") from error
        if options["json"]:
            self.write_json(answer)
            return
        self.write_lines(answer)


def _concealed(answer: Mapping[str, str | int]) -> dict[str, Concealed | int]:
    return {name: Concealed(value) if isinstance(value, str) else value for name, value in answer.items()}
