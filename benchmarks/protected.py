"""Protected views and introspection: what a request costs here, and at the peers.

Every site answers in a process of its own (`benchmarks.in_process`). The processes take turns of some
hundred requests, in another order each time, and what is compared is their CPU time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from benchmarks.databases import PostgreSQL
from benchmarks.processes import Process, quotient, take_turns
from benchmarks.report import milliseconds, table
from benchmarks.servers import Server

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


def protect(postgresql: PostgreSQL, plan: Plan) -> str:
    """Measure all sites in turns, and ours with more and more sessions; return the tables."""
    with ExitStack() as stack:
        sites = {server.name: Process(stack, postgresql, server, "protected") for server in _SITES}
        turns = [(site, name) for site in sites.values() for name in site.queries]
        take_turns(turns, rounds=plan.rounds, requests=plan.requests)
    compared = _compared(sites, turns)
    with ExitStack() as stack:
        sizes = {size: Process(stack, postgresql, _SITES[0], "protected", size) for size in plan.sizes}
        spread = [(site, "spread") for site in sizes.values()]
        take_turns(spread, rounds=plan.rounds, requests=plan.requests)
    return f"{compared}\n\n{_grown(sizes)}"


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
        quotients = [quotient(*pair, figure) for figure in ("cpu", "time")]
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
            *(quotient(site.measured["spread"], smallest, figure) for figure in ("cpu", "time")),
        ]
        for size, site in sizes.items()
    ]
    return table(["sessions", "CPU ms", "ms", "CPU, grown", "time, grown"], rows)
