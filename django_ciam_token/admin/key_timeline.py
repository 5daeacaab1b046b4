"""The life cycle of the signing keys as a picture: when each is published, active and retired."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django_ciam_token.models import SigningKey, SigningKeyState

_MOST_KEYS: Final = 12
_REMOVED_STAY_FOR: Final = timedelta(days=7)
# Draw at least this much of the past, so that a change a few minutes ahead doesn't fill the picture.
_SHORTEST_PAST: Final = timedelta(hours=6)
# Draw at least this much after the last change, so that a state without an end is visible.
_SHORTEST_REST: Final = timedelta(minutes=10)


@dataclass(frozen=True)
class Segment:
    """A period of a key's life, as percentages of the picture's width."""

    state: SigningKeyState
    x: float
    width: float
    begins_at: datetime
    ends_at: datetime | None
    """None if no end is set."""


@dataclass(frozen=True)
class Life:
    """One key, its current state, and its periods in chronological order."""

    key: SigningKey
    state: SigningKeyState
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Picture:
    """Present, future and recently removed keys, the newest first."""

    lives: tuple[Life, ...]
    begins_at: datetime
    ends_at: datetime
    now_x: float
    """The position of the present, as a percentage."""


def picture(keys: Sequence[SigningKey], now: datetime) -> Picture | None:
    """Compute the picture; None if there is no key to show."""
    shown = [key for key in keys if key.removed_at is None or key.removed_at > now - _REMOVED_STAY_FOR][
        :_MOST_KEYS
    ]
    if not shown:
        return None
    begins_at, ends_at = _span(shown, now)

    def x(instant: datetime) -> float:
        return round(100 * min(1.0, max(0.0, (instant - begins_at) / (ends_at - begins_at))), 2)

    def life(key: SigningKey) -> Life:
        # A key that was replaced before it became active never signs.
        retired_at = _earliest(key.retired_at, key.removed_at)
        active_at = _earliest(key.active_at, retired_at)
        stretches = (
            (SigningKeyState.PUBLISHED, key.created_at, active_at),
            (SigningKeyState.ACTIVE, active_at, retired_at),
            (SigningKeyState.RETIRED, retired_at, key.removed_at),
        )
        segments = []
        for state, begin, end in stretches:
            if begin is None or (end is not None and (end <= begin or end <= begins_at)):
                continue
            left, right = x(begin), x(end or ends_at)
            segments.append(Segment(state, left, round(max(0.4, right - left), 2), begin, end))
        return Life(key=key, state=key.state(now), segments=tuple(segments))

    return Picture(lives=tuple(map(life, shown)), begins_at=begins_at, ends_at=ends_at, now_x=x(now))


def next_event(
    keys: Sequence[SigningKey], now: datetime
) -> tuple[SigningKey, SigningKeyState, datetime] | None:
    """Return which key changes its state next, to which state, and when; None if none is scheduled."""
    changes = [
        (at, key, state)
        for key in keys
        for state, at in (
            (SigningKeyState.ACTIVE, key.active_at),
            (SigningKeyState.RETIRED, key.retired_at),
            (SigningKeyState.REMOVED, key.removed_at),
        )
        if at is not None and at > now and not (key.removed_at is not None and key.removed_at < at)
    ]
    if not changes:
        return None
    at, key, state = min(changes, key=lambda change: (change[0], change[1].pk))
    return key, state, at


def _span(keys: Sequence[SigningKey], now: datetime) -> tuple[datetime, datetime]:
    """Return the time that the picture shows.

    If a change is ahead: the time until then, and three times as much of the past, so that an hour of
    publication is visible next to a key that is a year old. Otherwise the changes of the last days. If there
    were none, everything since the first key.
    """
    known = [at for key in keys for at in (key.created_at, key.active_at, key.retired_at, key.removed_at)]
    instants = [at for at in known if at is not None]
    first, last = min(instants), max(now, *instants)
    recent = [at for at in instants if now - _REMOVED_STAY_FOR < at <= now]
    if last > now:
        past = 3 * (last - now)
    elif recent:
        past = (now - min(recent)) * 5 / 4
    else:
        past = now - first
    past = max(past, _SHORTEST_PAST)
    # Compared first: a key may be published for longer than there were years before.
    begin = min(now, first if past >= now - first else now - past)
    return begin, last + max((last - begin) / 10, _SHORTEST_REST)


def _earliest(*instants: datetime | None) -> datetime | None:
    return min((instant for instant in instants if instant is not None), default=None)
