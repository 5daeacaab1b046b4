"""What to do with a genuine refresh token: rotate, replay or end the session. Nothing is written here."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from django_ciam_token import scopes
from django_ciam_token.crypto import refresh_token_string, site_keys
from django_ciam_token.crypto.refresh_token_string import GenuineToken
from django_ciam_token.database.local_time import is_past
from django_ciam_token.errors import InvalidGrant
from django_ciam_token.models import Client, RefreshToken
from django_ciam_token.sessions.rows import SessionReading
from django_ciam_token.sessions.user import require_unchanged

logger = logging.getLogger("django_ciam_token")


class Verdict(Enum):
    """What to do with a genuine token of a live session."""

    ROTATE = "rotate"
    REPLAY = "replay"
    """The immediate predecessor, within the grace period: the answer was lost or two asked at once."""
    REUSE = "reuse"
    """Superseded: the client or a thief holds a copy (RFC 9700 §4.14.2)."""


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a request is allowed because the time it took was the service's, not the client's.

    It lets a token through that was good when the client sent it. A thief gains nothing by it: had the stolen
    token been answered at once, the answer would have been the same. With a grace period of zero nothing is
    allowed: strict one-time use is strict.
    """

    was_current: bool = False
    """Whether this request has read the token as the current one before, and then waited or lost a race."""
    queued: timedelta = timedelta(0)
    """How long the request waited before the service began with it."""
    outage: timedelta = timedelta(0)
    """How much of the time since the rotation the database was unavailable."""


NO_ALLOWANCE: Final = Allowance()


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How long a client may present what was superseded, as long as its successor is unused."""

    replayed: timedelta
    """It gets the successor again."""
    refused: timedelta = timedelta(0)
    """It is refused, and nothing ends by it."""
    is_strict: bool
    """Nothing is forgiven, not even the time that a request waited in the service."""

    @classmethod
    def of_refresh_tokens(cls, client: Client) -> Tolerance:
        """Return how long a client may present a predecessor."""
        grace_period = client.effective_grace_period
        return cls(replayed=grace_period, is_strict=not grace_period)


def judge(
    reading: SessionReading,
    presented: GenuineToken,
    *,
    client: Client,
    now: datetime,
    allowance: Allowance = NO_ALLOWANCE,
    tolerance: Tolerance | None = None,
) -> Verdict:
    """Decide about a genuine token; pure, so that every case can be tested without a database.

    Args:
        reading: its session.
        presented: the token, or a code as generation zero.
        client: who presents it.
        now: when the request came.
        allowance: what the time that the service took excuses.
        tolerance: how long repetitions are forgiven; by default as for refresh tokens.

    Raises:
        InvalidGrant: it is refused and nothing is to be done about it.
    """
    session = reading.session
    # A token presented by the wrong client is refused, but must not end its owner's session.
    if session.client_id != client.pk:
        raise InvalidGrant(reason="wrong_client", is_attempt=True)
    require_unchanged(session)
    _require_live(session, client=client, now=now)
    tolerance = tolerance or Tolerance.of_refresh_tokens(client)
    verdict = _judge_generation(reading, presented, tolerance, allowance)
    if verdict is not Verdict.REUSE and not scopes.is_within(session.scopes, client.scopes):
        raise InvalidGrant(reason="scope_withdrawn")
    return verdict


def is_current(session: RefreshToken, presented: GenuineToken) -> bool:
    """Tell whether a token is the one that the session's row expects."""
    return presented.generation == session.generation and refresh_token_string.matches(
        presented.secret, bytes(session.secret_digest)
    )


def is_late(reading: SessionReading, *, grace_period: timedelta) -> bool:
    """Tell whether the grace period after the last rotation is over, by the database's clock alone."""
    since = reading.since_rotation
    # A clock that was set back makes an age negative: near zero it is as good as its opposite.
    return since is None or abs(since) >= grace_period


def successor_again(session: RefreshToken, presented: GenuineToken) -> str | None:
    """Return the current token as the winner of the race got it, recomputed from its predecessor.

    None if it can't be: the presented secret was never this session's.
    """
    for key in site_keys.token_keys():
        candidate = refresh_token_string.successor(presented, nonce=bytes(session.nonce), key=key)
        if refresh_token_string.matches(candidate.secret, bytes(session.secret_digest)):
            return refresh_token_string.encode(candidate, key)
    return None


def _require_live(session: RefreshToken, *, client: Client, now: datetime) -> None:
    if session.revoked_at is not None:
        raise InvalidGrant(reason="revoked")
    if is_past(session.ends_at(client), now):
        raise InvalidGrant(reason="expired")


def _judge_generation(
    reading: SessionReading, presented: GenuineToken, tolerance: Tolerance, allowance: Allowance
) -> Verdict:
    session = reading.session
    if presented.generation < session.generation - 1:
        if not tolerance.is_strict and _was_overtaken(reading, allowance):
            raise InvalidGrant(reason="overtaken")
        return Verdict.REUSE
    if presented.generation == session.generation - 1 and successor_again(session, presented):
        return _judge_predecessor(reading, tolerance, allowance)
    if not is_current(session, presented):
        # Signed with our key but unknown to our database: a restored backup, or a stolen SECRET_KEY.
        logger.error(
            "Session %s: a refresh token that this database never issued. Was a backup restored, or "
            "a secret stolen?",
            session.pk,
            extra={"event": "refresh_token_not_issued_here", "session_id": str(session.pk)},
        )
        raise InvalidGrant(reason="never_issued", is_attempt=True)
    if session.generation >= refresh_token_string.LAST_GENERATION:
        raise InvalidGrant(reason="expired")
    return Verdict.ROTATE


def _judge_predecessor(reading: SessionReading, tolerance: Tolerance, allowance: Allowance) -> Verdict:
    def is_forgiven(period: timedelta) -> bool:
        allowed = period + allowance.queued + allowance.outage
        return bool(period) and (allowance.was_current or not is_late(reading, grace_period=allowed))

    if is_forgiven(tolerance.replayed):
        return Verdict.REPLAY
    if is_forgiven(tolerance.refused):
        raise InvalidGrant(reason="repeated")
    if allowance.was_current and not tolerance.is_strict:
        raise InvalidGrant(reason="overtaken")
    return Verdict.REUSE


def _was_overtaken(reading: SessionReading, allowance: Allowance) -> bool:
    """Tell whether other requests have rotated the session while this one waited.

    The session has gone further, so its client works: the request is refused, and nothing ends by it.
    """
    since = reading.since_rotation
    return allowance.was_current or (since is not None and since < allowance.queued)
