"""What to do with a genuine refresh token: rotate, replay or end the session. Nothing is written here."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from enum import Enum

from django_ciam_token import scopes
from django_ciam_token.crypto import refresh_token_string, site_keys
from django_ciam_token.crypto.refresh_token_string import GenuineToken
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


def judge(reading: SessionReading, presented: GenuineToken, *, client: Client, now: datetime) -> Verdict:
    """Decide about a genuine token; pure, so that every case can be tested without a database.

    Raises:
        InvalidGrant: it is refused and nothing is to be done about it.
    """
    session = reading.session
    # A token presented by the wrong client is refused, but must not end its owner's session.
    if session.client_id != client.pk:
        raise InvalidGrant(reason="wrong_client", is_attempt=True)
    require_unchanged(session)
    _require_live(session, client=client, now=now)
    verdict = _judge_generation(reading, presented, grace_period=client.effective_grace_period)
    if verdict is not Verdict.REUSE and not scopes.is_within(session.scopes, client.scopes):
        raise InvalidGrant(reason="scope_withdrawn")
    return verdict


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
    if session.ends_at(client) <= now:
        raise InvalidGrant(reason="expired")


def _judge_generation(
    reading: SessionReading, presented: GenuineToken, *, grace_period: timedelta
) -> Verdict:
    session = reading.session
    if presented.generation < session.generation - 1:
        return Verdict.REUSE
    if presented.generation == session.generation - 1 and successor_again(session, presented):
        # A clock that was set back makes an age negative: near zero it is as good as its opposite.
        since = reading.since_rotation
        return Verdict.REPLAY if since is not None and abs(since) < grace_period else Verdict.REUSE
    if presented.generation != session.generation or not refresh_token_string.matches(
        presented.secret, bytes(session.secret_digest)
    ):
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
