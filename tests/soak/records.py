"""What a run records: one sample a minute, and what came of everything at the end. It can be kept as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Table:
    """A table at one moment."""

    rows: int
    dead: int
    """Versions of rows that nobody can see any more, as PostgreSQL estimates them."""
    size: int
    """Bytes, without the indexes."""
    indexes: int
    """Bytes."""


@dataclass(frozen=True)
class Latency:
    """How long the answers of one kind took since the last sample, in seconds."""

    count: int
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """Return the percentiles of at least one time."""
        ordered = sorted(seconds)
        return cls(len(ordered), *(_percentile(ordered, share) for share in (0.50, 0.95, 0.99)))


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True)
class Sample:
    """One moment of a run."""

    at: float
    """Seconds since the load began."""
    memory: Mapping[str, int]
    """The resident memory of each worker in bytes, by process id."""
    connections: int
    """Open connections to the site's database, without the one that counts them."""
    tables: Mapping[str, Table]
    latencies: Mapping[str, Latency]


@dataclass(frozen=True)
class Outcome:
    """What came of all requests of a run, and what happened meanwhile."""

    requests: Mapping[str, int]
    """How many were sent, by kind."""
    happened: Mapping[str, int]
    """How often keys and secrets were rotated, rows purged and passwords changed."""
    unanswered: int = 0
    """Answers that never came, or too late."""
    errors: int = 0
    """Answers of 5xx, 503 included: here nothing fails that would excuse one."""
    lost: int = 0
    """Honest clients that have no working token any more."""
    wrongly_accepted: int = 0
    remarks: Sequence[str] = ()
    """Each answer that was another than it should be, and each internal error in the log; the first few."""


@dataclass(frozen=True)
class Record:
    """A whole run."""

    workers: int
    most_connections: int
    """How many connections there may be: one for each thread of each worker, and a few others."""
    samples: Sequence[Sample]
    outcome: Outcome
    described: str = field(default="", kw_only=True)
    """The size of the load, and what it ran on."""

    def written(self) -> str:
        """Return it as JSON, which `read` takes."""
        return json.dumps(asdict(self))


def read(text: str) -> Record:
    """Return a record that was written as JSON."""
    found = json.loads(text)
    samples = [_sample(one) for one in found.pop("samples")]
    return Record(**found | {"samples": samples, "outcome": Outcome(**found["outcome"])})


def _sample(found: Mapping[str, Any]) -> Sample:
    tables = {name: Table(**table) for name, table in found["tables"].items()}
    latencies = {kind: Latency(**latency) for kind, latency in found["latencies"].items()}
    return Sample(found["at"], found["memory"], found["connections"], tables, latencies)


def resident_memory(status: str) -> int:
    """Return the bytes of resident memory from the text of ``/proc/PID/status``; 0 for one that has ended."""
    found = re.search(r"^VmRSS:\s*(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
