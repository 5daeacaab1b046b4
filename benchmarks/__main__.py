"""The command line: ``python -m benchmarks [--quick] [--parts PART …] [--only SERVER …]``."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace

from benchmarks import growth, report
from benchmarks.comparison import FULL, QUICK, compare
from benchmarks.measuring import PostgreSQL
from benchmarks.purge import purge
from benchmarks.servers import SERVERS


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three minutes, to see that all of it works")
    parser.add_argument("--only", nargs="*", help="names of servers")
    parser.add_argument("--rounds", type=int, help="how often each is measured; 5 if left out, 1 if quick")
    parser.add_argument("--threads", action="store_true", help="gthread workers instead of sync ones")
    parts = ("comparison", "growth", "churn", "purge")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    arguments = parser.parse_args()
    url = os.environ.get("POSTGRESQL_URL", "postgres://root@127.0.0.1:5432")
    plan = QUICK if arguments.quick else FULL
    if arguments.rounds:
        plan = replace(plan, rounds=arguments.rounds)
    servers = [server for server in SERVERS if not arguments.only or server.name in arguments.only]
    postgresql = PostgreSQL(url)
    print(report.machine(postgresql.version()))
    grown = growth.QUICK if arguments.quick else growth.FULL
    if "comparison" in arguments.parts:
        measured = compare(postgresql, url, plan, servers=servers, threads=arguments.threads)
        print(report.comparison(measured), flush=True)
    if "growth" in arguments.parts:
        print(growth.grow(postgresql, url, grown), flush=True)
    if "churn" in arguments.parts:
        print(growth.churn(postgresql, url, grown), flush=True)
    if "purge" in arguments.parts:
        print(purge(postgresql, url, 20_000 if arguments.quick else 1_000_000), flush=True)


main()
