"""How long it takes to remove what has expired, with the command that each package has for it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from benchmarks.databases import PostgreSQL
from benchmarks.report import table
from benchmarks.servers import ROOT, SERVERS, environment_of, run

# Modelled on the rows that a refresh leaves behind: the other packages keep one for every token they issued.
_TOOLKIT: Final = """
INSERT INTO oauth2_provider_accesstoken (token, token_checksum, expires, scope, resource, created, updated,
    user_id, application_id)
SELECT md5(n::text) || md5(n::text), encode(sha256(n::text::bytea), 'hex'), now() - interval '9 days',
    'openid', '[]', now() - interval '10 days', now() - interval '10 days', (SELECT min(id) FROM auth_user),
    (SELECT min(id) FROM oauth2_provider_application)
FROM generate_series(1, {rows}) n;
INSERT INTO oauth2_provider_refreshtoken (token, token_checksum, resource, created, updated, revoked, user_id,
    application_id, access_token_id, token_family)
SELECT md5(id::text), encode(sha256(id::text::bytea), 'hex'), '[]', created, updated,
    now() - interval '8 days', user_id, application_id, NULL, gen_random_uuid()
FROM oauth2_provider_accesstoken WHERE expires < now() - interval '5 days';
"""
_SIMPLEJWT: Final = """
INSERT INTO token_blacklist_outstandingtoken (user_id, jti, token, created_at, expires_at)
SELECT (SELECT min(id) FROM auth_user), md5(n::text), repeat(md5(n::text), 18), now() - interval '10 days',
    now() - interval '9 days'
FROM generate_series(1, {rows}) n;
INSERT INTO token_blacklist_blacklistedtoken (token_id, blacklisted_at)
SELECT id, created_at FROM token_blacklist_outstandingtoken WHERE expires_at < now();
"""


@dataclass(frozen=True)
class _CleanUp:
    server: str
    command: str
    label: str
    statements: str = ""


_ALL: Final = (
    _CleanUp("ours", "purge_tokens", "ours: purge_tokens"),
    _CleanUp("simplejwt", "flushexpiredtokens", "simplejwt: flushexpiredtokens", _SIMPLEJWT),
    _CleanUp("toolkit", "cleartokens", "oauth-toolkit: cleartokens", _TOOLKIT),
)


def purge(postgresql: PostgreSQL, rows: int) -> str:
    """Let each package remove the same number of expired rows; return a table."""
    lines = []
    for one in _ALL:
        [server] = [server for server in SERVERS if server.name == one.server]
        database = f"benchmark_purged_{one.server}"
        postgresql.create(database)
        try:
            with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
                environment = environment_of(server, postgresql.url(database), Path(folder))
                target = str(Path(folder) / "target.json")
                run("benchmarks.seed", server.site, "1", target, environment=environment)
                _fill(one, postgresql.url(database), rows, environment)
                seconds, memory = _timed(one.command, environment)
        finally:
            postgresql.drop(database)
        lines.append([one.label, f"{seconds:.1f}", f"{rows / seconds:,.0f}", f"{memory / 2**20:,.0f}"])
        print(f"  {one.label}: {seconds:.1f} s", flush=True)
    return table([f"{rows:,} expired", "seconds", "a second", "MiB at most"], lines)


def _fill(one: _CleanUp, database_url: str, rows: int, environment: Mapping[str, str]) -> None:
    if not one.statements:
        run("benchmarks.expired", str(rows), environment=environment)
        return
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(one.statements.format(rows=rows))
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def _timed(command: str, environment: Mapping[str, str]) -> tuple[float, int]:
    """Run a management command; return seconds, and its largest resident memory in bytes."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "django", command],
        cwd=ROOT,
        env=dict(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{command} failed")
    return time.monotonic() - began, usage.ru_maxrss * 1024
