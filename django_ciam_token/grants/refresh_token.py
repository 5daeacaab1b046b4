"""The refresh-token grant (RFC 6749 §6, RFC 9700 §4.14)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

from django_ciam_token import scopes, signals
from django_ciam_token.concealed import Concealed, Parameters
from django_ciam_token.crypto import refresh_token_string, site_keys
from django_ciam_token.crypto.refresh_token_string import GenuineToken, NotGenuine, TokenKey, WrongMAC
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import InvalidGrant, UnauthorizedClient
from django_ciam_token.grants import TokenRequest, require
from django_ciam_token.grants.rotating import RotatingRequest
from django_ciam_token.keys import key_set
from django_ciam_token.models import RefreshToken
from django_ciam_token.sessions.verdict import Tolerance
from django_ciam_token.tokens import foreign
from django_ciam_token.tokens.claims import Subject
from django_ciam_token.tokens.issuing import IssuedTokens


class RefreshTokenGrant:
    """Rotates a refresh token and issues fresh tokens for its session."""

    def __call__(self, request: TokenRequest) -> IssuedTokens:
        """Answer a token request; see `Grant`.

        Raises:
            InvalidRequest: there is no refresh_token.
            UnauthorizedClient: the client may not use refresh tokens.
            InvalidGrant: the token is wrong, in whichever way. If it was a reused one, its session has ended.
            InvalidScope: the scope is malformed or wider than first granted; the token is still good.
            TemporarilyUnavailable: the database refused; the same request may be sent again.
        """
        text, keys = Concealed(require(request.parameters, "refresh_token")), site_keys.token_keys()
        if not request.client.refresh_tokens_enabled:
            raise UnauthorizedClient(
                "this application may not use refresh tokens; ask its operator",
                reason="refresh_tokens_disabled",
            )
        presented = request.presented
        if not isinstance(presented, GenuineToken):
            presented = _authenticated(text, keys, request.now)
        return _Refresh(request, presented, keys[0], write_database(RefreshToken)).answer()

    def presented_in(self, parameters: Parameters) -> GenuineToken | None:
        """Return the token if it is genuine; for garbage no session is read."""
        try:
            return refresh_token_string.authenticate(parameters["refresh_token"], site_keys.token_keys())
        except (KeyError, NotGenuine):
            return None


class _Refresh(RotatingRequest):
    """One refresh."""

    def tolerance(self) -> Tolerance:
        """Return the grace period of the client."""
        return Tolerance.of_refresh_tokens(self.request.client)

    def subject_of(self, session: RefreshToken) -> Subject:
        """Return who the tokens are about.

        RFC 6749 §6: a narrower scope is this access token's; the session keeps what was granted.
        """
        scope = scopes.narrow(session.scopes, self.request.parameters.get("scope"))
        return Subject.of(session, client=self.request.client, scope=scope)

    def report_rotated(self, session: RefreshToken) -> None:
        """Signal a refresh."""
        self.send(signals.tokens_refreshed, session)


def _authenticated(text: Concealed, keys: Sequence[TokenKey], now: datetime) -> GenuineToken:
    """Return the content of a token of ours, or what a token of another package stands for."""
    try:
        return text.lend(partial(refresh_token_string.authenticate, keys=keys))
    except WrongMAC:
        key_set.current().require_right_secrets(now)
        presented = None
    except NotGenuine:
        presented = foreign.resolve(text, now=now)
    if presented is None:
        raise InvalidGrant(reason="not_genuine", is_attempt=True)
    return presented


refresh: Final = RefreshTokenGrant()
