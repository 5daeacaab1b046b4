"""What processes and the database have used so far; differences of two readings are what is reported.

CPU time is the trustworthy figure on a machine that does other things as well: it hardly depends on them.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import psycopg


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process with all its threads, in seconds; nothing of one that is gone.

    As /proc/PID/stat has it, but from the kernel's clock of that process, which counts nanoseconds
    instead of hundredths of a second.
    """
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0


def children(pid: int) -> set[int]:
    """Return the processes that a process has started: gunicorn's workers.

    One that is there may be missing for a moment: the kernel does not stop the others while it counts.
    """
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def is_there(pid: int) -> bool:
    """Tell whether a process exists."""
    return Path(f"/proc/{pid}").exists()


def memory_bytes(pid: int) -> int:
    """Return the proportional share of a process in memory (PSS), or what is resident if that is unknown."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        [line] = [line for line in text.splitlines() if line.startswith("Pss:")]
    except (OSError, ValueError):
        text = Path(f"/proc/{pid}/status").read_text()
        [line] = [line for line in text.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


class PostgreSQL:
    """A PostgreSQL server, asked by somebody who does not take part."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(f"{url}/postgres", autocommit=True)

    def version(self) -> str:
        """Return what the server calls itself."""
        return "PostgreSQL " + str(self._one("SHOW server_version"))

    def create(self, name: str) -> None:
        """Make an empty database, in place of one of that name."""
        self.drop(name)
        self.connection.execute(f'CREATE DATABASE "{name}"')

    def drop(self, name: str) -> None:
        """Remove a database, if there is one."""
        self.connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def checkpoint(self) -> None:
        """Write everything out, so that no checkpoint falls into what is measured, if the role may."""
        try:
            self.connection.execute("CHECKPOINT")
        except psycopg.errors.InsufficientPrivilege:
            return

    def wal_bytes(self) -> int:
        """Return how much WAL was ever written, by anybody on this server."""
        return int(self._one("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))

    def cpu_seconds(self, database: str) -> float | None:
        """Return the CPU time of the backends of a database; None if the server is on another host."""
        pids = self.connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'",
            [database],
        ).fetchall()
        if not all(Path(f"/proc/{pid}").exists() for (pid,) in pids):
            return None
        return sum(cpu_seconds(pid) for (pid,) in pids)

    def _one(self, query: str) -> Any:
        row = self.connection.execute(query).fetchone()
        assert row is not None
        return row[0]
