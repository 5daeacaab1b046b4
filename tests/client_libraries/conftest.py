"""The example project, served by WSGI and by ASGI, for client libraries that do not know this package."""

import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import pytest

WAYS_TO_AUTHENTICATE: Final = [
    ("web", "client_secret_basic"),
    ("web", "client_secret_post"),
    ("m2m", "client_secret_basic"),
    ("spa", "none"),
    ("mobile", "none"),
]
"""Types of application, and the authentication methods that a client library must master for each."""
EXAMPLE_PROJECT: Final = Path(__file__).resolve().parents[2] / "example_project"
SECONDS_TO_START: Final = 30
SERVERS: Final = {
    # With threads it keeps connections open.
    "gunicorn": [
        *("config.wsgi:application", "--no-control-socket", "--threads", "2"),
        *("--bind", "127.0.0.1:{port}"),
    ],
    "uvicorn": ["config.asgi:application", "--host", "127.0.0.1", "--port", "{port}"],
}

_missing = [name for name in ("authlib", "requests_oauthlib", *SERVERS) if not importlib.util.find_spec(name)]
_missing += [name for name in ("node", "npm") if not shutil.which(name)]
if _missing and os.environ.get("CIAM_REQUIRE_CLIENTS") == "1":
    raise pytest.UsageError(f"CIAM_REQUIRE_CLIENTS=1, but there is no {', '.join(_missing)}")
collect_ignore_glob = ["test_*.py"] if _missing else []


@dataclass(frozen=True, kw_only=True)
class TokenService:
    """A running token service, and its operator's command line."""

    base_url: str
    environment: Mapping[str, str] = field(repr=False)
    username: str = "alice"
    password: str = "correct horse battery staple"

    @property
    def token_endpoint(self) -> str:
        return f"{self.base_url}/oauth2/token"

    @property
    def jwks_uri(self) -> str:
        return f"{self.base_url}/oauth2/jwks"

    def create_client(self, application_type: str, scope: str = "openid profile") -> dict[str, str]:
        """Create a client; return its client_id and, if it is confidential, its client_secret."""
        return self._answer("create_client", application_type, "--type", application_type, "--scope", scope)

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
        """Run ``manage.py`` and return its output."""
        finished = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=EXAMPLE_PROJECT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    def _answer(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.manage(*arguments, "--json"))
        return answer


def assert_rotated(answers: list[dict[str, Any]], verified_claims: Callable[[str], dict[str, Any]]) -> None:
    """Check that every answer had fresh tokens, of one and the same session from the first to the last."""
    for member in ("access_token", "refresh_token", "id_token"):
        assert len({answer[member] for answer in answers}) == len(answers)
    at_first, at_last = (verified_claims(answer["id_token"]) for answer in (answers[0], answers[-1]))
    for claim in ("sub", "auth_time", "sid"):
        assert at_first.get(claim) == at_last.get(claim)
    verified_claims(answers[-1]["access_token"])


@pytest.fixture(scope="session", params=SERVERS)
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TokenService]:
    folder = tmp_path_factory.mktemp("service")
    port = _free_port()
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
    running = TokenService(base_url=base_url, environment=environment)
    running.manage("migrate", "--verbosity", "0")
    create_user = "from django.contrib.auth.models import User; User.objects.create_user({!r}, password={!r})"
    running.manage("shell", "--command", create_user.format(running.username, running.password))
    log = folder / "server.log"
    arguments = [argument.format(port=port) for argument in SERVERS[request.param]]
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", request.param, *arguments, "--workers", "2"],
            cwd=EXAMPLE_PROJECT,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        _wait_until_it_answers(running, server, log)
        yield running
    finally:
        server.terminate()
        server.wait(timeout=30)
    assert "Traceback" not in log.read_text(), log.read_text()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_answers(service: TokenService, server: subprocess.Popen[bytes], log: Path) -> None:
    give_up_at = time.monotonic() + SECONDS_TO_START
    while not _answers(service):
        if server.poll() is not None or time.monotonic() > give_up_at:
            pytest.fail(f"the server does not answer:\n{log.read_text()}")
        time.sleep(0.1)


def _answers(service: TokenService) -> bool:
    try:
        with urlopen(service.jwks_uri, timeout=5):
            return True
    except OSError:
        return False
