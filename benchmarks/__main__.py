"""The command line: ``python -m benchmarks [--quick] [--parts PART …] [--only SERVER …] [--database …]``."""

from __future__ import annotations

import argparse
import os
from contextlib import closing
from dataclasses import replace

from benchmarks import first_tokens, growth, protected, report
from benchmarks.arriving import arrive
from benchmarks.comparison import FULL, QUICK, compare
from benchmarks.databases import DatabaseServer, MariaDB, PostgreSQL, SQLite
from benchmarks.purge import purge
from benchmarks.servers import SERVERS

PARTS = ("comparison", "first-tokens", "protected-views", "growth", "churn", "purge", "arriving")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three minutes, to see that everything works")
    parser.add_argument("--only", nargs="*", help="names of servers")
    parser.add_argument("--rounds", type=int, help="how often each is measured; 15 by default, 1 if quick")
    parser.add_argument("--sizes", type=int, nargs="+", help="numbers of sessions behind protected views")
    parser.add_argument("--threads", action="store_true", help="gthread workers instead of sync ones")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="all by default")
    parser.add_argument(
        "--database",
        choices=("postgresql", "mariadb", "sqlite"),
        default="postgresql",
        help="PostgreSQL by default; on the others there is only the comparison, without the floor",
    )
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else FULL
    if arguments.rounds:
        plan = replace(plan, rounds=arguments.rounds)
    servers = [server for server in SERVERS if not arguments.only or server.name in arguments.only]
    parts = tuple(arguments.parts or PARTS)
    if arguments.database != "postgresql":
        if set(arguments.parts or ()) - {"comparison"}:
            parser.error("only the comparison runs on other databases than PostgreSQL")
        parts = ("comparison",)
        servers = [server for server in servers if not server.needs_postgresql]
    with closing(_database_server(arguments.database)) as databases:
        print(report.machine(databases.version()), flush=True)
        if "comparison" in parts:
            measured = compare(databases, plan, servers=servers, threads=arguments.threads)
            print(report.comparison(measured), flush=True)
        if isinstance(databases, PostgreSQL) and "first-tokens" in parts:
            first = first_tokens.QUICK if arguments.quick else first_tokens.FULL
            if arguments.rounds:
                first = replace(first, rounds=arguments.rounds)
            print(first_tokens.begin(databases, first), flush=True)
        if isinstance(databases, PostgreSQL) and "protected-views" in parts:
            views = protected.QUICK if arguments.quick else protected.FULL
            if arguments.rounds:
                views = replace(views, rounds=arguments.rounds)
            if arguments.sizes:
                views = replace(views, sizes=arguments.sizes)
            print(protected.protect(databases, views), flush=True)
        if isinstance(databases, PostgreSQL):
            _grow(databases, parts, is_quick=arguments.quick)


def _database_server(name: str) -> DatabaseServer:
    if name == "sqlite":
        return SQLite()
    if name == "mariadb":
        return MariaDB(os.environ.get("MARIADB_URL", "mysql://root@127.0.0.1:3306"))
    return PostgreSQL(os.environ.get("POSTGRESQL_URL", "postgres://root@127.0.0.1:5432"))


def _grow(postgresql: PostgreSQL, parts: tuple[str, ...], *, is_quick: bool) -> None:
    plan = growth.QUICK if is_quick else growth.FULL
    if "growth" in parts:
        print(growth.grow(postgresql, plan), flush=True)
    if "churn" in parts:
        print(growth.churn(postgresql, plan), flush=True)
    if "purge" in parts:
        print(purge(postgresql, 20_000 if is_quick else 1_000_000), flush=True)
    if "arriving" in parts:
        print(arrive(postgresql, 20_000 if is_quick else 1_000_000), flush=True)


main()
