"""``manage.py create_client``."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from django_ciam_token.clients.registration import create_client
from django_ciam_token.management.commands import TokenCommand, add_json_option, explain
from django_ciam_token.models import ApplicationType


class Command(TokenCommand):
    """Registers an application."""

    help = "Register an application. Its client_secret is shown now and never again."
    examples = (
        '  manage.py create_client "Customer portal" --type web\n'
        '  manage.py create_client "Mobile app" --type mobile --client-id mobile-app\n'
        '  manage.py create_client "Nightly export" --type m2m --scope "openid" --json'
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("name", help="The application's name, as people see it.")
        parser.add_argument(
            "--type",
            required=True,
            choices=ApplicationType.values,
            help="web and m2m run on a server and get a secret; spa and mobile do not.",
        )
        parser.add_argument("--client-id", help="The client_id; random by default.")
        parser.add_argument(
            "--scope", help='Scopes it may be granted, such as "openid profile"; "openid" by default.'
        )
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the client and show what its developer needs."""
        given = {"client_id": options["client_id"], "scope": options["scope"]}
        fields = {name: value for name, value in given.items() if value is not None}
        try:
            client, secret = create_client(name=options["name"], application_type=options["type"], **fields)
        except ValidationError as error:
            raise CommandError(explain(error)) from error
        members = {"client_id": client.client_id}
        if secret is not None:
            members["client_secret"] = secret
        if options["json"]:
            members |= {
                "client_name": client.name,
                "application_type": str(client.application_type),
                "scope": client.scope,
            }
            self.write_json(members)
            return
        for name, value in members.items():
            self.stdout.write(f"{name}: {value}")
        if secret is not None:
            self.stdout.write("Keep the client_secret now: it is not stored and can't be shown again.")
