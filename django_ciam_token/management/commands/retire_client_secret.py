"""``manage.py retire_client_secret``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from django_ciam_token.clients.secret_retirement import (
    OnlySecret,
    ending_secret,
    live_secrets,
    retire_client_secret,
)
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.management.commands import (
    TokenCommand,
    add_json_option,
    add_no_input_option,
    find_client,
    operator_name,
)
from django_ciam_token.management.instants import iso, written
from django_ciam_token.models import Client, ClientSecret


class Command(TokenCommand):
    """Ends one of the two secrets of an application."""

    help = (
        "End one of the two live secrets of an application now: requests that send it are refused from then "
        "on. Without --ends-with it lists them and changes nothing. The only secret of an application can't "
        "be retired; rotate it, or disable the application."
    )
    examples = (
        "  manage.py retire_client_secret customer-portal\n"
        "  manage.py retire_client_secret customer-portal --ends-with=Xq3w\n"
        "  manage.py retire_client_secret customer-portal --ends-with=Xq3w --no-input --json"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("client_id", metavar="CLIENT_ID")
        parser.add_argument(
            "--ends-with",
            metavar="XXXX",
            help="The last four characters of the secret. Use the equals sign: the first of them may be "
            "a dash.",
        )
        add_no_input_option(parser)
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """List the live secrets, or end one."""
        client = find_client(options["client_id"])
        live = live_secrets(client)
        if options["ends_with"] is None:
            self._list(live, as_json=options["json"])
            return
        chosen = [secret for secret in live if secret.last_four == options["ends_with"]]
        if len(chosen) != 1:
            number = "no live secret that ends" if not chosen else "several live secrets that end"
            raise CommandError(f"{client.client_id} has {number} with {options['ends_with']!r}.")
        if len(live) > 1 and not options["no_input"]:
            self.confirm(f"Requests with the secret {_described(chosen[0])} are refused from now on.")
        try:
            retired = retire_client_secret(client, chosen[0].pk, actor=operator_name())
        except OnlySecret:
            raise CommandError(
                "That is the only live secret. Replace it with rotate_client_secret --overlap 0, or disable "
                "the client."
            ) from None
        except TemporarilyUnavailable as error:
            raise CommandError("The database refused; the secret may have ended. Look again.") from error
        if retired is None:
            raise CommandError("Somebody else has ended that secret just now.")
        if options["json"]:
            self.write_json({"client_id": client.client_id, "retired": retired.last_four})
        else:
            self.stdout.write(f"The secret that ends with {retired.last_four} no longer works.")
        self._warn_of_the_end(client)

    def _warn_of_the_end(self, client: Client) -> None:
        left = ending_secret(client)
        if left is not None and left.expires_at is not None:
            self.stderr.write(
                f"The remaining secret …{left.last_four} ends on {written(left.expires_at)}. Make a new one "
                f"before that: manage.py rotate_client_secret {client.client_id}"
            )

    def _list(self, live: list[ClientSecret], *, as_json: bool) -> None:
        if as_json:
            self.write_json({"secrets": [_members(secret) for secret in live]})
            return
        for secret in live:
            end = "" if secret.expires_at is None else f", works until {written(secret.expires_at)}"
            self.stdout.write(f"{_described(secret)}{end}")
        if not live:
            self.stdout.write("It has no live secret.")


def _described(secret: ClientSecret) -> str:
    used = "never used" if secret.last_used_at is None else f"last used {written(secret.last_used_at)}"
    return f"…{secret.last_four} (created {written(secret.created_at)}, {used})"


def _members(secret: ClientSecret) -> dict[str, str | None]:
    return {
        "ends_with": secret.last_four,
        "created_at": iso(secret.created_at),
        "last_used_at": iso(secret.last_used_at),
        "expires_at": iso(secret.expires_at),
    }
