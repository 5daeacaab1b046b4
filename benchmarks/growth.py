"""The cost of more sessions, and of more refreshes of the same sessions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from benchmarks.comparison import MANY, Measured, observe, started, take_turns
from benchmarks.databases import PostgreSQL
from benchmarks.report import milliseconds, table
from benchmarks.servers import ROOT, SERVERS, Running, run

_TABLE: Final = "django_ciam_token_refreshtoken"
_OURS: Final = SERVERS[0]


@dataclass(frozen=True)
class Plan:
    """How many sessions there are, and how long to measure."""

    sizes: Sequence[int]
    chosen: int
    """How many of the sessions are refreshed; they are spread over the whole table."""
    rounds: int
    seconds: float
    refreshed: int
    """Sessions that are refreshed again and again."""
    refreshes: int


QUICK: Final = Plan(sizes=(1_000, 20_000), chosen=500, rounds=1, seconds=1, refreshed=500, refreshes=5_000)
FULL: Final = Plan(
    sizes=(10_000, 1_000_000, 10_000_000),
    chosen=5_000,
    rounds=5,
    seconds=5,
    refreshed=10_000,
    refreshes=1_000_000,
)


def grow(postgresql: PostgreSQL, plan: Plan) -> str:
    """Refresh sessions in tables of several sizes, alternately; return a table of the results."""
    with ExitStack() as stack:
        measured = {}
        for size in plan.sizes:
            running = started(stack, _OURS, postgresql, f"grown_{size}", chains=plan.chosen, sessions=size)
            measured[size] = Measured(running)
            print(f"  {size:,} sessions", flush=True)
        for one in measured.values():
            one.running.load(connections=MANY, seconds=plan.seconds)
        for _ in range(plan.rounds):
            take_turns(measured.values(), postgresql, many=plan.seconds, one=plan.seconds)
        return _grown(measured)


def _grown(measured: Mapping[int, Measured]) -> str:
    rows = []
    smallest = next(iter(measured.values()))
    for size, one in measured.items():
        pairs = [(one.median("p50", of=of), smallest.median("p50", of=of)) for of in ("one", "many")]
        seen = state(one.running.database_url)
        rows.append(
            [
                f"{size:,}",
                *(milliseconds(one.median("p50", of=of)) for of in ("one", "many")),
                *(f"{median / least:.2f}" for median, least in pairs if median and least),
                milliseconds(one.median("p99")),
                milliseconds(one.median("server_cpu")),
                milliseconds(one.median("database_cpu")),
                f"{seen['table'] / 2**20:,.0f}",
                f"{seen['indexes'] / 2**20:,.0f}",
            ]
        )
    header = [
        *("sessions", "p50 ms, 1", "p50 ms, 16", "grown, 1", "grown, 16", "p99 ms, 16"),
        *("server CPU ms", "database CPU ms", "table MiB", "indexes MiB"),
    ]
    return table(header, rows)


def churn(postgresql: PostgreSQL, plan: Plan) -> str:
    """Refresh a few sessions many times; return a table of before and after."""
    many = plan.refreshed
    with ExitStack() as stack:
        running = started(stack, _OURS, postgresql, "churned", chains=many, sessions=many)
        running.load(connections=MANY, seconds=plan.seconds)
        rows = [_churned("before", running, postgresql, plan)]
        _refresh(running, plan.refreshes)
        rows.append(_churned("after", running, postgresql, plan))
    header = [
        *("", "refreshes", "p50 ms, 16", "p99 ms, 16", "table KiB", "indexes KiB", "heap-only updates"),
        *("dead rows", "autovacuums"),
    ]
    return table(header, rows)


def _refresh(running: Running, refreshes: int) -> None:
    """Let two processes run the statements of that many refreshes, without HTTP and signatures."""
    command = [sys.executable, "-m", "benchmarks.churning", str(running.target), str(refreshes)]
    halves = [
        subprocess.Popen([*command, str(half)], cwd=ROOT, env=dict(running.environment)) for half in (0, 1)
    ]
    if any([half.wait() for half in halves]):  # noqa: C419 - both are waited for
        raise RuntimeError("the refreshes failed")
    for half in (0, 1):
        run("benchmarks.churning", str(running.target), "collect", str(half), environment=running.environment)


def _churned(name: str, running: Running, postgresql: PostgreSQL, plan: Plan) -> list[str]:
    seen = state(running.database_url)
    load = observe(running, postgresql, MANY, plan.seconds)
    share = seen["hot"] / seen["updates"] if seen["updates"] else 0
    return [
        name,
        f"{seen['updates']:,}",
        milliseconds(load["p50"]),
        milliseconds(load["p99"]),
        f"{seen['table'] / 1024:,.0f}",
        f"{seen['indexes'] / 1024:,.0f}",
        f"{share:.2%}" if seen["updates"] else "-",
        f"{seen['dead']:,}",
        f"{seen['autovacuums']}",
    ]


def state(database_url: str, name: str = _TABLE) -> dict[str, Any]:
    """Return what PostgreSQL reports about a table."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_force_next_flush()")
        row = connection.execute(
            "SELECT pg_table_size(relid), pg_indexes_size(relid), n_tup_upd, n_tup_hot_upd, n_dead_tup,"
            " autovacuum_count FROM pg_stat_user_tables WHERE relname = %s",
            [name],
        ).fetchone()
    assert row is not None
    return dict(zip(("table", "indexes", "updates", "hot", "dead", "autovacuums"), row, strict=True))
