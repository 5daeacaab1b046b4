"""The example project, served over HTTP by a real server, as a site would be."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TextIO
from urllib.request import urlopen

EXAMPLE_PROJECT: Final = Path(__file__).resolve().parents[1] / "example_project"
SECONDS_TO_START: Final = 60
SERVERS: Final = {
    # With threads it keeps connections open.
    "gunicorn": [
        *("config.wsgi:application", "--no-control-socket", "--threads", "2"),
        *("--bind", "127.0.0.1:{port}"),
    ],
    "uvicorn": ["config.asgi:application", "--host", "127.0.0.1", "--port", "{port}"],
}
_CREATE_USER: Final = (
    "from django.contrib.auth.models import User; User.objects.create_user({!r}, password={!r})"
)
# It stays, because most of the time of a `manage.py` goes by until Django has started.
_OPERATOR: Final = """
import io, json, sys
from django.core.management import call_command
for line in sys.stdin:
    output = io.StringIO()
    call_command(*json.loads(line), stdout=output)
    print(json.dumps(output.getvalue()), flush=True)
"""


@dataclass(frozen=True, kw_only=True)
class TokenService:
    """A running token service, and its operator's command line."""

    base_url: str
    operator: subprocess.Popen[str] = field(repr=False)
    username: str = "alice"
    password: str = "correct horse battery staple"

    @property
    def token_endpoint(self) -> str:
        return f"{self.base_url}/oauth2/token"

    @property
    def jwks_uri(self) -> str:
        return f"{self.base_url}/oauth2/jwks"

    def create_client(
        self, application_type: str, *options: str, scope: str = "openid profile"
    ) -> dict[str, str]:
        """Create a client; return its client_id and, if it is confidential, its client_secret."""
        of_type = ("--type", application_type, "--scope", scope)
        return self._answer("create_client", application_type, *of_type, *options)

    def issue_tokens(self, client_id: str, user: str | None) -> dict[str, Any]:
        """Begin a session; that of a machine has no user."""
        for_user = [] if user is None else ["--user", user]
        return self._answer("issue_tokens", "--client", client_id, *for_user)

    def first_tokens(self, application_type: str) -> tuple[dict[str, str], dict[str, Any]]:
        """Return a new client of this type, and its first tokens."""
        client = self.create_client(application_type)
        user = None if application_type == "m2m" else self.username
        return client, self.issue_tokens(client["client_id"], user)

    def manage(self, *arguments: str) -> str:
        """Run a command of ``manage.py`` and return its output."""
        pipes = self.operator.stdin, self.operator.stdout
        assert pipes[0] is not None
        assert pipes[1] is not None
        pipes[0].write(f"{json.dumps(arguments)}\n")
        pipes[0].flush()
        answer = pipes[1].readline()
        assert answer, f"manage.py {' '.join(arguments)} failed"
        output: str = json.loads(answer)
        return output

    def _answer(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.manage(*arguments, "--json"))
        return answer


@contextmanager
def serve(server: str, folder: Path) -> Iterator[TokenService]:
    """Serve the example project, with a user and a database in this folder; a traceback in its log fails."""
    port = free_port()
    base_url = f"http://127.0.0.1:{port}"
    environment = os.environ | {
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "CIAM_ISSUER": base_url,
        "SECRET_KEY": secrets.token_urlsafe(50),
        # Without it the issuer must be an https URL.
        "DEBUG": "1",
        "ALLOWED_HOSTS": "127.0.0.1",
        # pytest-django has set it for the other tests.
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    log = folder / "server.log"
    arguments = [argument.format(port=port) for argument in SERVERS[server]]
    with (
        log.open("w") as output,
        _running(
            *("manage.py", "shell", "--verbosity", "0", "--command", _OPERATOR),
            environment=environment,
            output=output,
        ) as operator,
    ):
        running = TokenService(base_url=base_url, operator=operator)
        running.manage("migrate", "--verbosity", "0")
        running.manage("shell", "--command", _CREATE_USER.format(running.username, running.password))
        command = ("-m", server, *arguments, "--workers", "2")
        with _running(*command, environment=environment, output=output) as process:
            _wait_until_it_answers(running, process, log)
            yield running
    assert "Traceback" not in log.read_text(), log.read_text()


@contextmanager
def _running(
    *arguments: str, environment: Mapping[str, str], output: TextIO
) -> Iterator[subprocess.Popen[str]]:
    """Run Python in the example project; it writes to this file, but for an operator's answers."""
    is_operator = _OPERATOR in arguments
    with subprocess.Popen(
        [sys.executable, *arguments],
        cwd=EXAMPLE_PROJECT,
        env=environment,
        stdin=subprocess.PIPE if is_operator else subprocess.DEVNULL,
        stdout=subprocess.PIPE if is_operator else output,
        stderr=output,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_answers(service: TokenService, server: subprocess.Popen[str], log: Path) -> None:
    give_up_at = time.monotonic() + SECONDS_TO_START
    while not _answers(service):
        if server.poll() is not None or time.monotonic() > give_up_at:
            raise AssertionError(f"the server does not answer:\n{log.read_text()}")
        time.sleep(0.1)


def _answers(service: TokenService) -> bool:
    try:
        with urlopen(service.jwks_uri, timeout=5):
            return True
    except OSError:
        return False
