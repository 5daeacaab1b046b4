"""The database servers, and how much they have done so far, read over a separate connection."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import psycopg

from benchmarks.measuring import cpu_seconds


class DatabaseServer(Protocol):
    """Where the servers of the comparison keep their data, each in a database of its own."""

    def version(self) -> str:
        """Return its name and version."""

    def url(self, name: str) -> str:
        """Return the DATABASE_URL of a database."""

    def create(self, name: str) -> None:
        """Create an empty database; it replaces one of that name."""

    def drop(self, name: str) -> None:
        """Remove a database, if there is one."""

    def checkpoint(self) -> None:
        """Write everything out, if allowed, so that no checkpoint happens during the measurement."""

    def log_bytes(self) -> int | None:
        """Return how much was ever written to the log (WAL, redo log); None if it can't be measured."""

    def cpu_seconds(self, name: str) -> float | None:
        """Return the CPU time that a database has used; None if it can't be measured separately."""

    def close(self) -> None:
        """Release what was needed for measuring."""


class PostgreSQL:
    """A PostgreSQL server."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = psycopg.connect(f"{url}/postgres", autocommit=True)

    def version(self) -> str:
        """Return its name and version."""
        return "PostgreSQL " + str(self._one("SHOW server_version"))

    def url(self, name: str) -> str:
        """Return the URL of a database on this server."""
        return f"{self._url}/{name}"

    def create(self, name: str) -> None:
        """Make a database."""
        self.drop(name)
        self._connection.execute(f'CREATE DATABASE "{name}"')

    def drop(self, name: str) -> None:
        """Remove a database, even if somebody is connected to it."""
        self._connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def checkpoint(self) -> None:
        """Write everything out, if the role is allowed to."""
        try:
            self._connection.execute("CHECKPOINT")
        except psycopg.errors.InsufficientPrivilege:
            return

    def log_bytes(self) -> int:
        """Return the length of the WAL."""
        return int(self._one("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))

    def cpu_seconds(self, name: str) -> float | None:
        """Return the CPU time of the backends of a database; None if the server is on another host."""
        pids = self._connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'",
            [name],
        ).fetchall()
        if not all(Path(f"/proc/{pid}").exists() for (pid,) in pids):
            return None
        return sum(cpu_seconds(pid) for (pid,) in pids)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def _one(self, query: str) -> Any:
        row = self._connection.execute(query).fetchone()
        assert row is not None
        return row[0]


class MariaDB:
    """A MariaDB server. It is one process, so its CPU time is that of all its threads together."""

    def __init__(self, url: str) -> None:
        import MySQLdb

        self._url = url
        parts = urlsplit(url)
        self._connection = MySQLdb.connect(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 3306,
            user=parts.username or "root",
            password=parts.password or "",
            autocommit=True,
        )

    def version(self) -> str:
        """Return its name and version."""
        return "MariaDB " + str(self._one("SELECT version()")).partition("-")[0]

    def url(self, name: str) -> str:
        """Return the URL of a database on this server."""
        return f"{self._url}/{name}"

    def create(self, name: str) -> None:
        """Make a database."""
        self.drop(name)
        self._execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")

    def drop(self, name: str) -> None:
        """Remove a database."""
        self._execute(f"DROP DATABASE IF EXISTS `{name}`")

    def checkpoint(self) -> None:
        """Do nothing: InnoDB writes pages all the time, and never writes a whole page to its log."""

    def log_bytes(self) -> int:
        """Return how much went to InnoDB's redo log."""
        return int(self._one("SHOW GLOBAL STATUS LIKE 'Innodb_os_log_written'", column=1))

    def cpu_seconds(self, name: str) -> float | None:
        """Return the CPU time of the server; None if it is on another host."""
        try:
            pid = int(Path(self._one("SELECT @@pid_file")).read_text())
        except (OSError, ValueError):
            return None
        return cpu_seconds(pid)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def _execute(self, statement: str) -> Any:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()

    def _one(self, query: str, *, column: int = 0) -> Any:
        return self._execute(query)[column]


class SQLite:
    """Files in a folder of their own. What they cost is part of what the web server costs."""

    def __init__(self) -> None:
        self._folder: Final = Path(tempfile.mkdtemp(prefix="benchmark-"))

    def version(self) -> str:
        """Return the version of the library."""
        import sqlite3

        return f"SQLite {sqlite3.sqlite_version}"

    def url(self, name: str) -> str:
        """Return the URL of a file."""
        return f"sqlite:///{self._folder}/{name}"

    def create(self, name: str) -> None:
        """Do nothing: the first connection creates the file."""

    def drop(self, name: str) -> None:
        """Remove a file and those that SQLite keeps next to it."""
        for path in self._folder.glob(f"{name}*"):
            path.unlink()

    def checkpoint(self) -> None:
        """Do nothing: the log is written back again and again while it is in use."""

    def log_bytes(self) -> None:
        """Return None: the log starts again with every checkpoint."""

    def cpu_seconds(self, name: str) -> None:
        """Return None: it can't be separated from what the web server uses."""

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._folder)
