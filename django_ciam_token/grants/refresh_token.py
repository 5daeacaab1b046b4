"""The refresh-token grant (RFC 6749 §6, RFC 9700 §4.14)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.dispatch import Signal
from django.views.decorators.debug import sensitive_variables

from django_ciam_token import keyring, scopes, sessions, signals, token_string
from django_ciam_token.callers import Caller
from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import InvalidGrant, OAuthError, UnauthorizedClient
from django_ciam_token.grants import require
from django_ciam_token.models import Client, RefreshToken, RevocationReason
from django_ciam_token.reading import Reading, read_session
from django_ciam_token.sessions import Rotation, Verdict
from django_ciam_token.token_string import GenuineToken, TokenKey
from django_ciam_token.tokens import IssuedTokens, SignedTokens, Subject, sign_tokens
from django_ciam_token.transactions import LostRace, retry

logger = logging.getLogger("django_ciam_token")


class RefreshTokenGrant:
    """Rotates a refresh token and issues fresh tokens for its session."""

    @sensitive_variables()
    def __call__(
        self,
        *,
        client: Client,
        parameters: Mapping[str, str],
        caller: Caller,
        now: datetime,
        presented: GenuineToken | None = None,
        reading: Reading | None = None,
    ) -> IssuedTokens:
        """Answer a token request; see `Grant`.

        Args:
            client: authenticated.
            parameters: of the form.
            caller: from where the request came.
            now: when it came.
            presented: the refresh token of the form, if `token_ahead` has read it.
            reading: of its session, of just now; it is read if it is None.

        Raises:
            InvalidRequest: there is no refresh_token.
            UnauthorizedClient: the client may not use refresh tokens.
            InvalidGrant: the token is wrong, in whichever way. If it was a reused one, its session has ended.
            InvalidScope: the scope is malformed or wider than first granted; the token is still good.
            TemporarilyUnavailable: the database refused; the same request may be sent again.
        """
        text, keys = require(parameters, "refresh_token"), keyring.token_keys()
        if not client.refresh_tokens_enabled:
            raise UnauthorizedClient(
                "this application may not use refresh tokens; ask its operator",
                reason="refresh_tokens_disabled",
            )
        try:
            presented = presented or token_string.authenticate(text, keys)
        except token_string.NotGenuine:
            raise InvalidGrant(reason="not_genuine", is_attempt=True) from None
        scope = parameters.get("scope")
        request = _Refresh(client, presented, scope, caller, now, keys[0], sessions.database(), reading)
        try:
            return retry(request.attempt, using=request.using)
        except OAuthError as error:
            error.log_fields = {"client_id": client.client_id, "session_id": str(presented.family)}
            raise

    @sensitive_variables()
    def token_ahead(self, parameters: Mapping[str, str]) -> GenuineToken | None:
        """Return the token if it is genuine; for garbage nothing is read."""
        try:
            return token_string.authenticate(parameters["refresh_token"], keyring.token_keys())
        except (KeyError, token_string.NotGenuine):
            return None


refresh: Final = RefreshTokenGrant()


@dataclass
class _Refresh:
    """One request, which may take several attempts.

    What was drawn and signed is kept from one attempt to the next: nobody has seen it yet, and after a
    COMMIT of which we don't know whether it happened, the nonce tells whether the rotation is ours.
    """

    client: Client
    presented: GenuineToken
    requested_scope: str | None
    caller: Caller
    now: datetime
    key: TokenKey
    using: str
    ahead: Reading | None
    """What was read along with the client: good for the first attempt."""
    rotation: Rotation | None = field(default=None, init=False)
    signed: SignedTokens | None = field(default=None, init=False, repr=False)
    readings: int = field(default=0, init=False)

    def attempt(self) -> IssuedTokens:
        """Read, decide and act; every attempt reads in a transaction of its own.

        MariaDB would show a second reading within one transaction the row as it was.
        """
        self.readings += 1
        reading, self.ahead = self.ahead, None
        if reading is None:
            reading = read_session(self.presented.family, using=self.using)
        if self._is_ahead_of(reading) and self.readings < sessions.READINGS_OF_A_LAGGING_NODE:
            raise LostRace
        if reading is None:
            raise InvalidGrant(reason="unknown_session")
        session = reading.session
        verdict = sessions.judge(reading, self.presented, client=self.client, now=self.now)
        if self.rotation is not None and sessions.has_rotated(session, self.rotation):
            return self._rotated(session, self.rotation)
        if verdict is Verdict.ROTATE:
            return self._rotate(session)
        if verdict is Verdict.REPLAY:
            return self._replay(session)
        return self._end(session)

    def _is_ahead_of(self, reading: Reading | None) -> bool:
        """Tell whether a genuine token is newer than what this node of the database has heard of."""
        return reading is None or reading.session.generation < self.presented.generation

    def _rotate(self, session: RefreshToken) -> IssuedTokens:
        if self.rotation is None:
            self.rotation = sessions.prepare_rotation(session, self.presented, key=self.key)
        # All that can fail, and the signatures, come before the transaction: no lock is held meanwhile.
        self._sign(session)
        if not sessions.rotate(
            session, self.rotation, client=self.client, caller=self.caller, now=self.now, using=self.using
        ):
            raise LostRace
        return self._rotated(session, self.rotation)

    def _rotated(self, session: RefreshToken, rotation: Rotation) -> IssuedTokens:
        self._tell(signals.tokens_refreshed, session)
        refresh_token = token_string.encode(rotation.successor, self.key)
        return IssuedTokens(signed=self._sign(session), refresh_token=refresh_token)

    def _replay(self, session: RefreshToken) -> IssuedTokens:
        refresh_token = sessions.successor_again(session, self.presented)
        tokens = IssuedTokens(signed=self._sign(session), refresh_token=refresh_token)
        self._report("Session %s: predecessor answered with its successor again", session, "replayed")
        self._tell(signals.tokens_replayed, session)
        return tokens

    def _end(self, session: RefreshToken) -> IssuedTokens:
        # For whoever is told of it.
        session.client = self.client
        # The revocation is committed before the error is raised: nothing may roll it back.
        if sessions.revoke(session, reason=RevocationReason.REUSE, now=self.now, caller=self.caller):
            self._report(
                "Session %s: superseded refresh token reused, session ended",
                session,
                "reuse_detected",
                level=logging.WARNING,
            )
            self._tell(signals.reuse_detected, session)
        raise InvalidGrant(reason="reuse")

    def _sign(self, session: RefreshToken) -> SignedTokens:
        if self.signed is None:
            # RFC 6749 §6: a narrower scope is this access token's; the session keeps what was granted.
            scope = scopes.narrow(session.scopes, self.requested_scope)
            self._require_policy(session, scope)
            subject = Subject(
                client=self.client,
                user=session.user,
                scope=scope,
                session_id=session.pk,
                auth_time=session.auth_time,
            )
            self.signed = sign_tokens(subject, now=self.now)
        return self.signed

    def _require_policy(self, session: RefreshToken, scope: tuple[str, ...]) -> None:
        policy = ciam_settings.ISSUANCE_POLICY
        if policy is not None and not policy(user=session.user, client=self.client, scope=scope):
            raise InvalidGrant(reason="policy")

    def _tell(self, signal: Signal, session: RefreshToken) -> None:
        signals.send_after_commit(
            signal,
            sender=RefreshToken,
            using=self.using,
            session=session,
            client=self.client,
            caller=self.caller,
        )

    def _report(self, message: str, session: RefreshToken, event: str, *, level: int = logging.INFO) -> None:
        fields = {"event": event, "session_id": str(session.pk), "client_id": self.client.client_id}
        logger.log(level, message, session.pk, extra=fields)
