"""A sample of a large table of sessions: a few thousand rows, as fairly drawn as each database allows.

Whether a session is live depends on its age, so the newest alone would say nothing of the rest.
"""

from __future__ import annotations

import heapq
from typing import Final

from django.db import connections
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from django_ciam_token.database.uuid7 import lowest_of_millisecond, millisecond
from django_ciam_token.models import RefreshToken

Part = tuple[QuerySet[RefreshToken], float]
"""Sessions of the sample, and for how many each of them stands."""

_RANGES: Final = 20


def sample(sessions: QuerySet[RefreshToken], *, size: int, total: int) -> list[Part]:
    """Return a sample, in parts.

    Args:
        sessions: all there are, on the database to be asked.
        size: how many to draw, roughly.
        total: how many there are, roughly.
    """
    connection, weight = connections[sessions.db], max(1.0, total / size)
    draw = {"postgresql": _pages, "sqlite": _rows, "mysql": _ranges}.get(connection.vendor)
    if draw is not None:
        return draw(sessions, size, weight)
    # A backend of its own, such as those of CockroachDB and YugabyteDB: the newest, for want of better.
    oldest = sessions.order_by("-pk").values_list("pk", flat=True)[size - 1 : size].first()
    return [(sessions if oldest is None else sessions.filter(pk__gte=oldest), weight)]


def rows_by_estimate(using: str) -> int:
    """Return how large the database believes the table of sessions to be; 0 if we can't ask it."""
    connection = connections[using]
    table = RefreshToken._meta.db_table
    statements = {
        # Of a partitioned table each part has its own estimate.
        "postgresql": "SELECT COALESCE(SUM(GREATEST(reltuples, 0)), 0) FROM pg_class WHERE relkind = 'r' AND "
        "(oid = to_regclass(%s) OR oid IN (SELECT relid FROM pg_partition_tree(to_regclass(%s)::regclass)))",
        "mysql": "SELECT MAX(table_rows) FROM information_schema.tables WHERE table_schema = DATABASE() "
        "AND table_name IN (%s, %s)",
        # Rows are numbered upwards; the newest number is an upper bound, and needs no walk.
        "sqlite": f"SELECT MAX(rowid) FROM {connection.ops.quote_name(table)}",  # noqa: S608 - a name
    }
    # A backend of its own, such as those of CockroachDB and YugabyteDB, has none of these.
    statement = statements.get(connection.vendor)
    if statement is None:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(statement, [table] * statement.count("%s"))
        [estimate] = cursor.fetchone()
    return int(estimate or 0)


def _pages(sessions: QuerySet[RefreshToken], size: int, weight: float) -> list[Part]:
    """Let PostgreSQL draw pages of the table."""
    statement = f"SELECT id FROM {_table(sessions.db)} TABLESAMPLE SYSTEM (%s)"  # noqa: S608 - a name
    return [(sessions.filter(pk__in=RawSQL(statement, [100 / weight])), weight)]  # noqa: S611


def _rows(sessions: QuerySet[RefreshToken], size: int, weight: float) -> list[Part]:
    """Take every so manyeth row of SQLite, which numbers them upwards."""
    step, table = round(weight), _table(sessions.db)
    statement = (
        "WITH RECURSIVE drawn(number) AS (SELECT 1 UNION ALL SELECT number + %s FROM drawn "  # noqa: S608
        f"WHERE number < (SELECT MAX(rowid) FROM {table})) "
        f"SELECT id FROM drawn JOIN {table} ON rowid = number"
    )
    return [(sessions.filter(pk__in=RawSQL(statement, [step])), step)]  # noqa: S611


def _ranges(sessions: QuerySet[RefreshToken], size: int, weight: float) -> list[Part]:
    """Take neighbours out of each of several ranges of keys, as MariaDB can't draw any."""
    keys, limit = sessions.order_by("pk").values_list("pk", flat=True), max(1, size // _RANGES)
    oldest, newest = keys.first(), keys.last()
    if oldest is None or newest is None:
        return []
    ranges = _divided(millisecond(oldest), millisecond(newest) + 1, using=sessions.db)
    # Of a range that is many pages long InnoDB believes it to have about twice the rows; of all alike.
    excess = max(1.0, sum(rows for rows, _, _ in ranges) / (weight * size))
    parts: list[Part] = []
    for rows, begin, end in ranges:
        within = keys.filter(pk__gte=lowest_of_millisecond(begin), pk__lt=lowest_of_millisecond(end))
        drawn = list(within[:limit])
        if drawn:
            stands_for = max(1.0, rows / excess / limit) if len(drawn) == limit else 1.0
            parts.append((sessions.filter(pk__gte=drawn[0], pk__lte=drawn[-1]), stands_for))
    return parts


def _divided(begin: int, end: int, *, using: str) -> list[tuple[int, int, int]]:
    """Halve the ranges with most rows until there are enough; return them: rows, begin and end.

    Begin and end are milliseconds. Sessions do not begin evenly in time, and most of the old ones are purged.
    """
    ranges = [(-_rows_between(begin, end, using=using), begin, end)]
    while len(ranges) < _RANGES:
        _, begin, end = most = heapq.heappop(ranges)
        middle = (begin + end) // 2
        if middle == begin:
            heapq.heappush(ranges, most)
            break
        for half in ((begin, middle), (middle, end)):
            heapq.heappush(ranges, (-_rows_between(*half, using=using), *half))
    return [(-rows, begin, end) for rows, begin, end in ranges]


def _rows_between(begin: int, end: int, *, using: str) -> int:
    """Return how many rows MariaDB believes a range of keys to have, by a look at the ends of it."""
    connection, key = connections[using], RefreshToken._meta.pk
    # By the primary key: it would rather count an index of the whole table.
    statement = f"EXPLAIN SELECT nonce FROM {_table(using)} FORCE INDEX (PRIMARY) WHERE id >= %s AND id < %s"  # noqa: S608
    bounds = [lowest_of_millisecond(number) for number in (begin, end)]
    with connection.cursor() as cursor:
        cursor.execute(statement, [key.get_db_prep_value(bound, connection) for bound in bounds])
        names = [column[0] for column in cursor.description]
        return int(cursor.fetchone()[names.index("rows")] or 0)


def _table(using: str) -> str:
    return connections[using].ops.quote_name(RefreshToken._meta.db_table)
