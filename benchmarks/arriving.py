"""How long it takes to import the live refresh tokens of another package, and how much memory.

    python -m benchmarks --parts arriving

Each user has one live token. The import is run three times: first, again with nothing new, and, from the
beginning, after it was killed half-way. CPU time is that of the command, without the database's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from benchmarks.databases import PostgreSQL
from benchmarks.report import table
from benchmarks.servers import ROOT, Server, environment_of, run

_SITE: Final = Server(name="arriving", label="arriving", site="arriving")
PACKAGES: Final = ("oauth_toolkit", "allauth", "simplejwt")


@dataclass(frozen=True)
class _Run:
    seconds: float
    cpu: float
    memory: int
    summary: dict[str, Any]


def arrive(postgresql: PostgreSQL, rows: int) -> str:
    """Import as many tokens from each package; return a table."""
    lines = []
    for package in PACKAGES:
        database = f"benchmark_arriving_{package}"
        postgresql.create(database)
        try:
            with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
                environment = environment_of(_SITE, postgresql.url(database), Path(folder))
                run("benchmarks.sites.arriving.fill", package, str(rows), environment=environment)
                _settle(environment["DATABASE_URL"])
                lines.append([package, *_imported(package, environment, rows)])
        finally:
            postgresql.drop(database)
        print(f"  {lines[-1]}", flush=True)
    header = [f"{rows:,} tokens", "seconds", "CPU s", "MiB at most", "again: s", "CPU s"]
    return table([*header, "before it was killed", "the rest: s"], lines)


def _imported(package: str, environment: Mapping[str, str], rows: int) -> list[str]:
    first = _run(package, environment)
    assert first.summary["tokens_imported"] == rows, first.summary
    again = _run(package, environment)
    assert (again.summary["tokens_known"], again.summary["sessions_dropped"]) == (rows, 0), again.summary
    _empty(environment["DATABASE_URL"])
    killed = _killed(package, environment, after=first.seconds / 2)
    resumed = _run(package, environment)
    assert resumed.summary["tokens_known"] == killed, (resumed.summary, killed)
    assert resumed.summary["tokens_imported"] == rows - killed, (resumed.summary, killed)
    return [
        f"{first.seconds:.0f}",
        f"{first.cpu:.0f}",
        f"{max(one.memory for one in (first, again, resumed)) / 2**20:.0f}",
        f"{again.seconds:.0f}",
        f"{again.cpu:.0f}",
        f"{killed:,}",
        f"{resumed.seconds:.0f}",
    ]


def _run(package: str, environment: Mapping[str, str]) -> _Run:
    """Run the command; its memory is its largest resident set."""
    began = time.monotonic()
    process = _started(package, environment)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"import_from {package} failed")
    cpu = usage.ru_utime + usage.ru_stime
    return _Run(time.monotonic() - began, cpu, usage.ru_maxrss * 1024, json.loads(printed))


def _killed(package: str, environment: Mapping[str, str], *, after: float) -> int:
    """Let the command be killed; return how many tokens it had imported."""
    process = _started(package, environment)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
        # PostgreSQL finishes the statement that it had begun.
        while connection.execute(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        ).fetchone():
            time.sleep(0.1)
        counted = connection.execute(
            "SELECT (SELECT count(*) FROM django_ciam_token_foreigntoken),"
            " (SELECT count(*) FROM django_ciam_token_refreshtoken)"
        ).fetchone()
    assert counted is not None
    assert counted[0] == counted[1], counted
    return int(counted[0])


def _started(package: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "django", "import_from", package, "--json"],
        cwd=ROOT,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def _settle(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def _empty(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("TRUNCATE django_ciam_token_foreigntoken, django_ciam_token_refreshtoken CASCADE")
    _settle(database_url)
