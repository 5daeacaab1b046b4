"""``python -m tests.soak``: run for an hour, print the tables, exit non-zero if a rule was broken."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from tests.soak import report
from tests.soak.judging import Verdict, judge
from tests.soak.records import Record, Sample, read


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long; default 60")
    parser.add_argument("--clients", type=int, default=30, help="how many stay signed in; default 30")
    parser.add_argument("--workers", type=int, default=2, help="of gunicorn; default 2")
    parser.add_argument("--threads", type=int, default=4, help="of each worker; default 4")
    parser.add_argument("--seed", type=int, default=1, help="the seed of everything random; default 1")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write everything recorded to this file")
    parser.add_argument("--again", type=Path, metavar="FILE", help="only judge what was kept")
    arguments = parser.parse_args()
    if arguments.again:
        return _conclude(read(arguments.again.read_text()))
    # A signal that ends the harness must end its servers as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    record = _run(arguments)
    if arguments.keep:
        arguments.keep.write_text(record.written())
    return _conclude(record)


def _run(arguments: argparse.Namespace) -> Record:
    from tests.soak import running

    def tell(sample: Sample) -> None:
        print(report.progress(sample), flush=True)

    size = running.Size(
        seconds=arguments.minutes * 60,
        clients=arguments.clients,
        workers=arguments.workers,
        threads=arguments.threads,
        seed=arguments.seed,
    )
    return running.run(size, tell)


def _conclude(record: Record) -> int:
    findings = judge(record)
    parts = (
        report.heading(record),
        report.by_time(record),
        report.by_kind(record),
        report.meanwhile(record.outcome.happened),
        report.verdict(findings),
    )
    print("\n" + "\n\n".join(parts))
    return int(any(finding.verdict is Verdict.BROKEN for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
