"""Slowing down clients that keep failing, and nobody else."""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Sequence
from typing import Final

from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from django_ciam_token.conf import ciam_settings

logger = logging.getLogger("django_ciam_token")

_MINUTE: Final = 60


class FailureThrottle(BaseThrottle):
    """Counts the failures of one client from one address, in Django's cache.

    A request is never refused because others failed. One address and one client_id may stand for a web server
    with ten thousand users, where some sessions have expired. Or they may stand for a group of servers, where
    one server has the wrong secret. Only a failing request is itself answered 429, after too many failures.
    """

    cache = cache

    def timer(self) -> float:
        """Return the time in seconds, by a clock that all hosts share."""
        return time.time()

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Let every request through."""
        return True

    def is_exceeded(self, *, client_id: str, address: str | None) -> bool:
        """Tell whether there were too many failures in the last minute."""
        limit = ciam_settings.FAILURES_PER_MINUTE
        return limit is not None and len(self._read(client_id, address)) >= limit

    def count(self, *, client_id: str, address: str | None) -> int | None:
        """Count a failure. If there were too many before it, return after how many seconds to try again."""
        limit = ciam_settings.FAILURES_PER_MINUTE
        if limit is None:
            return None
        failures = self._read(client_id, address)
        if len(failures) >= limit:
            return max(1, math.ceil(_MINUTE - (self.timer() - failures[-1])))
        self._write(client_id, address, [self.timer(), *failures])
        return None

    def _key(self, client_id: str, address: str | None) -> str:
        # Hashed, because a request may name a client_id of any length and with any characters.
        ident = hashlib.sha256(f"{client_id}\n{address}".encode()).hexdigest()
        return f"django_ciam_token_failures:{ident}"

    def _read(self, client_id: str, address: str | None) -> list[float]:
        """Return the times of the failures in the last minute, newest first."""
        try:
            history: list[float] = self.cache.get(self._key(client_id, address), [])
        except Exception:  # noqa: BLE001 - each cache driver raises exceptions of its own
            self._report()
            return []
        since = self.timer() - _MINUTE
        return [instant for instant in history if instant > since]

    def _write(self, client_id: str, address: str | None, history: list[float]) -> None:
        try:
            self.cache.set(self._key(client_id, address), history, _MINUTE)
        except Exception:  # noqa: BLE001
            self._report()

    def _report(self) -> None:
        """Log that nothing is counted while the cache is unavailable; tokens are still issued."""
        logger.warning("The cache is unavailable; failures are not counted", extra={"event": "no_cache"})


class Failures:
    """The recent failures of one client from one address, as all throttles of a view count them.

    Args:
        throttles: the throttles that count them.
        client_id: the one that the request names; see `attribute_to`.
        address: where the request came from.
    """

    def __init__(self, throttles: Sequence[FailureThrottle], *, client_id: str, address: str | None) -> None:
        self._throttles = throttles
        self._client_id = client_id
        self._address = address

    def attribute_to(self, client_id: str) -> None:
        """Set the client that a failure counts against; all client_ids that do not exist count as one."""
        self._client_id = client_id

    def are_too_many(self) -> bool:
        """Tell whether a limit is reached."""
        return any(
            throttle.is_exceeded(client_id=self._client_id, address=self._address)
            for throttle in self._throttles
        )

    def count(self) -> int | None:
        """Count a failure. If there were too many before it, return after how many seconds to try again."""
        waits = [
            throttle.count(client_id=self._client_id, address=self._address) for throttle in self._throttles
        ]
        return max((wait for wait in waits if wait is not None), default=None)
