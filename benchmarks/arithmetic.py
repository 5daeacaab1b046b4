"""What many sessions need, from the measured cost of one refresh: a table of docs/explanation/scaling.md.

    python benchmarks/arithmetic.py [--web-ms 2.0] [--database-ms 0.34] [--wal-bytes 280] [--every 300] …

Every assumption is an option; `--help` lists them. This only multiplies: nothing is measured here.
"""

from __future__ import annotations

import argparse
import math

OPTIONS = {
    "web-ms": (2.0, "CPU time of the web process for one refresh"),
    "database-ms": (0.34, "CPU time of the database for one refresh"),
    "wal-bytes": (280, "bytes of WAL for one refresh, without the images of whole pages"),
    "row-bytes": (482, "bytes of a row in the table, free space included"),
    "index-bytes": (108, "bytes of a row in all indexes"),
    "rows-on-page": (17, "rows on a page of 8 KiB"),
    "page-image-bytes": (6_700, "extra bytes of WAL for the first change of a page after a checkpoint"),
    "checkpoint": (900, "seconds from one checkpoint to the next"),
    "every": (300, "seconds between two refreshes of an application that is open"),
    "hours": (2, "hours a day that an application is open"),
    "peak": (3, "how many times busier the busiest hour is than the average"),
    "rows-per-session": (2, "rows for each live session: ended ones are kept for ENDED_RETENTION"),
    "busy": (0.6, "share of its time that a core or a worker should be busy at the peak"),
    "request-ms": (6, "how long a worker is busy with one refresh, including the wait for the COMMIT"),
    "cores": (32, "cores of one database server"),
    "rows-per-part": (25_000_000, "largest number of rows in one partition"),
}
HEADER = (
    "live sessions",
    "rows",
    "table",
    "indexes",
    "refreshes/s, average",
    "peak",
    "web cores",
    "database cores",
    "WAL/s at the peak",
    "connections",
    "database servers",
    "partitions on each",
    "freezing every",
)


def line(sessions: int, of: argparse.Namespace) -> list[str]:
    average = sessions * of.hours * 3600 / of.every / 86_400
    peak = average * of.peak
    rows = sessions * of.rows_per_session
    pages = sessions / of.rows_on_page
    # How many different pages these refreshes change between two checkpoints, if they are spread evenly.
    touched = pages * -math.expm1(-peak * of.checkpoint / pages)
    wal = peak * of.wal_bytes + touched * of.page_image_bytes / of.checkpoint
    database_cores = peak * of.database_ms / 1000 / of.busy
    servers = math.ceil(database_cores / of.cores)
    parts = 2 ** math.ceil(math.log2(max(1, rows / servers / of.rows_per_part)))
    # autovacuum_freeze_max_age: after this many transactions, each table is scanned as a whole.
    freezing = 200_000_000 / (average / servers) / 3600
    return [
        short(sessions),
        short(rows),
        short(rows * of.row_bytes) + "B",
        short(rows * of.index_bytes) + "B",
        f"{average:,.0f}",
        f"{peak:,.0f}",
        f"{math.ceil(peak * of.web_ms / 1000 / of.busy):,}",
        f"{math.ceil(database_cores):,}",
        short(wal) + "B",
        f"{math.ceil(peak * of.request_ms / 1000 / of.busy):,}",
        str(servers),
        str(parts) if parts > 1 else "not partitioned",
        f"{freezing:.0f} h",
    ]


def short(number: float) -> str:
    """Write 12,345,678 as 12 M."""
    for unit in ("", "k", "M", "G", "T"):
        if number < 999.5 or unit == "T":
            break
        number /= 1000
    return f"{number:.0f} {unit}" if number >= 10 or number == int(number) else f"{number:.1f} {unit}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, nargs="+", default=[1_000_000, 10_000_000, 1_000_000_000])
    for name, (default, meaning) in OPTIONS.items():
        parser.add_argument(f"--{name}", type=float, default=default, help=f"{meaning} ({default:g})")
    options = parser.parse_args()
    lines = [line(sessions, options) for sessions in options.sessions]
    # One column for each number of sessions: with this many values, rows are easier to read.
    table = [HEADER, *lines]
    for index, row in enumerate(zip(*table, strict=True)):
        print("| " + " | ".join(cell.strip() for cell in row) + " |")
        if index == 0:
            print("|---" + "|---:" * len(lines) + "|")


if __name__ == "__main__":
    main()
