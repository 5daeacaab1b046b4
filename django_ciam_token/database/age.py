"""How old something is that this process keeps."""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from django_ciam_token.conf import ciam_settings

PAUSE_OF_READING: Final = 5.0
"""Seconds between two readings, at the least, while the database is unavailable or a kid is unknown."""


class Instant(NamedTuple):
    """A moment in the life of this process, by two clocks, because either may be wrong.

    The monotonic clock stands still while a virtual machine is suspended; the wall clock can be set.
    """

    monotonic: float
    wall: float

    @classmethod
    def now(cls, *, ago: float = 0) -> Instant:
        """Return the present, or the moment that was some seconds ago."""
        return cls(time.monotonic() - ago, time.time() - ago)

    @classmethod
    def almost_outdated(cls) -> Instant:
        """Return a moment so long ago that what was read then is read again after a short pause."""
        return cls.now(ago=ciam_settings.PROCESS_CACHE_LIFETIME.total_seconds() - PAUSE_OF_READING)

    def is_recent(self) -> bool:
        """Tell whether a process may still use what it read then, by ``PROCESS_CACHE_LIFETIME``."""
        return self.age() < ciam_settings.PROCESS_CACHE_LIFETIME.total_seconds()

    def age(self) -> float:
        """Return how many seconds have passed since, by the clock that says more.

        If the wall clock was set back, nobody knows how many: then it is infinity.
        """
        by_wall_clock = time.time() - self.wall
        return float("inf") if by_wall_clock < 0 else max(time.monotonic() - self.monotonic, by_wall_clock)
