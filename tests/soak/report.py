"""The table of a run, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tests.soak.judging import Finding
from tests.soak.records import Latency, Record, Sample

_MIB: Final = 2**20
_ROWS: Final = 20
_HEADER: Final = (
    *("minute", "memory MiB", "connections", "requests/s", "p50 ms", "p95 ms", "p99 ms"),
    *("sessions", "events", "tables MiB", "indexes MiB", "dead rows"),
)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, of_numbers: bool = True) -> str:
    """Return a table in Markdown; numbers are aligned to the right, but for those in the first column."""
    rule = "---:" if of_numbers else "---"
    lines = [header, ["---", *[rule] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def by_time(record: Record) -> str:
    """Return at most twenty samples of a run, the last one among them."""
    lines = list(zip(record.samples, [None, *record.samples], strict=False))
    step = -(-len(lines) // _ROWS) or 1
    chosen = lines[::-1][::step][::-1]
    return table(_HEADER, [_line(one, before) for one, before in chosen])


def _line(one: Sample, before: Sample | None) -> list[str]:
    every = one.latencies.get("all") or Latency(0, 0.0, 0.0, 0.0)
    seconds = one.at - (before.at if before else 0.0)
    rows = {name: found.rows for name, found in one.tables.items()}
    tables = one.tables.values()
    return [
        f"{one.at / 60:.1f}",
        " + ".join(f"{memory / _MIB:.0f}" for memory in one.memory.values()),
        str(one.connections),
        f"{every.count / seconds:.0f}" if seconds else "-",
        *(f"{quantile * 1000:.1f}" for quantile in (every.p50, every.p95, every.p99)),
        *(f"{rows.get(name, 0):,}" for name in ("refreshtoken", "securityevent")),
        *(f"{sum(sizes) / _MIB:.1f}" for sizes in ([t.size for t in tables], [t.indexes for t in tables])),
        f"{sum(found.dead for found in tables):,}",
    ]


def heading(record: Record) -> str:
    """Say how long the run was, and what it ran on."""
    minutes = record.samples[-1].at / 60 if record.samples else 0.0
    return f"{minutes:.1f} minutes; {record.described}."


def progress(sample: Sample) -> str:
    """Return one line about a sample."""
    every = sample.latencies.get("all") or Latency(0, 0.0, 0.0, 0.0)
    return (
        f"minute {sample.at / 60:.1f}: {every.count:,} answers, p95 {every.p95 * 1000:.0f} ms, "
        f"{sum(sample.memory.values()) / _MIB:.0f} MiB, {sample.connections} connections"
    )


def by_kind(record: Record) -> str:
    """Return how many requests of each kind there were, and how long they took in the median sample."""
    rows = []
    for kind, count in record.outcome.requests.items():
        found = [one.latencies[kind] for one in record.samples if kind in one.latencies]
        quantiles = (sorted(getattr(one, name) for one in found) for name in ("p50", "p95", "p99"))
        rows.append([kind, f"{count:,}", *(_median(times) for times in quantiles)])
    return table(("request", "number", "p50 ms", "p95 ms", "p99 ms"), rows)


def _median(ordered: Sequence[float]) -> str:
    return f"{ordered[len(ordered) // 2] * 1000:.1f}" if ordered else "-"


def meanwhile(happened: Mapping[str, int]) -> str:
    """Say what happened meanwhile, and how often."""
    return "Meanwhile: " + ", ".join(f"{what} {count:,}" for what, count in happened.items()) + "."


def verdict(findings: Sequence[Finding]) -> str:
    """Return what came of each rule."""
    rows = [[finding.rule, finding.verdict.value, finding.seen or "-"] for finding in findings]
    return table(("rule", "verdict", "seen"), rows, of_numbers=False)
