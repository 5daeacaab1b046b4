"""Slowing down clients that keep failing, and nobody else."""

from __future__ import annotations

import hashlib
import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import Final, NamedTuple

from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from django_ciam_token.caller import Caller
from django_ciam_token.conf import ciam_settings
from django_ciam_token.database.forks import after_fork
from django_ciam_token.database.routing import write_database
from django_ciam_token.database.tenants import tenant_key
from django_ciam_token.models import Client

logger = logging.getLogger("django_ciam_token")

_MINUTE: Final = 60
_HISTORIES_REMEMBERED: Final = 1_000


class Memory:
    """The histories that this process has written last, of a limited number of clients and networks."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew. After a fork a thread that does not exist here may hold the parent's lock."""
        self._lock = threading.Lock()
        self._histories: OrderedDict[Hashable, list[float]] = OrderedDict()

    def get(self, key: Hashable) -> list[float]:
        """Return a history; empty if there is none."""
        return self._histories.get(key, [])

    def set(self, key: Hashable, history: list[float]) -> None:
        """Remember a history, and forget the one that was written longest ago if there are too many."""
        with self._lock:
            self._histories.pop(key, None)
            self._histories[key] = history
            if len(self._histories) > _HISTORIES_REMEMBERED:
                self._histories.popitem(last=False)


class FailureThrottle(BaseThrottle):
    """Counts the failures of one client from one network, in Django's cache and in the process.

    A request is never refused because others failed. One address and one client_id may stand for a web server
    with ten thousand users, where some sessions have expired. Or they may stand for a group of servers, where
    one server has the wrong secret. Only a failing request is itself answered 429, after too many failures.

    The cache counts for all processes. When it is unavailable, keeps nothing or drops entries early, the
    limit still holds for each process.
    """

    cache = cache
    memory = Memory()

    def timer(self) -> float:
        """Return the time in seconds, by a clock that all hosts share."""
        return time.time()

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Let every request through."""
        return True

    def seconds_to_wait(self, *, client_id: str, network: str, limit: int) -> int | None:
        """Return when a client may fail again if there were too many failures in the last minute.

        Args:
            client_id: whose failures.
            network: where they came from; see `Caller.network`.
            limit: how many are allowed.

        Returns:
            Seconds, at least 1; None if the limit is not reached.
        """
        failures = self._read(_key(client_id, network))
        if len(failures) < limit:
            return None
        return min(_MINUTE, max(1, math.ceil(_MINUTE - (self.timer() - failures[limit - 1]))))

    def add(self, *, client_id: str, network: str, limit: int) -> None:
        """Count a failure; the arguments are those of `seconds_to_wait`."""
        key = _key(client_id, network)
        # Read again: during a slow hash other requests may have failed.
        history = [self.timer(), *self._read(key)][:limit]
        self.memory.set(key, history)
        try:
            self.cache.set(key.in_cache(), history, _MINUTE)
        except Exception:  # noqa: BLE001 - each cache driver raises exceptions of its own
            _report()

    def _read(self, key: _Key) -> list[float]:
        """Return the times of the failures in the last minute, newest first."""
        known = self.memory.get(key)
        try:
            shared: list[float] = self.cache.get(key.in_cache(), [])
        except Exception:  # noqa: BLE001
            _report()
            shared = []
        since = self.timer() - _MINUTE
        recent = [[instant for instant in history if instant > since] for history in (shared, known)]
        # The longer one: what this process has written may not have reached the cache.
        return max(recent, key=len)


after_fork(FailureThrottle.memory.forget)


class _Key(NamedTuple):
    """What the failures of a client from a network are counted under."""

    tenant: Hashable
    client_id: str
    network: str

    def in_cache(self) -> str:
        """Return the key in the cache, which all tenants may share."""
        # Hashed, because a request may name a client_id of any length and with any characters.
        ident = hashlib.sha256("\n".join((repr(self.tenant), *self[1:])).encode()).hexdigest()
        return f"django_ciam_token_failures:{ident}"


def _key(client_id: str, network: str) -> _Key:
    return _Key(tenant_key(write_database(Client)), client_id, network)


def _report() -> None:
    """Log that each process counts for itself while the cache is unavailable; tokens are still issued."""
    logger.warning(
        "The cache is unavailable; each process counts failures for itself", extra={"event": "no_cache"}
    )


class Failures:
    """The recent failures of one client from one network, as all throttles of a view count them.

    Whether there were too many is found out once for each request. Otherwise a request could be too late to
    have its secret tried, and yet be answered as if the secret were wrong.

    Args:
        throttles: returns the throttles that count them; called when they are needed.
        client_id: the one that the request names; see `attribute_to`.
        caller: where the request came from.
    """

    def __init__(
        self, throttles: Callable[[], Sequence[FailureThrottle]], *, client_id: str, caller: Caller
    ) -> None:
        self._throttles = throttles
        self._client_id = client_id
        self._caller = caller
        self._is_slow = False
        self.known_client_id = ""
        """The client that the request names, if there is one; empty until it was looked for."""

    def attribute_to(self, client_id: str, *, is_slow: bool) -> None:
        """Set the client that a failure counts against, before anything else is asked.

        Args:
            client_id: all that do not exist count as one.
            is_slow: whether a wrong secret of this client costs a slow hash.
        """
        self._client_id, self._is_slow = client_id, is_slow
        self.known_client_id = client_id

    def are_too_many(self) -> bool:
        """Tell whether a limit is reached."""
        return self._wait is not None

    def count(self) -> int | None:
        """Count a failure. If there were too many before it, return after how many seconds to try again."""
        limit = self._limit
        if self._wait is None and limit is not None:
            for throttle in self._throttles():
                throttle.add(client_id=self._client_id, network=self._caller.network, limit=limit)
        return self._wait

    @cached_property
    def _limit(self) -> int | None:
        limits = [ciam_settings.FAILURES_PER_MINUTE]
        if self._is_slow:
            limits.append(ciam_settings.SLOW_FAILURES_PER_MINUTE)
        return min((limit for limit in limits if limit is not None), default=None)

    @cached_property
    def _wait(self) -> int | None:
        limit = self._limit
        if limit is None:
            return None
        waits = [
            throttle.seconds_to_wait(client_id=self._client_id, network=self._caller.network, limit=limit)
            for throttle in self._throttles()
        ]
        return max((wait for wait in waits if wait is not None), default=None)
