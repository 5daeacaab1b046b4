"""``manage.py create_client``."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from django_ciam_token.clients.registration import register_client
from django_ciam_token.management.client_options import add_client_options, fields_of
from django_ciam_token.management.commands import TokenCommand, add_json_option, explain, operator_name
from django_ciam_token.models import ApplicationType


class Command(TokenCommand):
    """Registers an application."""

    help = "Register an application. Its client_secret is shown now and never again."
    examples = (
        '  manage.py create_client "Customer portal" --type web \\\n'
        "      --redirect-uri https://portal.example.com/callback --require-pkce\n"
        '  manage.py create_client "Dashboard" --type spa --allowed-origin https://app.example.com \\\n'
        "      --redirect-uri https://app.example.com/callback \\\n"
        "      --post-logout-redirect-uri https://app.example.com/\n"
        '  manage.py create_client "Mobile app" --type mobile --client-id mobile-app \\\n'
        "      --redirect-uri com.example.app:/callback\n"
        '  manage.py create_client "Partner" --type web --ask-consent --scope "openid profile" \\\n'
        "      --redirect-uri https://partner.example/callback\n"
        '  manage.py create_client "Nightly export" --type m2m --scope "profile" --json'
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
        add_client_options(parser, negatable=False)
        add_json_option(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the client and show what its developer needs."""
        fields = {"client_id": options["client_id"], **fields_of(options)}
        try:
            client, secret = register_client(
                name=options["name"], application_type=options["type"], actor=operator_name(), **fields
            )
        except ValidationError as error:
            raise CommandError(explain(error)) from error
        members: dict[str, Any] = {"client_id": client.client_id}
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
        self.write_lines(members)
        if secret is not None:
            self.stdout.write("Keep the client_secret now: it is not stored and can't be shown again.")
