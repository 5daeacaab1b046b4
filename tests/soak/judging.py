"""The rules by which a run is judged, so generous that a machine may also do other things meanwhile.

What grows until it has settled is compared from the second quarter of a run on. If that quarter begins before
things have settled, the run is too short to say anything about it.
"""

from __future__ import annotations

import enum
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tests.soak.records import Outcome, Record, Sample, Table

_MIB: Final = 2**20
# Records of revoked access tokens are kept until five minutes after a token of one minute expired.
SETTLED: Final = 420.0
# Connections are open, and code has been imported that the first request of a kind imports.
SETTLED_LATENCY: Final = 30.0
# By how much the memory of a worker may grow, as a share and in any case.
_MEMORY_SHARE: Final = 0.10
_MEMORY: Final = 8 * _MIB
_LATENCY_FACTOR: Final = 2.0
_LATENCY: Final = 0.010
_TOO_FEW: Final = 200
"""Requests of a kind in a quarter: with fewer, a percentile says little."""
_TABLE_FACTOR: Final = 1.5
_ROWS: Final = 200
_DEAD_ROWS: Final = 2_000
_TABLE_SIZE: Final = _MIB
_UNANSWERED: Final = 0.001


class Verdict(enum.Enum):
    KEPT = "kept"
    BROKEN = "BROKEN"
    TOO_SHORT = "too short to say"


@dataclass(frozen=True)
class Finding:
    """What came of one rule."""

    rule: str
    verdict: Verdict
    seen: str


def judge(record: Record) -> list[Finding]:
    """Apply every rule to a run."""
    samples = record.samples
    return [
        *_of_outcome(record.outcome),
        _workers(samples, record.workers),
        _connections(samples, record.most_connections),
        _memory(samples),
        _latency(samples),
        *(_tables(samples, *rule) for rule in _TABLE_RULES),
    ]


def quarter(samples: Sequence[Sample], number: int) -> list[Sample]:
    """Return the samples of a quarter of the run, from 1 to 4."""
    whole = samples[-1].at if samples else 0.0
    return [one for one in samples if whole * (number - 1) / 4 < one.at <= whole * number / 4]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return by how much a value grows in a second: the line of the least squares."""
    if len({at for at, _ in points}) < 2:
        return 0.0
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def _of_outcome(outcome: Outcome) -> Iterator[Finding]:
    total = sum(outcome.requests.values())
    unused = [kind for kind, count in [*outcome.requests.items(), *outcome.happened.items()] if not count]
    for rule, is_kept, seen in (
        ("no honest client lost", not outcome.lost, f"{outcome.lost} lost"),
        ("nothing wrongly accepted", not outcome.wrongly_accepted, f"{outcome.wrongly_accepted} accepted"),
        ("no answer of 5xx", not outcome.errors, f"{outcome.errors} of {total:,}"),
        ("every answer as promised", not outcome.remarks, "; ".join(outcome.remarks) or "all were"),
        (
            "answers in time, but for one in a thousand",
            outcome.unanswered <= total * _UNANSWERED,
            f"{outcome.unanswered} of {total:,} missing or late",
        ),
        ("everything happened", total > 0 and not unused, f"never: {', '.join(unused)}" if unused else "yes"),
    ):
        yield Finding(rule, Verdict.KEPT if is_kept else Verdict.BROKEN, seen)


def _workers(samples: Sequence[Sample], workers: int) -> Finding:
    seen = {pid for one in samples for pid in one.memory}
    is_kept = len(seen) == workers and all(all(one.memory.values()) for one in samples)
    verdict = Verdict.KEPT if is_kept else Verdict.BROKEN
    return Finding("the same workers all the time", verdict, f"{len(seen)} processes for {workers} workers")


def _connections(samples: Sequence[Sample], most: int) -> Finding:
    seen = max((one.connections for one in samples), default=0)
    verdict = Verdict.KEPT if 0 < seen <= most else Verdict.BROKEN
    return Finding("connections bounded by the threads", verdict, f"{seen} at most, of {most}")


def _memory(samples: Sequence[Sample]) -> Finding:
    rule = "memory of each worker stays"
    if _is_too_short(samples, SETTLED):
        return Finding(rule, Verdict.TOO_SHORT, _of_memory(samples))
    judged = [one for number in (2, 3, 4) for one in quarter(samples, number)]
    span = judged[-1].at - judged[0].at
    verdict = Verdict.KEPT
    for pid in judged[0].memory:
        line = [(one.at, float(one.memory.get(pid, 0))) for one in judged]
        if slope(line) * span > max(_MEMORY, _MEMORY_SHARE * line[0][1]):
            verdict = Verdict.BROKEN
    return Finding(rule, verdict, _of_memory(judged))


def _of_memory(samples: Sequence[Sample]) -> str:
    """Say how much each worker had at first and in the end, and how fast it grew."""
    if not samples:
        return "nothing recorded"
    lines = {pid: [(one.at, float(one.memory.get(pid, 0))) for one in samples] for pid in samples[0].memory}
    return ", ".join(
        f"{line[0][1] / _MIB:.1f} to {line[-1][1] / _MIB:.1f} MiB ({slope(line) * 3600 / _MIB:+.1f} an hour)"
        for line in lines.values()
    )


def _latency(samples: Sequence[Sample]) -> Finding:
    rule = "p95 of the last quarter within twice that of the second"
    if _is_too_short(samples, SETTLED_LATENCY):
        return Finding(rule, Verdict.TOO_SHORT, "")
    worst, verdict = ("", 0.0, 0.0), Verdict.KEPT
    for kind in sorted({kind for one in samples for kind in one.latencies}):
        (few, before), (too_few, after) = (_p95(quarter(samples, number), kind) for number in (2, 4))
        if few or too_few:
            continue
        if after > before * _LATENCY_FACTOR + _LATENCY:
            verdict = Verdict.BROKEN
        if not worst[0] or after * worst[1] > worst[2] * before:
            worst = (kind, before, after)
    if not worst[0]:
        return Finding(rule, Verdict.TOO_SHORT, "too few requests")
    kind, before, after = worst
    return Finding(rule, verdict, f"worst: {kind}, {before * 1000:.1f} to {after * 1000:.1f} ms")


def _p95(samples: Sequence[Sample], kind: str) -> tuple[bool, float]:
    """Return whether there were too few requests, and the median of the samples' 95th percentiles."""
    found = [one.latencies[kind] for one in samples if kind in one.latencies]
    is_too_few = sum(one.count for one in found) < _TOO_FEW
    return is_too_few, statistics.median(one.p95 for one in found) if found else 0.0


def _bytes(table: Table) -> int:
    return table.size + table.indexes


_TABLE_RULES: Final[Sequence[tuple[str, Callable[[Table], int], int]]] = (
    ("rows of each table bounded", lambda table: table.rows, _ROWS),
    ("dead rows of each table bounded", lambda table: table.dead, _DEAD_ROWS),
    ("bytes of each table and its indexes bounded", _bytes, _TABLE_SIZE),
)


def _tables(samples: Sequence[Sample], rule: str, of: Callable[[Table], int], allowance: int) -> Finding:
    """Compare the most that a table had in the second quarter with the most that it had in the last one."""
    if _is_too_short(samples, SETTLED):
        return Finding(rule, Verdict.TOO_SHORT, "")
    grown, worst = [], ("", 0, 0)
    for name in sorted({name for one in samples for name in one.tables}):
        before, after = (
            max((of(one.tables[name]) for one in quarter(samples, number) if name in one.tables), default=0)
            for number in (2, 4)
        )
        if after > before * _TABLE_FACTOR + allowance:
            grown.append(f"{name}: {before:,} to {after:,}")
        if after - before >= worst[2] - worst[1]:
            worst = (name, before, after)
    if grown:
        return Finding(rule, Verdict.BROKEN, "; ".join(grown))
    return Finding(rule, Verdict.KEPT, f"most: {worst[0]}, {worst[1]:,} to {worst[2]:,}")


def _is_too_short(samples: Sequence[Sample], settled: float) -> bool:
    """Tell whether the second quarter begins before things have settled, or a quarter has no sample."""
    return not all(quarter(samples, number) for number in (2, 3, 4)) or samples[-1].at / 4 < settled
