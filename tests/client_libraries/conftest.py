"""The example project, served by WSGI and by ASGI, for client libraries that do not know this package."""

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.served import SERVERS, TokenService, free_port, serve

WAYS_TO_AUTHENTICATE: Final = [
    ("web", "client_secret_basic"),
    ("web", "client_secret_post"),
    ("m2m", "client_secret_basic"),
    ("spa", "none"),
    ("mobile", "none"),
]
"""Types of application, and the authentication methods that a client library must master for each."""

_missing = [
    name for name in ("authlib", "jose", "requests_oauthlib", *SERVERS) if not importlib.util.find_spec(name)
]
_missing += [name for name in ("node", "npm") if not shutil.which(name)]
if _missing and os.environ.get("CIAM_REQUIRE_CLIENTS") == "1":
    raise pytest.UsageError(f"CIAM_REQUIRE_CLIENTS=1, but there is no {', '.join(_missing)}")
collect_ignore_glob = ["test_*.py"] if _missing else []


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
    with serve(request.param, tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def profile(service: TokenService, tmp_path: Path) -> Path:
    """The folder of a browser whose user has an account at the site; programs find it as ``xdg-open``."""
    known = {"username": service.username, "password": service.password}
    (tmp_path / "known.json").write_text(json.dumps(known))
    command = shlex.join([sys.executable, str(Path(__file__).with_name("browser.py")), str(tmp_path)])
    (tmp_path / "xdg-open").write_text(f'#!/bin/sh\nexec {command} "$1"\n')
    (tmp_path / "xdg-open").chmod(0o700)
    return tmp_path


@pytest.fixture
def callback() -> str:
    """A redirect URI at which nobody listens: the browser ends up there, and the test reads the address."""
    return f"http://127.0.0.1:{free_port()}/callback"


@pytest.fixture(scope="session")
def node_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the scripts and install their libraries next to them."""
    project = tmp_path_factory.mktemp("clients") / "node"
    shutil.copytree(Path(__file__).parent / "node", project, ignore=shutil.ignore_patterns("node_modules"))
    npm_install = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]
    finished = subprocess.run(
        npm_install, cwd=project, capture_output=True, text=True, check=False, timeout=300
    )
    assert finished.returncode == 0, finished.stderr
    return project
