"""``manage.py export_clients``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from django_ciam_token.clients.exporting import export_client
from django_ciam_token.database.retry import read_rows
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.management.commands import TokenCommand, find_client
from django_ciam_token.models import Client


class Command(TokenCommand):
    """Writes the clients in a form that other systems read."""

    help = (
        "Write all clients as JSON, each with the metadata of RFC 7591, so that they can move to another "
        "system. Secrets can't be exported, because they are not stored; their digests can (--with-digests)."
    )
    examples = (
        "  manage.py export_clients > clients.json\n"
        "  manage.py export_clients --client portal\n"
        "  manage.py export_clients --with-digests > keep-this-secret.json"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("--client", metavar="CLIENT_ID", help="Only this one.")
        parser.add_argument(
            "--with-digests",
            action="store_true",
            help="Also the digests of the live secrets: SHA-256 in hexadecimal after 'sha256$', or a "
            "password hash of Django.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Write one JSON object."""
        rows = Client.objects.using(write_database(Client)).order_by("pk").prefetch_related("secrets")
        if options["client"] is not None:
            rows = rows.filter(pk=find_client(options["client"]).pk)
        try:
            clients = read_rows(rows)
        except TemporarilyUnavailable as error:
            raise CommandError("The database refused. Try again.") from error
        now = timezone.now()
        exported = [export_client(client, now=now, digests=options["with_digests"]) for client in clients]
        self.write_json({"clients": exported})
