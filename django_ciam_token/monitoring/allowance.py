"""How many events may be written that people can cause as often as they like."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final, NamedTuple

_KEYS_REMEMBERED: Final = 10_000


class _Left(NamedTuple):
    number: float
    at: float
    """By the monotonic clock."""


class Allowance:
    """A number of events at once, and then one in a while, in this process.

    Args:
        at_once: how many may come without a pause.
        every: after how many seconds there may be one more.
    """

    def __init__(self, *, at_once: int, every: float) -> None:
        self._at_once = at_once
        self._every = every
        self.forget()

    def forget(self) -> None:
        """Begin anew. After a fork a thread that does not exist here may hold the parent's lock."""
        self._lock = threading.Lock()
        # What was asked for last is at the end.
        self._left: OrderedDict[Hashable, _Left] = OrderedDict()

    def take(self, key: Hashable) -> bool:
        """Tell whether there may be another event, and if so, count it.

        Args:
            key: of what there may be so many; the number of keys that are remembered is limited.
        """
        now = time.monotonic()
        with self._lock:
            before = self._left.pop(key, _Left(self._at_once, now))
            left = min(self._at_once, before.number + (now - before.at) / self._every)
            is_allowed = left >= 1
            self._left[key] = _Left(left - 1 if is_allowed else left, now)
            if len(self._left) > _KEYS_REMEMBERED:
                self._left.popitem(last=False)
        return is_allowed
