"""Delays longer than the grace period: locks, a COMMIT that stalls, a function of the site that hangs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any, Final

from tests.faults.servers import NAME, Database, MariaDB, PostgreSQL
from tests.faults.site import Plan
from tests.faults.stage import Stage

GRACE_PERIOD: Final = 3
# The load leaves pauses between them, in which all that waited is answered.
_LONGER: Final = (3.5, 5.0)
_PAUSE: Final = 4.0
_TABLE: Final = "django_ciam_token_refreshtoken"

_SETTINGS: Final = {
    "REFRESH_TOKEN_GRACE_PERIOD": GRACE_PERIOD,
    # While some workers wait, requests queue in front of the others.
    "REQUEST_START_HEADER": "X-Request-Start",
}
PLAN: Final = Plan(threads=8, copies=2, copied=0.25, ciam_token=_SETTINGS)
HANGING: Final = Plan(
    threads=8,
    copies=2,
    copied=0.25,
    ciam_token={**_SETTINGS, "ACCESS_TOKEN_CLAIMS": "tests.faults.slow.claims_that_hang"},
)
_calls: list[int] = []


def claims_that_hang(**_: Any) -> dict[str, Any]:
    """Hang for longer than the grace period at every two-hundredth call of a process."""
    _calls.append(1)
    if len(_calls) % 200 == 100:
        time.sleep(_LONGER[0])
    return {}


async def lock_rows(stage: Stage) -> None:
    """Lock the rows of many sessions for longer than the grace period."""
    await _again_and_again(stage, _rows_locked)


async def lock_the_table(stage: Stage) -> None:
    """Lock the table of sessions against writing, as a backup or an ALTER TABLE does."""
    await _again_and_again(stage, _table_locked)


async def stall_commits(stage: Stage) -> None:
    """Let every COMMIT wait, as with a synchronous standby that is gone."""
    await _again_and_again(stage, _commits_stalled)


async def _again_and_again(stage: Stage, slow: Callable[[Database], AbstractContextManager[None]]) -> None:
    def strike() -> None:
        with slow(stage.database):
            time.sleep(stage.rng.uniform(*_LONGER))

    await stage.every(_PAUSE, strike)


@contextmanager
def _rows_locked(database: Database) -> Any:
    lock = f"SELECT id FROM {_TABLE} ORDER BY id LIMIT 40 FOR UPDATE"
    with closing(_connect(database)) as connection:
        connection.cursor().execute(lock)
        yield
        connection.rollback()


@contextmanager
def _table_locked(database: Database) -> Any:
    with closing(_connect(database)) as connection:
        if isinstance(database, PostgreSQL):
            connection.cursor().execute(f"LOCK TABLE {_TABLE} IN SHARE MODE")
            yield
            connection.rollback()
        else:
            connection.cursor().execute(f"LOCK TABLES {_TABLE} READ")
            yield
            connection.cursor().execute("UNLOCK TABLES")


@contextmanager
def _commits_stalled(database: Database) -> Any:
    if isinstance(database, PostgreSQL):
        database.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", database="postgres")
        database.execute("SELECT pg_reload_conf()", database="postgres")
        yield
        database.execute("ALTER SYSTEM RESET synchronous_standby_names", database="postgres")
        database.execute("SELECT pg_reload_conf()", database="postgres")
        return
    with closing(_connect(database)) as connection:
        # Lets statements through and makes every COMMIT wait.
        connection.cursor().execute("BACKUP STAGE START")
        connection.cursor().execute("BACKUP STAGE BLOCK_COMMIT")
        yield
        connection.cursor().execute("BACKUP STAGE END")


def _connect(database: Database) -> Any:
    if isinstance(database, PostgreSQL):
        import psycopg

        return psycopg.connect(database.url())
    import MySQLdb

    assert isinstance(database, MariaDB)
    return MySQLdb.connect(unix_socket=str(database.server.socket), user="root", database=NAME)
