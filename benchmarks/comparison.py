"""All servers side by side: each in turn, again and again, so that what disturbs one disturbs all."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.databases import DatabaseServer
from benchmarks.measuring import cpu_seconds, is_there, memory_bytes
from benchmarks.servers import SERVERS, Running, Server, start

MANY: Final = 16


@dataclass(frozen=True)
class Plan:
    """How long to measure."""

    rounds: int
    seconds_many: float
    seconds_one: float
    seconds_warm: float


QUICK: Final = Plan(rounds=1, seconds_many=2, seconds_one=1, seconds_warm=1)
# Many short rounds: something that disturbs the machine for some seconds then disturbs all servers alike.
FULL: Final = Plan(rounds=15, seconds_many=2, seconds_one=1, seconds_warm=3)


@dataclass
class Measured:
    """What was measured of one server in all rounds."""

    running: Running
    described: dict[str, Any] = field(default_factory=dict)
    """The statements of one refresh and the JWTs of its answer."""
    many: list[dict[str, Any]] = field(default_factory=list)
    one: list[dict[str, Any]] = field(default_factory=list)

    def median(self, name: str, *, of: str = "many") -> float | None:
        """Return the median over the rounds; None if it could not be measured."""
        seen = [run[name] for run in getattr(self, of) if run[name] is not None]
        return statistics.median(seen) if seen else None


def compare(
    databases: DatabaseServer,
    plan: Plan,
    *,
    servers: Sequence[Server] = SERVERS,
    threads: bool = False,
) -> dict[str, Measured]:
    """Measure servers alternately on one database server; return the measurements by server name."""
    with ExitStack() as stack:
        all_measured = {}
        for server in servers:
            running = started(stack, server, databases, server.name, chains=MANY, threads=threads)
            all_measured[server.name] = Measured(running)
        for measured in all_measured.values():
            measured.running.load(connections=MANY, seconds=plan.seconds_warm)
        databases.checkpoint()
        for measured in all_measured.values():
            # After a checkpoint each page is written to the WAL in full once, which should not be measured.
            measured.running.load(connections=MANY, seconds=plan.seconds_warm)
        for number in range(plan.rounds):
            take_turns(all_measured.values(), databases, many=plan.seconds_many, one=plan.seconds_one)
            print(f"  round {number + 1} of {plan.rounds}", flush=True)
        for measured in all_measured.values():
            measured.described = measured.running.described()
        return all_measured


def started(
    stack: ExitStack, server: Server, databases: DatabaseServer, name: str, **options: Any
) -> Running:
    """Start a server on a database named after it, and make sure that both are removed at the end."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
    database = f"benchmark_{name}"
    databases.create(database)
    stack.callback(databases.drop, database)
    running = start(server, database_url=databases.url(database), folder=folder, **options)
    stack.callback(running.stop)
    return running


def take_turns(servers: Iterable[Measured], databases: DatabaseServer, *, many: float, one: float) -> None:
    """Measure each server once: with many connections and with one, for as many seconds as given.

    The order changes each time, so that what one server leaves behind, such as dirty pages, affects each of
    the others.
    """
    turns = list(servers)
    random.shuffle(turns)
    for measured in turns:
        measured.many.append(observe(measured.running, databases, MANY, many))
        measured.one.append(observe(measured.running, databases, 1, one))


def observe(running: Running, databases: DatabaseServer, connections: int, seconds: float) -> dict[str, Any]:
    """Run the load; return its result and what the server and the database used meanwhile."""
    database = running.database_url.rpartition("/")[2]
    workers = running.workers
    before = sum(map(cpu_seconds, workers))
    database_before = databases.cpu_seconds(database)
    log_before = databases.log_bytes()
    result = running.load(connections=connections, seconds=seconds)
    log_after = databases.log_bytes()
    database_after = databases.cpu_seconds(database)
    server_cpu = sum(map(cpu_seconds, workers)) - before
    if not all(map(is_there, workers)):
        log = running.log.read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{running.server.name}: a worker ended while it was measured: {log}")
    requests = result["requests"]

    def per_refresh(before: float | None, after: float | None) -> float | None:
        return None if before is None or after is None else (after - before) / requests

    return {
        **result,
        "rate": requests / result["elapsed"],
        "server_cpu": server_cpu / requests,
        "database_cpu": per_refresh(database_before, database_after),
        "load_cpu": result["cpu"] / requests,
        "log": per_refresh(log_before, log_after),
        "memory": max(map(memory_bytes, workers)),
        "at": time.time(),
    }
