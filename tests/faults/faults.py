"""The faults: how the site is set up for each, and what happens to it while its clients refresh."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Final

from tests.faults import slow, triggers, wire
from tests.faults.processes import NotThere
from tests.faults.servers import Database, Galera, MariaDB, PgBouncer, PostgreSQL
from tests.faults.site import Plan
from tests.faults.stage import Stage, Strike

SERVERS: Final = ("postgresql", "mariadb", "galera")
ALL: Final = (*SERVERS, "sqlite")
_NOT_GALERA: Final = ("postgresql", "mariadb", "sqlite")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault, with its number and name in the table."""

    group: int
    name: str
    databases: tuple[str, ...]
    quick: tuple[str, ...] | None = None
    """The databases for a quick run, if not all: on some a fault shows little that it does not on others."""
    plan: Plan
    strike: Strike
    small_disk: bool = False
    """Whether the database is on its own small file system, which can be filled."""
    pooled: int = 0
    """The number of server connections of pgbouncer; 0 for no pgbouncer."""

    @contextmanager
    def set_up(self, database: Database) -> Iterator[Plan]:
        """Return the plan for one database."""
        plan = replace(self.plan, options={**database.options, **self.plan.options})
        if isinstance(database, Galera):
            init = "; ".join(
                str(options["init_command"])
                for options in (database.options, self.plan.options)
                if "init_command" in options
            )
            plan = replace(
                plan,
                hosts=database.nodes,
                options={**plan.options, "init_command": init.replace("; SET SESSION", ",")},
            )
        if not self.pooled:
            yield plan
            return
        assert isinstance(database, PostgreSQL)
        bouncer = PgBouncer(database, pool_size=self.pooled)
        bouncer.start()
        try:
            yield replace(plan, urls=[bouncer.url] * plan.hosts)
        finally:
            bouncer.process.end()


async def nothing(stage: Stage) -> None:
    """Do nothing: the fault is in the way the site was set up."""
    stage.strikes += 1


async def kill_workers(stage: Stage) -> None:
    await stage.every(1.0, lambda: stage.rng.choice(stage.site.hosts).kill_a_worker(stage.rng))


async def restart_database(stage: Stage) -> None:
    """Kill a node, wait a moment, and start it again."""

    def restart() -> None:
        node = stage.rng.randrange(stage.database.nodes)
        stage.database.kill(node)
        time.sleep(stage.rng.uniform(0.5, 2.0))
        stage.database.revive(node)

    await stage.every(6.0, restart)


async def hold_locks(stage: Stage) -> None:
    """Lock the rows of many sessions for longer than the site is willing to wait."""
    database = stage.database
    chosen = "SELECT id FROM django_ciam_token_refreshtoken WHERE id >= %s ORDER BY id LIMIT 40 FOR UPDATE"

    def hold() -> None:
        with suppress(_database_error()), closing(_connect(database)) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT id FROM django_ciam_token_refreshtoken")
            sessions = [row[0] for row in cursor.fetchall()]
            connection.rollback()
            cursor.execute(chosen, [stage.rng.choice(sessions)])
            time.sleep(stage.rng.uniform(0.2, 3.0))
            connection.rollback()

    await stage.every(0.3, hold)


async def drop_connections(stage: Stage) -> None:
    """Cut the site's connections at the server at any moment: in a statement or in a COMMIT."""
    database = stage.database

    def drop() -> None:
        if isinstance(database, PostgreSQL):
            with suppress(_database_error()):
                database.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1"
                )
            return
        servers = database.servers if isinstance(database, Galera) else [database.server]  # type: ignore[attr-defined]
        with suppress(_database_error()), stage.rng.choice(servers).cursor() as cursor:
            cursor.execute("SELECT id FROM information_schema.processlist WHERE user = 'site'")
            connections = [row[0] for row in cursor.fetchall()]
            if connections:
                cursor.execute(f"KILL {stage.rng.choice(connections)}")

    await stage.every(0.1, drop)


async def block_crosswise(stage: Stage) -> None:
    await _beneath(stage, triggers.deadlocks)


async def refuse_commits(stage: Stage) -> None:
    await _beneath(stage, triggers.refusals_at_commit)


async def _beneath(stage: Stage, trigger: Callable[[Database], AbstractContextManager[None]]) -> None:
    """Keep a trigger in the database until the end."""
    made = trigger(stage.database)
    await asyncio.to_thread(made.__enter__)
    stage.strikes += 1
    try:
        while not stage.is_over:
            await stage.pause(1.0)
    finally:
        await asyncio.to_thread(made.__exit__, None, None, None)


async def step_clocks(stage: Stage) -> None:
    """Set the hosts' clocks: half a minute ahead, half a minute behind, or stopped."""

    def step() -> None:
        still = datetime.now(timezone.utc).isoformat()
        times = ["+30", "-30", still]
        stage.rng.shuffle(times)
        for host, clock in zip(stage.site.hosts, times, strict=True):
            host.set_clock(clock)

    await stage.every(3.0, step)


async def rotate_everything(stage: Stage) -> None:
    """Replace signing key, client secret and SECRET_KEY as the guide in docs/how-to describes."""
    site = stage.site
    kept: list[str] = []

    async def tell_all() -> None:
        # One host after the other, as in a deployment: the next one when this one answers again.
        for host in site.hosts:
            before = set(host.workers())
            host.reload()
            while before.intersection(host.workers()) and not stage.is_over:
                await asyncio.sleep(0.1)
            while await wire.get(host.port, "/oauth2/jwks") is None and not stage.is_over:
                await asyncio.sleep(0.1)

    await stage.pause(1.0)
    while not stage.is_over:
        import json

        current = json.loads(site.secrets.read_text())
        new = secrets.token_urlsafe(50)
        site.set_secrets(*current, new)
        await tell_all()
        site.set_secrets(new, *current)
        await tell_all()
        await asyncio.to_thread(site.manage, "rotate_signing_key")
        answer = await asyncio.to_thread(
            site.manage, "rotate_client_secret", "portal", "--overlap", "1d", "--json"
        )
        kept.append(stage.service.secret)
        await stage.pause(1.0)
        stage.service.secret = json.loads(answer)["client_secret"]
        stage.strikes += 1
        await stage.pause(6.0)


async def refuse_writes(stage: Stage) -> None:
    """Make the database read-only for a moment."""
    database = stage.database

    def refuse() -> None:
        if isinstance(database, PostgreSQL):
            switch: Callable[[str], None] = lambda to: _of_postgresql(database, to)  # noqa: E731
        else:
            servers = database.servers if isinstance(database, Galera) else [database.server]  # type: ignore[attr-defined]
            server = stage.rng.choice(servers)
            switch = lambda to: server.execute(f"SET GLOBAL read_only = {to}")  # noqa: E731
        switch("on")
        try:
            time.sleep(stage.rng.uniform(0.5, 2.0))
        finally:
            switch("off")

    await stage.every(4.0, refuse)


def _of_postgresql(database: PostgreSQL, to: str) -> None:
    # On its own connection, and not to the site's database.
    database.execute(f"ALTER SYSTEM SET default_transaction_read_only = {to}", database="postgres")
    database.execute("SELECT pg_reload_conf()", database="postgres")


async def fill_disk(stage: Stage) -> None:
    """Leave no space on the disk of the database, and then free it again."""
    database = stage.database
    ballast = database.folder / "ballast"

    def fill() -> None:
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        # For a long time a refresh needs no new space. This makes PostgreSQL ask for some, for its WAL.
        if isinstance(database, PostgreSQL):
            with suppress(_database_error()):
                database.execute("SELECT pg_switch_wal()")
                database.execute("CREATE TABLE filler AS SELECT * FROM generate_series(1, 100000)")
        time.sleep(stage.rng.uniform(1.0, 3.0))
        ballast.unlink(missing_ok=True)
        # A server that ends in order not to lose data is started again, as a supervisor would do.
        time.sleep(0.5)
        process = getattr(database, "process", None) or getattr(
            getattr(database, "server", None), "process", None
        )
        if process is not None and not process.is_running():
            database.revive()

    await stage.every(5.0, fill)


async def everything(stage: Stage) -> None:
    """Let several faults strike at once."""
    strikes = [kill_workers]
    if stage.database.name != "sqlite":
        strikes += [drop_connections, restart_database]
    await asyncio.gather(*(strike(stage) for strike in strikes))


def _connect(database: Database) -> Any:
    if isinstance(database, PostgreSQL):
        import psycopg

        return psycopg.connect(database.url())
    import MySQLdb

    assert isinstance(database, MariaDB)
    return MySQLdb.connect(unix_socket=str(database.server.socket), user="root", database="ciam")


def _database_error() -> tuple[type[Exception], ...]:
    errors: list[type[Exception]] = []
    with suppress(ImportError):
        import psycopg

        errors.append(psycopg.Error)
    with suppress(ImportError):
        import MySQLdb

        errors.append(MySQLdb.Error)
    if not errors:
        raise NotThere("no database driver is installed")
    return tuple(errors)


_PLAN: Final = Plan()
_A_QUARTER: Final = 0.25
_SHORT_ROTATIONS: Final = {"SIGNING_KEY_LEAD": 12, "JWKS_MAX_AGE": 2, "PROCESS_CACHE_LIFETIME": 2}
_POOL: Final = {"CONN_MAX_AGE": 0}

FAULTS: Final = (
    Fault(
        group=1,
        name="workers killed",
        databases=ALL,
        quick=_NOT_GALERA,
        plan=_PLAN,
        strike=kill_workers,
    ),
    Fault(
        group=1,
        name="killed after COMMIT",
        databases=ALL,
        quick=_NOT_GALERA,
        plan=Plan(crash_after_commit=0.02),
        strike=nothing,
    ),
    Fault(
        group=2,
        name="answers lost",
        databases=ALL,
        quick=_NOT_GALERA,
        plan=Plan(proxied=True),
        strike=nothing,
    ),
    Fault(group=3, name="database restarted", databases=SERVERS, plan=_PLAN, strike=restart_database),
    Fault(
        group=4,
        name="serializable, twice",
        databases=("postgresql",),
        plan=Plan(options={"isolation_level": 4}, copies=2),
        strike=nothing,
    ),
    Fault(
        group=4,
        name="repeatable read, twice",
        databases=("postgresql",),
        quick=(),
        plan=Plan(options={"isolation_level": 3}, copies=2),
        strike=nothing,
    ),
    Fault(
        group=4,
        name="repeatable read, twice",
        databases=("mariadb",),
        quick=(),
        plan=Plan(options={"isolation_level": "repeatable read"}, copies=2),
        strike=nothing,
    ),
    Fault(
        group=4,
        name="serializable, twice",
        databases=("mariadb",),
        plan=Plan(options={"isolation_level": "serializable"}, copies=2),
        strike=nothing,
    ),
    Fault(
        group=4,
        name="deadlocks",
        databases=("postgresql", "mariadb"),
        plan=_PLAN,
        strike=block_crosswise,
    ),
    Fault(
        group=4,
        name="refused at COMMIT",
        databases=("postgresql",),
        plan=_PLAN,
        strike=refuse_commits,
    ),
    Fault(
        group=4,
        name="two nodes at once",
        databases=("galera",),
        plan=Plan(copies=3),
        strike=nothing,
    ),
    Fault(
        group=4,
        name="lock time-out",
        databases=("postgresql",),
        # Threads, so that requests that wait for a lock do not block all others.
        plan=Plan(threads=8, options={"options": "-c lock_timeout=300ms"}),
        strike=hold_locks,
    ),
    Fault(
        group=4,
        name="lock time-out",
        databases=("mariadb",),
        plan=Plan(threads=8, options={"init_command": "SET SESSION innodb_lock_wait_timeout=1"}),
        strike=hold_locks,
    ),
    Fault(group=4, name="connections cut", databases=SERVERS, plan=_PLAN, strike=drop_connections),
    Fault(
        group=5,
        name="pgbouncer",
        databases=("postgresql",),
        plan=Plan(
            workers=4, database={"DISABLE_SERVER_SIDE_CURSORS": True}, options={"prepare_threshold": None}
        ),
        strike=kill_workers,
        pooled=3,
    ),
    Fault(
        group=5,
        name="psycopg's pool",
        databases=("postgresql",),
        plan=Plan(threads=4, database=_POOL, options={"pool": {"min_size": 1, "max_size": 3, "timeout": 10}}),
        strike=drop_connections,
    ),
    Fault(
        group=5,
        name="pool of one for 50",
        databases=("postgresql",),
        plan=Plan(
            hosts=1,
            workers=1,
            threads=50,
            database=_POOL,
            options={"pool": {"min_size": 1, "max_size": 1, "timeout": 10}},
        ),
        strike=nothing,
    ),
    Fault(
        group=6,
        name="clocks step by 30 s",
        databases=SERVERS,
        quick=("postgresql", "mariadb"),
        plan=Plan(hosts=3, clocks=("+30", "-30", "+0"), copies=2, copied=_A_QUARTER),
        strike=step_clocks,
    ),
    Fault(
        group=7,
        name="keys and secrets rotated",
        databases=SERVERS,
        quick=("postgresql",),
        plan=Plan(reloads=True, ciam_token=_SHORT_ROTATIONS),
        strike=rotate_everything,
    ),
    Fault(
        group=8,
        name="database read-only",
        databases=SERVERS,
        quick=("postgresql", "mariadb"),
        plan=_PLAN,
        strike=refuse_writes,
    ),
    Fault(
        group=8,
        name="disk full",
        databases=("postgresql", "mariadb", "sqlite"),
        plan=_PLAN,
        strike=fill_disk,
        small_disk=True,
    ),
    Fault(
        group=9,
        name="all together",
        databases=ALL,
        plan=Plan(proxied=True, crash_after_commit=0.01, copies=2, copied=_A_QUARTER),
        strike=everything,
    ),
    Fault(
        group=10,
        name="rows locked for long",
        databases=("postgresql", "mariadb"),
        plan=slow.PLAN,
        strike=slow.lock_rows,
    ),
    Fault(
        group=10,
        name="table locked for long",
        databases=("postgresql", "mariadb"),
        quick=("postgresql",),
        plan=slow.PLAN,
        strike=slow.lock_the_table,
    ),
    Fault(
        group=10,
        name="COMMIT stalls",
        databases=("postgresql", "mariadb"),
        plan=slow.PLAN,
        strike=slow.stall_commits,
    ),
    Fault(
        group=10,
        name="claims hang",
        databases=("postgresql", "mariadb", "sqlite"),
        quick=("postgresql",),
        plan=slow.HANGING,
        strike=nothing,
    ),
)
