"""What refreshing and exchanging a code have in common: one rotation of a session.

A code is generation zero of its session. So one request wins, a loss is answered again, and reuse is
recognised in the same way for both.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from django.dispatch import Signal

from django_ciam_token import signals
from django_ciam_token.crypto import refresh_token_string
from django_ciam_token.crypto.refresh_token_string import GenuineToken, TokenKey
from django_ciam_token.database import outages
from django_ciam_token.database.retry import LostRace, retry
from django_ciam_token.errors import InvalidGrant, OAuthError
from django_ciam_token.grants import TokenRequest
from django_ciam_token.models import RefreshToken, RevocationReason
from django_ciam_token.sessions import rotation
from django_ciam_token.sessions.revocation import revoke_session
from django_ciam_token.sessions.rotation import Rotation
from django_ciam_token.sessions.rows import READINGS_OF_A_LAGGING_NODE, SessionReading, read_session
from django_ciam_token.sessions.verdict import (
    Allowance,
    Tolerance,
    Verdict,
    is_current,
    is_late,
    judge,
    successor_again,
)
from django_ciam_token.tokens.claims import Subject
from django_ciam_token.tokens.issuing import IssuedTokens, SignedTokens, sign_tokens

logger = logging.getLogger("django_ciam_token")

LOOKS_AGAIN_AFTER: Final = (0.05, 0.25, 1.2)
"""Seconds; fewer than there are attempts."""
_LONGEST_COMMIT: Final = timedelta(minutes=10)


@dataclass
class RotatingRequest(ABC):
    """One request, which may take several attempts.

    What was drawn and signed is kept from one attempt to the next: nobody has seen it yet, and after a
    COMMIT whose outcome is unknown, the nonce tells whether the rotation is ours.
    """

    request: TokenRequest
    presented: GenuineToken
    """Of a code: generation zero."""
    key: TokenKey
    """Signs what is issued."""
    using: str
    """The alias of the database."""
    rotation: Rotation | None = field(default=None, init=False)
    signed: SignedTokens | None = field(default=None, init=False, repr=False)
    number: int = field(default=0, init=False)
    """Of the present attempt."""
    was_current: bool = field(default=False, init=False)
    """Whether the token was the current one when this request read it before."""

    @abstractmethod
    def tolerance(self) -> Tolerance:
        """Return how long a repetition is forgiven."""

    @abstractmethod
    def subject_of(self, session: RefreshToken) -> Subject:
        """Return who the tokens are about."""

    @abstractmethod
    def report_rotated(self, session: RefreshToken) -> None:
        """Send the signals of a rotation that was carried out."""

    def recorder(self, session: RefreshToken) -> Callable[[], object] | None:
        """Return what is to be called at the end of the transaction of the rotation, if anything."""
        return None

    def answer(self) -> IssuedTokens:
        """Answer the request.

        Raises:
            OAuthError: it was refused.
        """
        try:
            return retry(self.attempt, using=self.using)
        except OAuthError as error:
            error.log_fields = {
                "client_id": self.request.client.client_id,
                "session_id": str(self.presented.session_id),
            }
            raise

    def attempt(self, number: int) -> IssuedTokens:
        """Read, decide and act; every attempt reads in a transaction of its own.

        MariaDB would show a second reading within one transaction the row as it was.
        """
        self.number = number
        reading = self._read()
        if self._is_ahead_of(reading) and number < READINGS_OF_A_LAGGING_NODE:
            raise LostRace
        if reading is None:
            raise InvalidGrant(reason="unknown_session")
        session = reading.session
        if self.rotation is not None and rotation.has_rotated(session, self.rotation):
            # The successor is the current token now; whether the session is still live is judged by it.
            self._judge(reading, self.rotation.successor)
            # It took until now to find that out; the client may have to repeat the request.
            rotation.renew_grace_period(session, using=self.using)
            return self._rotated(session, self.rotation)
        verdict = self._judge(reading, self.presented)
        if verdict is Verdict.ROTATE:
            self.was_current = True
            return self._rotate(session)
        if verdict is Verdict.REPLAY:
            return self._replay(reading)
        if self._is_excused_elsewhere(reading):
            raise LostRace
        if self._may_be_renewed(reading):
            time.sleep(LOOKS_AGAIN_AFTER[number - 1])
            raise LostRace
        return self._end(session)

    def _read(self) -> SessionReading | None:
        # What was read with the client is good for the first attempt, unless the request has waited since.
        ahead = self.request.session if self.number == 1 else None
        if ahead is not None and not ahead.is_stale:
            return ahead
        if ahead is not None:
            self.was_current = is_current(ahead.session, self.presented)
        return read_session(self.presented.session_id, using=self.using)

    def _judge(self, reading: SessionReading, presented: GenuineToken) -> Verdict:
        outage = timedelta(0)
        if reading.since_rotation is not None:
            outage = outages.unavailable_within(reading.since_rotation, using=self.using)
        return judge(
            reading,
            presented,
            client=self.request.client,
            now=self.request.now,
            allowance=Allowance(was_current=self.was_current, queued=self.request.queued, outage=outage),
            tolerance=self.tolerance(),
        )

    def _is_excused_elsewhere(self, reading: SessionReading) -> bool:
        """Tell whether other processes know of an outage that this one did not notice: then judge again."""
        return self.number == 1 and self._may_be_excused(reading) and outages.learn(self.using)

    def _may_be_renewed(self, reading: SessionReading) -> bool:
        """Tell whether to look once more before a session ends because its last token came too late.

        The request that rotated it may have come out of a slow COMMIT just now, and be about to let the grace
        period begin: on a busy host that can take a moment.
        """
        if self.number > len(LOOKS_AGAIN_AFTER) or not self._may_be_excused(reading):
            return False
        return not is_late(reading, grace_period=_LONGEST_COMMIT)

    def _may_be_excused(self, reading: SessionReading) -> bool:
        """Tell whether the token is one that may come late: the predecessor, if its client is not strict."""
        is_predecessor = self.presented.generation == reading.session.generation - 1
        return is_predecessor and not self.tolerance().is_strict

    def _is_ahead_of(self, reading: SessionReading | None) -> bool:
        """Tell whether a genuine token is newer than what this node of the database knows."""
        return reading is None or reading.session.generation < self.presented.generation

    def _rotate(self, session: RefreshToken) -> IssuedTokens:
        if self.rotation is None:
            self.rotation = rotation.prepare_rotation(self.presented, key=self.key)
        # All that can fail, and the signatures, come before the transaction: no lock is held meanwhile.
        self._sign(session)
        request = self.request
        if not rotation.rotate(
            session,
            self.rotation,
            client=request.client,
            caller=request.caller,
            now=request.now,
            using=self.using,
            record=self.recorder(session),
        ):
            raise LostRace
        return self._rotated(session, self.rotation)

    def _rotated(self, session: RefreshToken, rotated: Rotation) -> IssuedTokens:
        self.report_rotated(session)
        signed = self._sign(session)
        if not session.has_refresh_token:
            return IssuedTokens(signed=signed, refresh_token=None)
        return IssuedTokens(
            signed=signed, refresh_token=refresh_token_string.encode(rotated.successor, self.key)
        )

    def _replay(self, reading: SessionReading) -> IssuedTokens:
        session = reading.session
        if is_late(reading, grace_period=self.tolerance().replayed):
            # Perhaps the first answer to this rotation that reaches the client, who may have to repeat it.
            rotation.renew_grace_period(session, using=self.using)
        # Signed first: no token is in a variable while functions of the site are asked.
        signed = self._sign(session)
        successor = successor_again(session, self.presented) if session.has_refresh_token else None
        tokens = IssuedTokens(signed=signed, refresh_token=successor)
        self._report("Session %s: predecessor answered with its successor again", session, "replayed")
        self.send(signals.tokens_replayed, session)
        return tokens

    def _end(self, session: RefreshToken) -> IssuedTokens:
        request = self.request
        # For the receivers of the signals.
        session.client = request.client
        # The revocation is committed before the error is raised: nothing may roll it back.
        if revoke_session(session, reason=RevocationReason.REUSE, now=request.now, caller=request.caller):
            self._report(
                "Session %s: superseded refresh token reused, session ended",
                session,
                "reuse_detected",
                level=logging.WARNING,
            )
            self.send(signals.reuse_detected, session)
        raise InvalidGrant(reason="reuse")

    def _sign(self, session: RefreshToken) -> SignedTokens:
        if self.signed is None:
            self.signed = sign_tokens(self.subject_of(session), now=self.request.now)
        return self.signed

    def send(self, signal: Signal, session: RefreshToken) -> None:
        """Send a signal about the session once what was done is committed."""
        signals.send_after_commit(
            signal,
            sender=RefreshToken,
            using=self.using,
            session=session,
            client=self.request.client,
            caller=self.request.caller,
        )

    def _report(self, message: str, session: RefreshToken, event: str, *, level: int = logging.INFO) -> None:
        client_id = self.request.client.client_id
        fields = {"event": event, "session_id": str(session.pk), "client_id": client_id}
        # Who presents a token again may be somebody else than who got it.
        logger.log(level, message, session.pk, extra={**fields, "address": self.request.caller.address})
