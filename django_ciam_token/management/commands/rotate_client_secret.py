"""``manage.py rotate_client_secret``."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import Error
from django.utils import timezone

from django_ciam_token.clients.secrets import replace_client_secret
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.management.commands import (
    TokenCommand,
    add_json_option,
    find_client,
    operator_name,
)
from django_ciam_token.management.instants import duration, iso, written
from django_ciam_token.models import Client


class Command(TokenCommand):
    """Replaces the secret of an application without downtime."""

    help = (
        "Give an application a new client_secret, which is shown now and never again. The current one keeps "
        "working for the overlap, so that both sides can be changed one after the other."
    )
    examples = (
        "  manage.py rotate_client_secret customer-portal\n"
        "  manage.py rotate_client_secret customer-portal --overlap 12h\n"
        "  manage.py rotate_client_secret customer-portal --overlap 0   # it was leaked: end it now"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("client_id", metavar="CLIENT_ID")
        parser.add_argument(
            "--overlap",
            type=duration,
            help="How long the current secret keeps working: 90s, 15m, 12h, 7d, 2w, or 0 to end it now. By "
            "default the setting CLIENT_SECRET_OVERLAP (7d).",
        )
        parser.add_argument(
            "--make-confidential",
            action="store_true",
            help="Give a single-page or mobile application its first secret. Installed copies that do not "
            "send it are refused from then on.",
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the secret and show it."""
        client = find_client(options["client_id"])
        is_public = not client.must_have_secret and not client.secrets.exists()
        if is_public and not options["make_confidential"]:
            raise CommandError(
                f"{client.client_id} is a public client and has no secret. With one, every installed copy "
                "that does not send it is refused. If you want that, add --make-confidential."
            )
        try:
            secret = replace_client_secret(client, overlap=options["overlap"], actor=operator_name())
        except TemporarilyUnavailable as error:
            raise CommandError(
                "The database refused. There may be a new secret nevertheless, which nobody has seen: rotate "
                "again now."
            ) from error
        members = {"client_id": client.client_id, "client_secret": secret}
        replaced, now = _replaced(client), timezone.now()
        if options["json"]:
            ends = [end for _, end in replaced if end > now]
            self.write_json({**members, **({"replaced_secret_expires_at": iso(max(ends))} if ends else {})})
            return
        self.write_lines(members)
        self.stdout.write("Keep the client_secret now: it is not stored and can't be shown again.")
        for last_four, end in replaced:
            what = f"works until {written(end)}" if end > now else "no longer works"
            self.stdout.write(f"The secret that ends with {last_four} {what}.")


def _replaced(client: Client) -> list[tuple[str, datetime]]:
    """Return the replaced secrets and when they end; if they can't be read, the new one is still shown."""
    using = write_database(Client)
    with suppress(Error):
        secrets = client.secrets.using(using).order_by("-pk").values_list("last_four", "expires_at")
        return [(last_four, end) for last_four, end in secrets if end is not None]
    return []
