"""Every order of two or three operations at once, on databases: ``python -m tests.interleavings``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

URLS = {
    "sqlite": "",
    "postgresql": os.environ.get("POSTGRESQL_URL", "postgres://root@127.0.0.1:5432") + "/interleavings",
    "mariadb": os.environ.get("MARIADB_URL", "mysql://root@127.0.0.1:3306") + "/interleavings",
}
COLUMNS = (
    "groups", "interleavings", "cut_short", "crashes", "possible_crashes", "blocked", "violations"
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.interleavings", description=__doc__)
    parser.add_argument("--databases", nargs="+", choices=URLS, default=list(URLS))
    parser.add_argument("--orders", type=int, default=10_000, help="of one group, at most")
    parser.add_argument(
        "--crashes",
        type=int,
        default=100_000,
        help="of one group, at most: first one of each kind at each step, then a seeded sample",
    )
    parser.add_argument("--at-once", type=int, default=2, help="how many operations are a group")
    parser.add_argument("--groups", type=int, help="a seeded sample of so many; without it, all")
    parser.add_argument("--only", metavar="WORDS", help="groups with an operation that has this in its name")
    parser.add_argument("--isolation", nargs="+", metavar="LEVEL", help="only these levels")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for each level of isolation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--one", choices=URLS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_on(options)))
        return 0
    rows: list[dict[str, Any]] = []
    for database in options.databases:
        # The settings name one database for each process.
        environment = {
            **os.environ,
            "DATABASE_URL": URLS[database],
            "DJANGO_SETTINGS_MODULE": "tests.settings",
        }
        command = [sys.executable, "-m", "tests.interleavings", "--one", database, *sys.argv[1:]]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        rows += json.loads(done.stdout)
    print(_table(rows))
    return int(any(row["violations"] for row in rows))


def _on(options: argparse.Namespace) -> list[dict[str, Any]]:
    import django

    django.setup()
    from django.db import connection

    from tests.interleavings.campaign import Campaign, Size, all_groups, sample
    from tests.interleavings.databases import LEVELS

    groups = all_groups(size=options.at_once)
    if options.only:
        groups = [group for group in groups if any(options.only in operation.name for operation in group)]
    # In an order of their own even if all are tried: a run that is ended early has tried some of each kind.
    groups = sample(groups, options.groups or len(groups), seed=options.seed)
    size = Size(orders=options.orders, crashes=options.crashes, seed=options.seed)
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    rows = []
    for level in LEVELS[connection.vendor]:
        if options.isolation and level not in options.isolation:
            continue
        with Campaign(level, size=options.at_once) as campaign:
            counts = campaign.try_all(groups, size, seconds=options.seconds, report=_say)
        rows.append(
            {"database": options.one, "isolation": level}
            | {column: getattr(counts, column) for column in COLUMNS}
        )
        _say(f"{options.one}, {level}: {[rows[-1][column] for column in COLUMNS]}")
    connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)
    return rows


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _table(rows: list[dict[str, Any]]) -> str:
    lines = ["| database | isolation | " + " | ".join(COLUMNS).replace("_", " ") + " |"]
    lines.append("| - | - |" + " -: |" * len(COLUMNS))
    for row in rows:
        counts = " | ".join(f"{row[column]:,}" for column in COLUMNS)
        lines.append(f"| {row['database']} | {row['isolation']} | {counts} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
