"""For how long the database was unavailable, as far as this process noticed.

A rotation whose COMMIT broke may have happened although it was answered 503. The client then repeats its
request, as it was asked to, and the database may not answer before the grace period is over. Such time is the
service's, not the client's.

One interval for each database is kept, in this process alone. It only ever makes a judgement milder. A
process that had no request during an outage does not know of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

# An outage is taken to end so many seconds after the last refusal if nothing was asked of the database since:
# otherwise a single refusal of a process that then idles for an hour would count as an hour.
_ASSUMED_AFTER_REFUSAL: Final = 5.0


@dataclass
class _Outage:
    """By the monotonic clock, in seconds."""

    began_at: float
    refused_at: float
    ended_at: float | None = None

    def end(self) -> float:
        """Return when it ended, or would have ended if nobody had noticed."""
        return min(self.ended_at or time.monotonic(), self.refused_at + _ASSUMED_AFTER_REFUSAL)


_latest: Final[dict[str, _Outage]] = {}


def refused(using: str, *, asked_at: float) -> None:
    """Note that a database refused every attempt.

    Args:
        using: its alias.
        asked_at: when the first attempt began, by the monotonic clock.
    """
    outage = _latest.get(using)
    if outage is None or outage.ended_at is not None or outage.end() < asked_at:
        outage = _latest[using] = _Outage(began_at=asked_at, refused_at=asked_at)
    outage.refused_at = time.monotonic()


def answered(using: str) -> None:
    """Note that a database answers; costs one look-up while there was no outage."""
    outage = _latest.get(using)
    if outage is not None and outage.ended_at is None:
        outage.ended_at = time.monotonic()


def unavailable_within(span: timedelta, *, using: str) -> timedelta:
    """Return for how much of the latest span of time the database was unavailable in its last outage."""
    outage = _latest.get(using)
    if outage is None:
        return timedelta(0)
    begin = max(outage.began_at, time.monotonic() - span.total_seconds())
    return timedelta(seconds=max(0.0, outage.end() - begin))


def forget() -> None:
    """Forget all outages."""
    _latest.clear()
