"""Print what was skipped, what took how long, and as the last line the sum over all test runs.

``summary.py REPORTS STATUS``: the folder REPORTS has a report of each test run (NAME.xml), what tox says of
its environments (*.json), and how long each step took (steps.tsv). STATUS is not 0 if anything failed.
"""  # noqa: INP001

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from pathlib import Path


def main(reports: Path, status: int) -> int:
    """Print everything; return the exit code."""
    runs = {path.stem: ElementTree.parse(path).getroot() for path in sorted(reports.glob("*.xml"))}  # noqa: S314
    never_run = print_skipped(runs)
    print_times(reports)
    print_failed(runs)
    total: Counter[str] = Counter()
    for root in runs.values():
        for suite in root.iter("testsuite"):
            total.update(
                {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
            )
    # An environment that failed without a failing test (lint, types, package, no database) counts as one.
    failed = total["failures"] + total["errors"] + len(never_run) or int(status != 0)
    passed = total["tests"] - total["failures"] - total["errors"] - total["skipped"]
    print(f"{len(runs)} test runs")
    print(f"{passed} passed, {failed} failed, {total['skipped']} skipped")
    return int(failed > 0)


def print_skipped(runs: dict[str, ElementTree.Element]) -> list[str]:
    """Print for what reasons tests were skipped, how many and where; return those that ran nowhere."""
    reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
    skipped, ran = set(), set()
    for run, root in runs.items():
        for case in root.iter("testcase"):
            test = f"{case.get('classname')}::{case.get('name')}"
            reason = case.find("skipped")
            if reason is None:
                ran.add(test)
            else:
                skipped.add(test)
                reasons[reason.get("message", "")][run] += 1
    print("\n=== Skipped")
    for reason, where in sorted(reasons.items()):
        print(f"{reason}:")
        for count in sorted(set(where.values())):
            print(f"    {count:4} in {', '.join(run for run in where if where[run] == count)}")
    never_run = sorted(skipped - ran)
    for test in never_run:
        print(f"FAILED: skipped wherever it was collected: {test}")
    return never_run


def print_failed(runs: dict[str, ElementTree.Element]) -> None:
    """Print where what failed, and the first line of why: the full account is far above."""
    for run, root in runs.items():
        for case in root.iter("testcase"):
            for trouble in (*case.findall("failure"), *case.findall("error")):
                why = (trouble.get("message") or trouble.text or "").strip().partition("\n")[0]
                print(f"FAILED: {run}: {case.get('classname')}::{case.get('name')}: {why[:200]}")


def print_times(reports: Path) -> None:
    """Print a table of seconds: of the steps, and of the environments within them."""
    print("\n=== Seconds")
    for line in (reports / "steps.tsv").read_text().splitlines():
        seconds, result, name = line.split("\t")
        print(f"{float(seconds):7.0f}  {name}{'' if result == '0' else '  FAILED'}")
    for path in sorted(reports.glob("*.json"), reverse=True):
        for name, environment in json.loads(path.read_text())["testenvs"].items():
            result = environment.get("result")
            if result is not None:
                is_well = result["success"] and not result["skipped"]
                print(f"{result['duration']:7.0f}  tox -e {name}{'' if is_well else '  FAILED'}")


sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
