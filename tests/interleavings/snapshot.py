"""A copy of the tables within the database, from which they are put back in one round trip."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import connection, transaction
from django.db.models import Model


class Snapshot:
    """Copies of some tables, children first."""

    def __init__(self, models: Sequence[type[Model]]) -> None:
        self._tables = [model._meta.db_table for model in models]
        for table in self._tables:
            _execute(f"DROP TABLE IF EXISTS {_copy(table)}")
            _execute(f"CREATE TABLE {_copy(table)} AS SELECT * FROM {table} WHERE 1 = 0")

    def take(self) -> None:
        """Keep the rows as they are now."""
        for table in self._tables:
            _execute(f"DELETE FROM {_copy(table)}", f"INSERT INTO {_copy(table)} SELECT * FROM {table}")

    def put_back(self) -> None:
        """Make the rows what they were."""
        deleted = [f"DELETE FROM {table}" for table in self._tables]
        inserted = [f"INSERT INTO {table} SELECT * FROM {_copy(table)}" for table in reversed(self._tables)]
        with transaction.atomic():
            _execute(*deleted, *inserted)

    def drop(self) -> None:
        for table in self._tables:
            _execute(f"DROP TABLE {_copy(table)}")


def _copy(table: str) -> str:
    return f"interleavings_{table}"


def _execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            for statement in statements:
                cursor.execute(statement)
            return
        cursor.execute("; ".join(statements))
        while cursor.nextset():
            pass
