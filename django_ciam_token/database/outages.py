"""For how long the database was unavailable, as far as this process noticed or was told by others.

A rotation whose COMMIT broke may have happened although it was answered 503. The client then repeats its
request, as it was asked to, and the database may not answer before the grace period is over. Such time is the
service's, not the client's.

One interval for each database is kept in this process. It only ever makes a judgement milder. A process that
had no request during an outage asks Django's cache for what the others noticed, before a session ends.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.cache.backends.db import BaseDatabaseCache

from django_ciam_token.database.patience import Pause

# An outage is taken to end so many seconds after the last refusal if nothing was asked of the database since:
# otherwise a single refusal of a process that then idles for an hour would count as an hour.
_ASSUMED_AFTER_REFUSAL: Final = 5.0
_TOLD_FOR: Final = 3_600
# After an error of the cache. It may be out for the same reason as the database.
_cache_failed: Final = Pause(5.0)


@dataclass
class _Outage:
    """By the monotonic clock, in seconds."""

    began_at: float
    refused_at: float
    ended_at: float | None = None

    def end(self) -> float:
        """Return when it ended, or would have ended if nobody had noticed."""
        return min(self.ended_at or time.monotonic(), self.refused_at + _ASSUMED_AFTER_REFUSAL)

    def meets(self, other: _Outage) -> bool:
        """Tell whether both are parts of one outage."""
        return self.began_at <= other.end() and other.began_at <= self.end()


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
    _tell(using, outage)


def answered(using: str) -> None:
    """Note that a database answers; costs one look-up while there was no outage."""
    outage = _latest.get(using)
    if outage is not None and outage.ended_at is None:
        outage.ended_at = time.monotonic()
        _tell(using, outage)


def learn(using: str) -> bool:
    """Find out what other processes noticed; tell whether this one did not know. The database answers now."""
    known, told = _latest.get(using), _told(using)
    if told is None:
        return False
    if known is None or not known.meets(told):
        if known is not None and known.end() >= told.end():
            return False
        _latest[using] = told
        return True
    joined = _Outage(
        began_at=min(known.began_at, told.began_at),
        refused_at=max(known.refused_at, told.refused_at),
        ended_at=max(known.end(), told.end()),
    )
    is_news = (joined.began_at, joined.end()) != (known.began_at, known.end())
    _latest[using] = joined
    return is_news


def unavailable_within(span: timedelta, *, using: str) -> timedelta:
    """Return for how much of the latest span of time the database was unavailable in its last outage."""
    outage = _latest.get(using)
    if outage is None:
        return timedelta(0)
    begin = max(outage.began_at, time.monotonic() - span.total_seconds())
    return timedelta(seconds=max(0.0, outage.end() - begin))


def forget() -> None:
    """Forget all outages that this process knows of."""
    _latest.clear()
    _cache_failed.end()


def _tell(using: str, outage: _Outage) -> None:
    """Let the other processes know, by the clock that hosts share."""
    told = _told(using)
    began_at = min(outage.began_at, told.began_at) if told and told.meets(outage) else outage.began_at
    since = time.time() - time.monotonic()
    ended_at = None if outage.ended_at is None else outage.ended_at + since
    cache = _cache()
    if cache is not None:
        try:
            cache.set(_key(using), (began_at + since, outage.refused_at + since, ended_at), _TOLD_FOR)
        except Exception:  # noqa: BLE001 - each cache driver raises exceptions of its own
            _cache_failed.begin()


def _told(using: str) -> _Outage | None:
    cache = _cache()
    if cache is None:
        return None
    try:
        began_at, refused_at, ended_at = cache.get(_key(using), (None, None, None))
    except Exception:  # noqa: BLE001
        _cache_failed.begin()
        return None
    if began_at is None:
        return None
    since = time.time() - time.monotonic()
    return _Outage(began_at - since, refused_at - since, None if ended_at is None else ended_at - since)


def _cache() -> Any:
    """Return the cache; None if it just failed, or is in a database, which is likely to be the same one."""
    cache = caches[DEFAULT_CACHE_ALIAS] if _cache_failed.is_over() else None
    return None if isinstance(cache, BaseDatabaseCache) else cache


def _key(using: str) -> str:
    return f"django_ciam_token_outage:{using}"
