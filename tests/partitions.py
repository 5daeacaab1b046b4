"""Partitions the table of sessions on PostgreSQL, with docs/partitioning.sql."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from django_ciam_token.models import RefreshToken

SCRIPT = Path(__file__).resolve().parent.parent / "docs" / "partitioning.sql"
TABLE = RefreshToken._meta.db_table

PARTITIONS = int(os.environ.get("CIAM_PARTITIONED") or 0)
"""The number of partitions during the whole run; with 0 the table is as the migrations make it."""


def partition(number: int) -> None:
    """Run the script, as an operator would."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('ciam.partitions', %s, true)", [str(number)])
        cursor.execute(SCRIPT.read_text())


def select(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Run a statement and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def leaves() -> list[str]:
    """Return the names of the tables that hold the rows: the partitions, or the table itself."""
    parts = select("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", TABLE)
    return [name for (name,) in parts] or [TABLE]
