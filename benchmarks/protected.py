"""Protected views and introspection: what a request costs here, and at the peers.

Every site answers in a process of its own (`benchmarks.in_process`). The processes take turns of some
hundred requests, in another order each time, and what is compared is their CPU time.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.databases import PostgreSQL
from benchmarks.report import milliseconds, table
from benchmarks.servers import ROOT, Server, environment_of

_MD5: Final = {"BENCHMARK_HASHER": "md5"}
_SITES: Final = (
    Server(name="ours", label="ours", site="ours"),
    Server(name="simplejwt", label="simplejwt", site="simplejwt"),
    Server(name="toolkit", label="oauth-toolkit, MD5", site="oauth_toolkit", environment=_MD5),
)
# What is compared: ours, the peer's, and at most how many times the CPU time it should take.
_RATIOS: Final = (
    ("checked", "simplejwt", "checked", 0.85),
    ("checked, new tokens", "simplejwt", "checked, new tokens", 0.85),
    ("checked", "toolkit", "checked", 0.45),
    ("stateless", "simplejwt", "stateless", 1.0),
    ("stateless, new tokens", "simplejwt", "stateless, new tokens", 1.0),
    ("introspect", "toolkit", "introspect", 1 / 3),
)


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    rounds: int
    requests: int
    sizes: Sequence[int]
    """Numbers of sessions in the database."""


QUICK: Final = Plan(rounds=1, requests=20, sizes=(1_000, 5_000))
FULL: Final = Plan(rounds=15, requests=200, sizes=(10_000, 1_000_000, 10_000_000))


class Process:
    """A site that waits for orders."""

    def __init__(self, stack: ExitStack, databases: PostgreSQL, server: Server, sessions: int = 0) -> None:
        name = f"benchmark_protected_{server.name}_{sessions}"
        databases.create(name)
        stack.callback(databases.drop, name)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.in_process", server.site, str(sessions)],
            cwd=ROOT,
            env=environment_of(server, databases.url(name), folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(self._end)
        self.label = server.label
        self.queries: Mapping[str, int] = self._answer()
        self.measured: dict[str, list[dict[str, float]]] = defaultdict(list)

    def measure(self, name: str, requests: int) -> None:
        """Let it answer so many requests."""
        assert self._process.stdin is not None
        print(json.dumps([name, requests]), file=self._process.stdin, flush=True)
        self.measured[name].append(self._answer())

    def median(self, name: str, figure: str) -> float:
        """Return the median over the rounds, in seconds for a request."""
        return statistics.median(run[figure] for run in self.measured[name])

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a site ended with {self._process.wait()}")
        return json.loads(line)

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def protect(postgresql: PostgreSQL, plan: Plan) -> str:
    """Measure all sites in turns, and ours with more and more sessions; return the tables."""
    with ExitStack() as stack:
        sites = {server.name: Process(stack, postgresql, server) for server in _SITES}
        turns = [(site, name) for site in sites.values() for name in site.queries]
        _take_turns(turns, plan)
    compared = _compared(sites, turns)
    with ExitStack() as stack:
        sizes = {size: Process(stack, postgresql, _SITES[0], size) for size in plan.sizes}
        _take_turns([(site, "spread") for site in sizes.values()], plan)
    return f"{compared}\n\n{_grown(sizes)}"


def _take_turns(turns: list[tuple[Process, str]], plan: Plan) -> None:
    for number in range(plan.rounds):
        for site, name in random.sample(turns, len(turns)):
            site.measure(name, plan.requests)
        print(f"  round {number + 1} of {plan.rounds}", flush=True)


def _compared(sites: Mapping[str, Process], turns: list[tuple[Process, str]]) -> str:
    rows = [
        [
            f"{site.label}: {name}",
            milliseconds(site.median(name, "cpu")),
            milliseconds(site.median(name, "time")),
            str(site.queries[name]),
        ]
        for site, name in turns
    ]
    ratios = []
    for mine, peer, theirs, aim in _RATIOS:
        pair = sites["ours"].measured[mine], sites[peer].measured[theirs]
        quotients = [_quotient(*pair, figure) for figure in ("cpu", "time")]
        ratios.append([f"{mine} / {sites[peer].label}: {theirs}", *quotients, f"{aim:.2g}"])
    return "\n\n".join(
        (
            table(["request", "CPU ms", "ms", "statements"], rows),
            table(["ours divided by the peer", "CPU", "time", "aim, CPU"], ratios),
        )
    )


def _grown(sizes: Mapping[int, Process]) -> str:
    smallest = next(iter(sizes.values())).measured["spread"]
    rows = [
        [
            f"{size:,}",
            *(milliseconds(site.median("spread", figure)) for figure in ("cpu", "time")),
            *(_quotient(site.measured["spread"], smallest, figure) for figure in ("cpu", "time")),
        ]
        for size, site in sizes.items()
    ]
    return table(["sessions", "CPU ms", "ms", "CPU, grown", "time, grown"], rows)


def _quotient(ours: list[dict[str, float]], theirs: list[dict[str, float]], figure: str) -> str:
    """Divide round by round; return the median and the range of the middle half of the rounds."""
    quotients = sorted(a[figure] / b[figure] for a, b in zip(ours, theirs, strict=True))
    aside = len(quotients) // 4
    median = statistics.median(quotients)
    return f"{median:.2f} ({quotients[aside]:.2f} to {quotients[-1 - aside]:.2f})"
