"""``python -m tests.faults``: run the faults, print the table, exit non-zero if a promise was broken."""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import replace

from tests.faults import campaign, table
from tests.faults.servers import DATABASES
from tests.faults.stage import Row


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the seed of everything random; default 1")
    parser.add_argument("--quick", action="store_true", help="a short run of a few minutes")
    parser.add_argument("--databases", nargs="+", choices=DATABASES, default=list(DATABASES))
    parser.add_argument("--faults", nargs="+", type=int, help="run only these groups")
    parser.add_argument("--clients", type=int)
    parser.add_argument("--refreshes", type=int, help="the least number of refreshes per group of faults")
    arguments = parser.parse_args()

    size = campaign.QUICK if arguments.quick else campaign.FULL
    size = replace(
        size,
        clients=arguments.clients or size.clients,
        refreshes=arguments.refreshes or size.refreshes,
    )

    def tell(group: int, row: Row) -> None:
        print(" ".join(table.cells(group, row)), flush=True)
        for problem in row.problems:
            print(f"    {problem}", flush=True)

    # A signal that ends the harness must end its servers as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    rows = campaign.run(
        arguments.databases,
        size=size,
        seed=arguments.seed,
        quick=arguments.quick,
        chosen=lambda fault: not arguments.faults or fault.group in arguments.faults,
        tell=tell,
    )
    print(table.render(rows))
    print(f"Attempts that the databases refused:\n{table.render_refusals(rows)}")
    broken = sum(bool(row.problems) for _, row in rows)
    print(f"{len(rows)} rows, {broken} with a broken promise; seed {arguments.seed}")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
