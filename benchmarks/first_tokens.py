"""What it costs to begin: the exchange of a code, and client credentials, here and at the peers.

As in `benchmarks.protected`, every site answers in a process of its own, and the processes take turns. All
clients have a secret, and all codes a code_challenge. One worker that is never idle makes as many requests in
a second as the time of one goes into it, so what is compared is that time.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    Server(
        name="unaudited",
        label="ours, no audit trail",
        site="ours",
        environment={"BENCHMARK_AUDIT_TRAIL": "0"},
    ),
    # On some processors RS256 takes longer than the rest of a request. What the toolkit issues for client
    # credentials is not signed at all.
    Server(name="es256", label="ours, ES256", site="ours", environment={"BENCHMARK_ALGORITHM": "ES256"}),
    Server(name="authlib", label="Authlib", site="authlib", environment={"AUTHLIB_INSECURE_TRANSPORT": "1"}),
    Server(name="allauth", label="allauth idp, MD5", site="allauth", environment=_MD5),
    Server(name="toolkit", label="oauth-toolkit, MD5", site="oauth_toolkit", environment=_MD5),
)
# At least how many times the peer's throughput it should have.
_AIMS: Final = {"authlib": "1.5", "toolkit": "4"}


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    rounds: int
    requests: int


QUICK: Final = Plan(rounds=1, requests=20)
FULL: Final = Plan(rounds=15, requests=100)


def begin(postgresql: PostgreSQL, plan: Plan) -> str:
    """Measure all sites in turns; return the tables."""
    with ExitStack() as stack:
        sites = {server.name: Process(stack, postgresql, server, "first_tokens") for server in _SITES}
        turns = [(site, name) for site in sites.values() for name in site.queries]
        take_turns(turns, rounds=plan.rounds, requests=plan.requests)
    rows = [
        [
            f"{site.label}: {name}",
            *(milliseconds(site.median(name, figure)) for figure in ("cpu", "time")),
            str(site.queries[name]),
        ]
        for site, name in turns
    ]
    return f"{table(['request', 'CPU ms', 'ms', 'statements'], rows)}\n\n{_compared(sites)}"


def _compared(sites: Mapping[str, Process]) -> str:
    ours = [site for site in sites.values() if site.label.startswith("ours")]
    rows = []
    for name in sites["ours"].queries:
        for peer in (peer for peer in sites if sites[peer] not in ours):
            for site in ours:
                pair = sites[peer].measured[name], site.measured[name]
                quotients = [quotient(*pair, figure) for figure in ("time", "cpu")]
                label = f"{name}: {site.label} / {sites[peer].label}"
                rows.append([label, *quotients, _AIMS.get(peer, "")])
    return table(["throughput, divided by the peer's", "by time", "by CPU time", "aim"], rows)
