"""A sample of a large table of sessions: a few thousand rows, drawn as fairly as each database allows.

Whether a session is live depends on its age, so the newest alone would say nothing about the rest.
"""

from __future__ import annotations

import heapq
from typing import Final

from django.db import connections
from django.db.models import BooleanField, F, Func, QuerySet
from django.db.models.expressions import RawSQL

from django_ciam_token.database.uuid7 import lowest_of_millisecond, millisecond
from django_ciam_token.models import RefreshToken

Part = tuple[QuerySet[RefreshToken], float]
"""Sessions of the sample, and how many sessions each of them stands for."""

_RANGES: Final = 20


def sample(sessions: QuerySet[RefreshToken], *, size: int, total: int) -> list[Part]:
    """Return a sample, in parts.

    Args:
        sessions: all sessions, on the database to query.
        size: roughly how many to draw.
        total: roughly how many there are.
    """
    connection, weight = connections[sessions.db], max(1.0, total / size)
    draw = {"postgresql": _pages, "sqlite": _rows, "mysql": _ranges}.get(connection.vendor)
    if draw is not None:
        return draw(sessions, size, weight)
    # Another backend, such as CockroachDB's or YugabyteDB's: take the newest, for lack of a better way.
    oldest = sessions.order_by("-pk").values_list("pk", flat=True)[size - 1 : size].first()
    return [(sessions if oldest is None else sessions.filter(pk__gte=oldest), weight)]


def rows_by_estimate(using: str) -> int:
    """Return how many sessions the database estimates that there are; 0 if we can't ask it."""
    connection = connections[using]
    table = RefreshToken._meta.db_table
    statements = {
        # In a partitioned table, each partition has its own estimate.
        "postgresql": "SELECT COALESCE(SUM(GREATEST(reltuples, 0)), 0) FROM pg_class WHERE relkind = 'r' AND "
        "(oid = to_regclass(%s) OR oid IN (SELECT relid FROM pg_partition_tree(to_regclass(%s)::regclass)))",
        "mysql": "SELECT MAX(table_rows) FROM information_schema.tables WHERE table_schema = DATABASE() "
        "AND table_name IN (%s, %s)",
        # Row numbers ascend. The newest is an upper bound, and reading it needs no scan.
        "sqlite": f"SELECT MAX(rowid) FROM {connection.ops.quote_name(table)}",  # noqa: S608 - a name
    }
    # Another backend, such as CockroachDB's or YugabyteDB's, has none of these.
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
    # Not IN, for which it would rather read the whole table than look up each key.
    is_drawn = Func(
        F("pk"),
        RawSQL(statement, [100 / weight]),  # noqa: S611
        template="%(expressions)s)",
        arg_joiner=" = ANY(ARRAY",
        output_field=BooleanField(),
    )
    return [(sessions.filter(is_drawn), weight)]


def _rows(sessions: QuerySet[RefreshToken], size: int, weight: float) -> list[Part]:
    """Take every n-th row of SQLite, whose row numbers ascend."""
    step, table = round(weight), _table(sessions.db)
    statement = (
        "WITH RECURSIVE drawn(number) AS (SELECT 1 UNION ALL SELECT number + %s FROM drawn "  # noqa: S608
        f"WHERE number < (SELECT MAX(rowid) FROM {table})) "
        f"SELECT id FROM drawn JOIN {table} ON rowid = number"
    )
    return [(sessions.filter(pk__in=RawSQL(statement, [step])), step)]  # noqa: S611


def _ranges(sessions: QuerySet[RefreshToken], size: int, weight: float) -> list[Part]:
    """Take adjacent rows from each of several ranges of keys, because MariaDB can't draw rows at random."""
    keys, limit = sessions.order_by("pk").values_list("pk", flat=True), max(1, size // _RANGES)
    oldest, newest = keys.first(), keys.last()
    if oldest is None or newest is None:
        return []
    ranges = _divided(millisecond(oldest), millisecond(newest) + 1, using=sessions.db)
    # If a range is many pages long, InnoDB's estimate is about twice its rows; the same goes for all ranges.
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
    """Halve the ranges with most rows until there are enough; return the rows, begin and end of each.

    Begin and end are milliseconds. Sessions do not begin evenly over time, and most old ones are purged.
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
    """Return how many rows MariaDB estimates in a range of keys; it looks at the ends of the range."""
    connection, key = connections[using], RefreshToken._meta.pk
    # By the primary key: otherwise MariaDB would rather count an index of the whole table.
    statement = f"EXPLAIN SELECT nonce FROM {_table(using)} FORCE INDEX (PRIMARY) WHERE id >= %s AND id < %s"  # noqa: S608
    bounds = [lowest_of_millisecond(number) for number in (begin, end)]
    with connection.cursor() as cursor:
        cursor.execute(statement, [key.get_db_prep_value(bound, connection) for bound in bounds])
        names = [column[0] for column in cursor.description]
        return int(cursor.fetchone()[names.index("rows")] or 0)


def _table(using: str) -> str:
    return connections[using].ops.quote_name(RefreshToken._meta.db_table)
