"""``manage.py demo``: a single-page application to sign in with, on an origin of its own."""

from __future__ import annotations

import argparse
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_ciam_token.api import create_client, update_client
from django_ciam_token.models import Client
from portal.demo.serving import serving, single_page_application, site
from portal.demo.walk import SCOPE, Surprise, walk

USERNAME = "demo"
CLIENT_ID = "demo-app"


class Command(BaseCommand):
    """Serves the site and a single-page application, and shows or checks how people sign in."""

    help = (
        "Migrate, create an application and a user, serve the site and a single-page application on another "
        "origin, and print where to sign in. Ctrl-C stops it."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """End the help with examples."""
        examples = (
            "Examples:\n  manage.py demo\n  manage.py demo --port 9000\n  manage.py demo --new-password\n"
            "  manage.py demo --check"
        )
        kwargs["formatter_class"] = argparse.RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, epilog=examples, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument(
            "--port",
            type=int,
            help="The port of the site; the application gets the next. 8000, or with --check any two.",
        )
        parser.add_argument(
            "--new-password", action="store_true", help=f"Give the user {USERNAME} a new password."
        )
        parser.add_argument(
            "--check",
            action="store_true",
            help="Do over HTTP what people do in the browser, and exit, non-zero if something failed.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve, and either wait for people or walk through it."""
        port = options["port"]
        if port is None:
            port = 0 if options["check"] else 8000
        call_command("migrate", verbosity=0)
        with (
            serving(port) as (site_server, address),
            serving(port + 1 if port else 0) as (application_server, origin),
        ):
            if "CIAM_ISSUER" not in os.environ:
                settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ISSUER": address}
            with self._client(origin, is_temporary=options["check"]) as client:
                issuer = settings.CIAM_TOKEN["ISSUER"]
                application = single_page_application(issuer=issuer, client_id=client.client_id)
                application_server.set_app(application)
                site_server.set_app(site())
                if options["check"]:
                    self._check(origin)
                else:
                    self._invite(origin, address, is_new_wanted=options["new_password"])

    def _check(self, origin: str) -> None:
        """Walk, as a user who exists for that long."""
        username, password = f"demo-check-{secrets.token_hex(4)}", secrets.token_urlsafe(9)
        user = get_user_model().objects.create_user(username=username, password=password)
        try:
            walk(origin, username, password, lambda done: self.stdout.write(f"- {done}"))
        except Surprise as surprise:
            raise CommandError(f"Unexpected: {surprise}.") from surprise
        finally:
            user.delete()
        self.stdout.write(self.style.SUCCESS("Everything happened as it should"))

    def _invite(self, origin: str, address: str, *, is_new_wanted: bool) -> None:
        password = self._password(is_new_wanted=is_new_wanted)
        self.stdout.write(self.style.MIGRATE_HEADING("\nSign in with a single-page application:\n"))
        self.stdout.write(f"    {origin}/\n\n    user      {USERNAME}")
        if password is not None:
            self.stdout.write(f"    password  {password}")
        else:
            self.stdout.write("    password  that of the first demo; for a new one: demo --new-password")
        self.stdout.write(f"\nThe admin, with the sessions: {address}/admin/")
        self.stdout.write(f"Where everything is:          {address}/.well-known/openid-configuration")
        self.stdout.write("\nCtrl-C stops both servers.")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            self.stdout.write("\nStopped.")

    def _password(self, *, is_new_wanted: bool) -> str | None:
        """Return the password of the user; None if there was one before, which is not touched."""
        user, is_new = get_user_model().objects.get_or_create(
            username=USERNAME,
            defaults={"is_staff": True, "is_superuser": True, "email": "demo@example.com"},
        )
        if not is_new and not is_new_wanted:
            return None
        password = secrets.token_urlsafe(9)
        user.set_password(password)
        user.save()
        return password

    @contextmanager
    def _client(self, origin: str, *, is_temporary: bool) -> Iterator[Client]:
        """Register the application at its origin, next to the origins of other demos on this database."""
        client = None if is_temporary else Client.objects.filter(client_id=CLIENT_ID).first()
        if client is not None:
            update_client(
                client,
                redirect_uris=with_entry(client.redirect_uris, f"{origin}/"),
                post_logout_redirect_uris=with_entry(client.post_logout_redirect_uris, f"{origin}/"),
                allowed_origins=with_entry(client.allowed_origins, origin),
            )
        else:
            client, _ = create_client(
                name="Demo application",
                application_type="spa",
                client_id=f"{CLIENT_ID}-check-{secrets.token_hex(4)}" if is_temporary else CLIENT_ID,
                scope=SCOPE,
                redirect_uris=f"{origin}/",
                post_logout_redirect_uris=f"{origin}/",
                allowed_origins=origin,
            )
        try:
            yield client
        finally:
            if is_temporary:
                client.delete()


def with_entry(entries: str, entry: str) -> str:
    """Add an entry to a list that is separated by white space, unless it is there."""
    return "\n".join(dict.fromkeys([*entries.split(), entry]))
