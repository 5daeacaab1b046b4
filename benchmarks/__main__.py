"""The command line: ``python -m benchmarks [--quick] [PART …]``."""

from __future__ import annotations

import argparse
import os

from benchmarks import report
from benchmarks.comparison import FULL, QUICK, compare
from benchmarks.measuring import PostgreSQL
from benchmarks.servers import SERVERS


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", help="names of servers")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--threads", action="store_true")
    arguments = parser.parse_args()
    url = os.environ.get("POSTGRESQL_URL", "postgres://root@127.0.0.1:5432")
    plan = QUICK if arguments.quick else FULL
    servers = [server for server in SERVERS if not arguments.only or server.name in arguments.only]
    postgresql = PostgreSQL(url)
    print(report.machine(postgresql.version()))
    measured = compare(postgresql, url, plan, servers=servers, threads=arguments.threads)
    print(report.comparison(measured))


main()
