"""``manage.py list_clients``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from django_ciam_token.database.retry import read_rows
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.management.client_options import FLAGS, LISTS
from django_ciam_token.management.commands import TokenCommand, add_json_option
from django_ciam_token.management.instants import iso
from django_ciam_token.management.tables import table
from django_ciam_token.models import ApplicationType, Client

_COLUMNS: Final = ("client_id", "name", "type", "active", "scope")


class Command(TokenCommand):
    """Lists the applications."""

    help = "List the applications and what each may do. Shows no secret."
    examples = "  manage.py list_clients\n  manage.py list_clients --type spa --json"

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("--type", choices=ApplicationType.values, help="Only those of this type.")
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the clients, by name."""
        rows = Client.objects.using(write_database(Client))
        if options["type"] is not None:
            rows = rows.filter(application_type=options["type"])
        try:
            clients = read_rows(rows)
        except TemporarilyUnavailable as error:
            raise CommandError("The database refused. Try again.") from error
        if options["json"]:
            self.write_json({"clients": [_members(client) for client in clients]})
        elif clients:
            first, *lines = table([_COLUMNS, *map(_cells, clients)])
            self.stdout.write(first)
            for client, line in zip(clients, lines, strict=True):
                self.stdout.write("\n".join([line, *_details(client)]))
        else:
            self.stdout.write("No clients.")


def _cells(client: Client) -> tuple[str, ...]:
    is_active = "yes" if client.is_active else "no"
    return (client.client_id, client.name, client.application_type, is_active, client.scope)


def _details(client: Client) -> Iterator[str]:
    """Return a line for each address, and for each switch that is not as usual."""
    for name, (option, _metavar, _text) in LISTS.items():
        for value in getattr(client, name).split():
            yield f"    {option.replace('-', ' ')}: {value}"
    for name, (option, _text) in FLAGS.items():
        if getattr(client, name):
            yield f"    {option.removeprefix('--').replace('-', ' ')}: yes"
    if client.may_introspect:
        yield "    introspect all tokens: yes"
    if not client.refresh_tokens_enabled:
        yield "    refresh tokens: no"


def _members(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.client_id,
        "client_name": client.name,
        "application_type": client.application_type,
        "active": client.is_active,
        "scope": client.scope,
        "audience": client.token_audience,
        **{name: getattr(client, name).split() for name in LISTS},
        "ask_consent": client.asks_consent,
        "require_pkce": client.must_use_pkce,
        "client_credentials": client.grants_client_credentials,
        "refresh_client_credentials": client.refreshes_client_credentials,
        "refresh_tokens": client.refresh_tokens_enabled,
        "may_introspect": client.may_introspect,
        "created_at": iso(client.created_at),
    }
