"""``manage.py update_client``."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from django_ciam_token.clients.changes import Changes, Value, edit_client
from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.management.client_options import (
    add_client_options,
    add_list_edits,
    edit_lists,
    edits_lists,
    fields_of,
)
from django_ciam_token.management.commands import (
    TokenCommand,
    add_json_option,
    explain,
    find_client,
    operator_name,
)
from django_ciam_token.models import Client


class Command(TokenCommand):
    """Changes an application."""

    help = (
        "Change an application, and print what changed. An option with several values replaces all of them; "
        "an empty one removes them. The client_id and the type can't be changed."
    )
    examples = (
        "  manage.py update_client portal --add-redirect-uri https://portal.example.com/callback\n"
        "  manage.py update_client portal --redirect-uri https://a.example/cb "
        "--redirect-uri https://b.example/cb\n"
        '  manage.py update_client portal --post-logout-redirect-uri ""   # none is left\n'
        "  manage.py update_client partner --no-ask-consent --require-pkce --dry-run\n"
        '  manage.py update_client portal --name "Portal" --scope "openid profile" --json\n'
        "  manage.py update_client portal --disable"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("client_id", metavar="CLIENT_ID")
        parser.add_argument("--name", help="The application's name, as people see it.")
        add_client_options(parser, negatable=True)
        add_list_edits(parser)
        switch = parser.add_mutually_exclusive_group()
        switch.add_argument(
            "--enable", action="store_const", const=True, dest="is_active", help="Let it get tokens again."
        )
        switch.add_argument(
            "--disable", action="store_const", const=False, dest="is_active", help="Let it get no tokens."
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Say what would change, but change nothing."
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Change the client and show what was changed."""
        fields = fields_of(options)
        fields |= {name: options[name] for name in ("name", "is_active") if options[name] is not None}
        if not fields and not edits_lists(options):
            raise CommandError("Say what to change; --help has examples.", returncode=2)
        client = find_client(options["client_id"])

        def edit(row: Client) -> None:
            for name, value in fields.items():
                setattr(row, name, value)
            edit_lists(row, options)

        try:
            changes = edit_client(client, edit, actor=operator_name(), dry_run=options["dry_run"])
        except ValidationError as error:
            raise CommandError(explain(error)) from error
        except Client.DoesNotExist:
            raise CommandError(f"There is no client {client.client_id!r} any more.") from None
        except TemporarilyUnavailable as error:
            raise CommandError(
                "The database refused. The change may have been made all the same: run it again."
            ) from error
        self._report(client, changes, options)

    def _report(self, client: Client, changes: Changes, options: dict[str, Any]) -> None:
        if options["json"]:
            members = {name: {"old": old, "new": new} for name, (old, new) in changes.items()}
            self.write_json(
                {"client_id": client.client_id, "changes": members, "dry_run": options["dry_run"]}
            )
            return
        for name, (old, new) in changes.items():
            self.stdout.write(f"{name}: {_written(old)} → {_written(new)}")
        if not changes:
            self.stdout.write("Nothing to change.")
        elif options["dry_run"]:
            self.stdout.write("Nothing was changed: this was a dry run.")


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        value = " ".join(value)
    return value or "-"
