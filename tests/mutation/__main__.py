"""Puts small defects into the core and tells which the tests miss: ``python -m tests.mutation``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Final

from tests.mutation.campaign import Verdict, judge, read_equivalents, summary, write_report
from tests.mutation.mutants import CORE, Mutant, files_of_core, mutants_of, sample
from tests.mutation.reach import Reach
from tests.mutation.stage import Outcome, Stage

ROOT: Final = Path(__file__).resolve().parents[2]
# They start servers or other suites, and take minutes.
_LEFT_OUT: Final = (
    "browser",
    "client_libraries",
    "faults",
    "fuzz",
    "hosts",
    "interleavings",
    "migration",
    "mutation",
)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--sample", type=int, default=300, help="so many mutants; 0 for all")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument(
        "--only", nargs="+", default=CORE, help="files or folders below the package; all mutants"
    )
    parser.add_argument(
        "--again", type=Path, help="the survivors of a report, with all tests that reach them"
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--seconds", type=float, default=60, help="of tests, for each mutant at most")
    parser.add_argument("--keep-record", action="store_true", help="of which test reaches which line")
    parser.add_argument("--folder", type=Path, default=ROOT / ".tox" / "mutation", help="for what is kept")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    parser.add_argument("--package", default="django_ciam_token", help=argparse.SUPPRESS)
    parser.add_argument("--without-database", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--arguments", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    chosen = _chosen(options)
    stage = Stage(
        options.root,
        options.folder.resolve(),
        arguments=[*options.arguments.split(), *(f"--ignore=tests/{name}" for name in _LEFT_OUT)],
        database=not options.without_database,
    )
    stage.make_database()
    if not (options.keep_record and stage.seconds.exists()):
        print("recording which test reaches which line", flush=True)
        stage.record(["tests"], package=options.package)
    reach = Reach.recorded(stage.coverage, stage.seconds, root=stage.project)
    report = options.folder / "report.json"
    verdicts = judge(
        chosen,
        stage=stage,
        reach=reach,
        equivalents=read_equivalents(options.root / "tests" / "mutation" / "equivalents.toml"),
        most_seconds=float("inf") if options.again else options.seconds,
        until=time.monotonic() + options.minutes * 60,
        on_verdict=_print,
    )
    write_report(report, verdicts, command=" ".join(["python -m tests.mutation", *sys.argv[1:]]))
    print(f"{summary(verdicts)}\n{report}")
    return 0


def _chosen(options: argparse.Namespace) -> list[Mutant]:
    files = files_of_core(options.root, options.package, options.only)
    mutants = mutants_of(options.root, files)
    if options.again:
        found = json.loads(options.again.read_text())["mutants"]
        names = {
            (one["file"], one["scope"], one["was"], one["becomes"])
            for one in found
            if one["outcome"] == Outcome.SURVIVED.value
        }
        return [mutant for mutant in mutants if mutant.name in names]
    number = options.sample if options.only is CORE else 0
    return sample(mutants, number or None, seed=options.seed)


def _print(verdict: Verdict) -> None:
    if verdict.outcome in {Outcome.SURVIVED, Outcome.NOT_REACHED}:
        ran = f"{verdict.tests} of {verdict.reaching} tests" if verdict.tests else "no test"
        print(f"{verdict.outcome.value} ({ran}): {verdict.mutant}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
