"""``manage.py demo``: shows the token service over real HTTP."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import jwt
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application

from django_ciam_token.api import create_client, issue_tokens, rotate_client_secret
from django_ciam_token.models import Client

NAME = "demo"


class QuietHandler(WSGIRequestHandler):
    """Serves without a log line per request: the command prints what matters."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Print nothing."""


class Command(BaseCommand):
    """Refreshes, replays and reuses a token, and shows what happens."""

    help = (
        "Migrate, create an application, a user and first tokens, start a server, refresh over HTTP, show "
        "what a replay and a reuse do, and keep serving until interrupted."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """End the help with examples."""
        examples = "Examples:\n  manage.py demo\n  manage.py demo --port 9000\n  manage.py demo --check"
        kwargs["formatter_class"] = argparse.RawDescriptionHelpFormatter
        return super().create_parser(prog_name, subcommand, epilog=examples, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options."""
        parser.add_argument("--port", type=int, help="The port; default 8000, with --check any free port.")
        parser.add_argument(
            "--check", action="store_true", help="Exit after the demonstration, non-zero if something failed."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the demonstration."""
        port = options["port"] if options["port"] is not None else 0 if options["check"] else 8000
        call_command("migrate", verbosity=0)
        user, password = self._user()
        client, client_secret = self._client()
        with serving(port) as address:
            if "CIAM_ISSUER" not in os.environ:
                settings.CIAM_TOKEN = {**settings.CIAM_TOKEN, "ISSUER": address}
            application = Application(address, client.client_id, client_secret)
            self._demonstrate(application, issue_tokens(client=client, user=user))
            if options["check"]:
                self._title("Everything happened as it should")
                return
            fresh = str(issue_tokens(client=client, user=user)["refresh_token"])
            self._show_curl(application, fresh, password)
            self._wait()

    def _demonstrate(self, application: Application, first: dict[str, Any]) -> None:
        self._title("1. The application got its first tokens; later it refreshes them")
        request, status, body = application.refresh(first["refresh_token"])
        self.stdout.write(f"POST {application.address}/oauth2/token")
        self.stdout.write("Content-Type: application/x-www-form-urlencoded\n")
        self.stdout.write("\n&".join(request.split("&")))
        self.stdout.write(f"\nHTTP {status}\n{json.dumps(body, indent=2)}")
        expect(status == 200, "the refresh was refused")
        expect(body["refresh_token"] != first["refresh_token"], "the refresh token was not rotated")

        self._title("2. Anyone verifies the JWTs with the published keys")
        for name in ("access_token", "id_token"):
            header, claims = application.verify(body[name])
            self.stdout.write(f"{name} {json.dumps(header)}\n{json.dumps(claims, indent=2)}")

        self._title("3. Was the answer lost? The same request gives the same refresh token again")
        _, status, again = application.refresh(first["refresh_token"])
        self.stdout.write(f"HTTP {status}, refresh_token {'is the same' if status == 200 else again}")
        expect(again.get("refresh_token") == body["refresh_token"], "the replay gave another token")

        self._title("4. Once the successor was used, the old token counts as stolen: its session ends")
        _, status, latest = application.refresh(body["refresh_token"])
        expect(status == 200, "the successor was refused")
        for what, token in (("the old", first["refresh_token"]), ("the newest", latest["refresh_token"])):
            _, status, answer = application.refresh(token)
            self.stdout.write(f"{what} token: HTTP {status} {json.dumps(answer)}")
            expect((status, answer) == (400, {"error": "invalid_grant"}), f"{what} token was not refused")

    def _show_curl(self, application: Application, refresh_token: str, password: str) -> None:
        self._title("Your turn: the server is running; stop it with Ctrl-C")
        form = application.form(refresh_token)
        data = " ".join(f"-d {name}={value}" for name, value in form.items())
        self.stdout.write(f"curl -i {application.address}/oauth2/token {data}\n")
        self.stdout.write(f"curl -s {application.address}/oauth2/jwks\n")
        login = f"-d client_id={NAME} -d username={NAME} -d password={password}"
        self.stdout.write(f"curl -s {application.address}/login {login}\n")
        self.stdout.write(f"{application.address}/admin/ (user {NAME}, password {password})")

    def _wait(self) -> None:
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            self.stdout.write("\nStopped.")

    def _title(self, text: str) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(f"\n{text}\n"))

    def _user(self) -> tuple[Any, str]:
        password = secrets.token_urlsafe(9)
        user, _ = get_user_model().objects.get_or_create(
            username=NAME, defaults={"is_staff": True, "is_superuser": True}
        )
        user.set_password(password)
        user.save()
        return user, password

    def _client(self) -> tuple[Client, str]:
        client = Client.objects.filter(client_id=NAME).first()
        if client is not None:
            return client, rotate_client_secret(client)
        client, secret = create_client(name="Demo", application_type="web", client_id=NAME)
        return client, str(secret)


class Application:
    """The application: it knows the address, its client_id and its secret."""

    def __init__(self, address: str, client_id: str, client_secret: str) -> None:
        self.address = address
        self.client_id = client_id
        self.client_secret = client_secret

    def form(self, refresh_token: str) -> dict[str, str]:
        """Return the parameters of a refresh."""
        return {
            "grant_type": "refresh_token",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "refresh_token": refresh_token,
        }

    def refresh(self, refresh_token: str) -> tuple[str, int, dict[str, Any]]:
        """Send a refresh; return the form sent, the status and the answer."""
        form = urlencode(self.form(refresh_token))
        request = urllib.request.Request(f"{self.address}/oauth2/token", form.encode())
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return form, response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return form, error.code, json.load(error)

    def verify(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Verify a JWT as a resource server would, with discovery and the JWK Set."""
        with urllib.request.urlopen(f"{self.address}/.well-known/openid-configuration") as response:
            metadata = json.load(response)
        key = jwt.PyJWKClient(f"{self.address}/oauth2/jwks").get_signing_key_from_jwt(token)
        claims = jwt.decode(
            token,
            key,
            algorithms=metadata["id_token_signing_alg_values_supported"],
            audience=self.client_id,
            issuer=metadata["issuer"],
        )
        return jwt.get_unverified_header(token), claims


@contextmanager
def serving(port: int) -> Iterator[str]:
    """Serve the site on a loopback port in the background and yield its address."""
    try:
        server = ThreadedWSGIServer(("127.0.0.1", port), QuietHandler)
    except OSError as error:
        raise CommandError(f"Port {port} can't be used ({error.strerror}). Try: demo --port 9000") from error
    server.set_app(StaticFilesHandler(get_wsgi_application()))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def expect(condition: bool, surprise: str) -> None:
    """Stop with a non-zero exit code if something unexpected happened."""
    if not condition:
        raise CommandError(f"Unexpected: {surprise}.")
