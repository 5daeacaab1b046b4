"""Tries out mutants one after the other, and says what became of each."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib

from tests.mutation.mutants import Mutant
from tests.mutation.reach import Reach
from tests.mutation.stage import Outcome, Stage

Name = tuple[str, str, str, str]


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    outcome: Outcome
    tests: int = 0
    """How many were run, at most."""
    reaching: int = 0
    """How many reach the mutant."""
    reason: str = ""
    """Why it is equivalent."""

    def as_dict(self) -> dict[str, Any]:
        """Return what goes into the report."""
        path, scope, was, becomes = self.mutant.name
        return {
            "outcome": self.outcome.value,
            "file": path,
            "line": self.mutant.lines[0],
            "scope": scope,
            "was": was,
            "becomes": becomes,
            "tests": self.tests,
            "reaching": self.reaching,
            "reason": self.reason,
        }


def read_equivalents(file: Path) -> dict[Name, str]:
    """Return the names of the mutants that no test can or should notice, each with its reason."""
    listed = tomllib.loads(file.read_text()).get("mutant", []) if file.exists() else []
    return {(one["file"], one["scope"], one["was"], one["becomes"]): one["reason"] for one in listed}


def judge(
    mutants: Iterable[Mutant],
    *,
    stage: Stage,
    reach: Reach,
    equivalents: Mapping[Name, str],
    most_seconds: float,
    until: float,
    on_verdict: Callable[[Verdict], None],
) -> list[Verdict]:
    """Try out mutants until a time, by the monotonic clock.

    Args:
        mutants: which.
        stage: where.
        reach: which tests reach them.
        equivalents: those that are not tried.
        most_seconds: how long the tests of one mutant may take, by what they take without any.
        until: when to stop.
        on_verdict: called after each.
    """
    verdicts = []
    for mutant in mutants:
        if time.monotonic() >= until:
            break
        if mutant.name in equivalents:
            verdict = Verdict(mutant, Outcome.EQUIVALENT, reason=equivalents[mutant.name])
        else:
            verdict = _try_out(mutant, stage=stage, reach=reach, most_seconds=most_seconds)
        verdicts.append(verdict)
        on_verdict(verdict)
    return verdicts


def _try_out(mutant: Mutant, *, stage: Stage, reach: Reach, most_seconds: float) -> Verdict:
    reaching = reach.tests_for(mutant)
    if not reaching:
        return Verdict(mutant, Outcome.NOT_REACHED)
    tests = reach.within(reaching, most_seconds)
    outcome = stage.try_out(mutant, tests, seconds=sum(reach.seconds[test] for test in tests))
    return Verdict(mutant, outcome, tests=len(tests), reaching=len(reaching))


def score(verdicts: Iterable[Verdict]) -> float:
    """Return the part of the non-equivalent mutants that the tests have noticed; 1 if there are none."""
    count = Counter(verdict.outcome for verdict in verdicts)
    noticed = count[Outcome.KILLED] + count[Outcome.TIMED_OUT]
    judged = count.total() - count[Outcome.EQUIVALENT]
    return noticed / judged if judged else 1.0


def summary(verdicts: list[Verdict]) -> str:
    """Return the counts in words."""
    count = Counter(verdict.outcome for verdict in verdicts)
    parts = [f"{count[outcome]:,} {outcome.value}" for outcome in Outcome]
    return f"{len(verdicts):,} mutants: {', '.join(parts)}; score {score(verdicts):.1%}"


def write_report(file: Path, verdicts: list[Verdict], *, command: str) -> None:
    """Write every mutant and what became of it, as JSON."""
    report = {
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
        "summary": summary(verdicts),
        "mutants": [verdict.as_dict() for verdict in verdicts],
    }
    file.write_text(json.dumps(report, indent=1) + "\n")
