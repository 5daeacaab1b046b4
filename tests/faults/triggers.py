"""Conflicts that load alone does not cause, made by triggers in the database of the site.

A refresh locks only one row, so two of them never deadlock. Some triggers let rotations take two more locks
in random order, so that they deadlock and the database detects it. Others refuse some COMMITs, like databases
that check for conflicts only then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from tests.faults.servers import NAME, Database, MariaDB, PostgreSQL

_TABLE: Final = "django_ciam_token_refreshtoken"

_CROSSWISE_IN_POSTGRESQL: Final = f"""
    CREATE FUNCTION crosswise() RETURNS trigger LANGUAGE plpgsql AS $$
    -- Few enough for many deadlocks, and so many that those in one do not keep all others waiting.
    DECLARE pair int := floor(random() * 3);
    DECLARE first int := floor(random() * 2);
    BEGIN
        PERFORM pg_advisory_xact_lock(pair, first);
        PERFORM pg_sleep(0.002);
        PERFORM pg_advisory_xact_lock(pair, 1 - first);
        RETURN NULL;
    END $$;
    CREATE TRIGGER conflict AFTER UPDATE ON {_TABLE} FOR EACH ROW EXECUTE FUNCTION crosswise();
"""
_AT_COMMIT_IN_POSTGRESQL: Final = f"""
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF random() < 0.3 THEN
            RAISE EXCEPTION 'could not serialize access' USING ERRCODE = 'serialization_failure';
        END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER conflict AFTER UPDATE ON {_TABLE} DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION refuse();
"""
_CROSSWISE_IN_MARIADB: Final = (
    f"CREATE TABLE {NAME}.crosswise (id int PRIMARY KEY) ENGINE = InnoDB",
    f"INSERT INTO {NAME}.crosswise VALUES (0), (1)",
    f"""
    CREATE TRIGGER {NAME}.conflict AFTER UPDATE ON {NAME}.{_TABLE} FOR EACH ROW
    BEGIN
        DECLARE one, other int;
        SET one = FLOOR(RAND() * 2);
        SELECT id INTO other FROM {NAME}.crosswise WHERE id = one FOR UPDATE;
        DO SLEEP(0.002);
        SELECT id INTO other FROM {NAME}.crosswise WHERE id = 1 - one FOR UPDATE;
    END
    """,
)


@contextmanager
def deadlocks(database: Database) -> Iterator[None]:
    """Let rotations deadlock."""
    if isinstance(database, PostgreSQL):
        with _in_postgresql(database, _CROSSWISE_IN_POSTGRESQL, "crosswise"):
            yield
        return
    assert isinstance(database, MariaDB)
    database.server.execute(*_CROSSWISE_IN_MARIADB)
    try:
        yield
    finally:
        database.server.execute(f"DROP TRIGGER {NAME}.conflict", f"DROP TABLE {NAME}.crosswise")


@contextmanager
def refusals_at_commit(database: Database) -> Iterator[None]:
    """Let three in ten rotations fail at COMMIT, as if a conflict showed only then."""
    assert isinstance(database, PostgreSQL)
    with _in_postgresql(database, _AT_COMMIT_IN_POSTGRESQL, "refuse"):
        yield


@contextmanager
def _in_postgresql(database: PostgreSQL, statements: str, function: str) -> Iterator[None]:
    database.execute(statements)
    try:
        yield
    finally:
        database.execute(f"DROP FUNCTION {function} CASCADE")
