"""What the site takes up: memory, connections, tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from tests.faults.servers import NAME, PostgreSQL
from tests.faults.site import Host
from tests.soak.records import Latency, Sample, Table, resident_memory

_PREFIX: Final = "django_ciam_token_"
_CONNECTIONS: Final = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = %s AND backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
_TABLES: Final = """
SELECT relname, n_dead_tup, pg_table_size(relid), pg_indexes_size(relid)
FROM pg_stat_user_tables WHERE relname LIKE %s ORDER BY relname
"""


class Sampler:
    """Asks the kernel and, over a connection of its own, the database."""

    def __init__(self, database: PostgreSQL, host: Host) -> None:
        self._connection = psycopg.connect(database.url(), autocommit=True)
        self._host = host

    def version(self) -> str:
        """Return the version of the database."""
        [version] = self._row("SHOW server_version")
        return f"PostgreSQL {version}"

    def sample(self, at: float, latencies: dict[str, Latency]) -> Sample:
        """Return what the site takes up now."""
        memory = {str(pid): _memory(pid) for pid in self._host.workers()}
        [connections] = self._row(_CONNECTIONS, NAME)
        return Sample(at, memory, connections, self._tables(), latencies)

    def close(self) -> None:
        self._connection.close()

    def _tables(self) -> dict[str, Table]:
        rows = self._connection.execute(_TABLES, [f"{_PREFIX}%"]).fetchall()
        return {
            name.removeprefix(_PREFIX): Table(self._count(name), dead, size, indexes)
            for name, dead, size, indexes in rows
        }

    def _count(self, table: str) -> int:
        # PostgreSQL's own figure is an estimate, and these tables are small.
        [count] = self._row(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
        return int(count)

    def _row(self, query: Any, *parameters: str) -> tuple[Any, ...]:
        row = self._connection.execute(query, parameters).fetchone()
        assert row is not None
        return row


def _memory(pid: int) -> int:
    try:
        return resident_memory(Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
