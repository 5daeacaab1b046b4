"""Sites with other people's packages, each in a process of its own: they change the whole process."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

POSTGRESQL_URL = os.environ.get("POSTGRESQL_URL", "postgres://root@127.0.0.1:5432")
ROOT = Path(__file__).parents[2]


def require(package: str) -> None:
    """Skip a test whose package is missing, except in `tox -e hosts`."""
    if importlib.util.find_spec(package) is None:
        missing(f"{package} is not installed: this runs in `tox -e hosts`")


def missing(reason: str) -> None:
    if os.environ.get("CIAM_REQUIRE_HOSTS"):
        pytest.fail(reason)
    pytest.skip(reason)


def run(site: str, database_url: str) -> list[str]:
    """Run the scenarios of a site; return the names of those that passed."""
    finished = subprocess.run(
        [sys.executable, "-m", f"tests.hosts.{site}.scenarios"],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": f"tests.hosts.{site}.settings",
            "DATABASE_URL": database_url,
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    print(finished.stdout, finished.stderr)
    return [
        line.removeprefix("passed ") for line in finished.stdout.splitlines() if line.startswith("passed ")
    ]


class Database:
    """A new, empty database on the PostgreSQL server of the tests."""

    def __init__(self) -> None:
        psycopg = pytest.importorskip("psycopg")
        self.name = f"ciam_hosts_{uuid.uuid4().hex[:12]}"
        self.url = f"{POSTGRESQL_URL}/{self.name}"
        try:
            self._server = psycopg.connect(f"{POSTGRESQL_URL}/postgres", autocommit=True, connect_timeout=5)
        except psycopg.OperationalError:
            missing(f"no PostgreSQL at {POSTGRESQL_URL}")

    def __enter__(self) -> Database:
        self._server.execute(f"CREATE DATABASE {self.name}")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.execute(f"DROP DATABASE {self.name} WITH (FORCE)")
        self._server.close()
