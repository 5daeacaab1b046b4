"""The authorization-code grant (RFC 6749 §4.1.3, RFC 7636, RFC 9700 §2.1.1).

A code is generation zero of its session, and exchanging it is the session's first rotation. What a code is
bound to is checked before the session is looked at: somebody who intercepts a code can't lock its owner out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final

from django_ciam_token.concealed import Concealed, Parameters
from django_ciam_token.conf import ciam_settings
from django_ciam_token.crypto import authorization_code_string, site_keys
from django_ciam_token.crypto.authorization_code_string import GenuineCode
from django_ciam_token.crypto.refresh_token_string import NotGenuine, WrongMAC
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import InvalidGrant
from django_ciam_token.grants import TokenRequest, require
from django_ciam_token.grants.rotating import RotatingRequest
from django_ciam_token.keys import key_set
from django_ciam_token.models import RefreshToken
from django_ciam_token.monitoring import audit_trail
from django_ciam_token.sessions.consents import has_consent
from django_ciam_token.sessions.verdict import Tolerance
from django_ciam_token.tokens.claims import Subject
from django_ciam_token.tokens.first_tokens import report_issued
from django_ciam_token.tokens.issuing import IssuedTokens

# RFC 7636 §4.1.
_VERIFIER: Final = re.compile(r"[A-Za-z0-9\-._~]{43,128}")


class AuthorizationCodeGrant:
    """Exchanges an authorization code for the first tokens of its session."""

    def __call__(self, request: TokenRequest) -> IssuedTokens:
        """Answer a token request; see `Grant`.

        Raises:
            InvalidRequest: the code or the redirect_uri is missing.
            InvalidGrant: the code is wrong, in whichever way. If somebody else has used it, its session has
                ended.
            TemporarilyUnavailable: the database refused; the same request may be sent again.
        """
        text, code = Concealed(require(request.parameters, "code")), request.presented
        if not isinstance(code, GenuineCode):
            code = _genuine(text, request)
        redirect_uri = require(request.parameters, "redirect_uri")
        if not code.is_for_client(request.client.client_id):
            raise InvalidGrant(reason="wrong_client", is_attempt=True)
        if not code.is_for_redirect_uri(redirect_uri):
            raise InvalidGrant(reason="wrong_redirect_uri", is_attempt=True)
        has_pkce = _verify_challenge(code, request.parameters)
        if not request.client.has_redirect_uri(redirect_uri):
            raise InvalidGrant(reason="redirect_uri_withdrawn")
        keys, using = site_keys.token_keys(), write_database(RefreshToken)
        return _Exchange(request, code.token, keys[0], using, nonce=code.nonce, has_pkce=has_pkce).answer()

    def presented_in(self, parameters: Parameters) -> GenuineCode | None:
        """Return the code if it is genuine; for garbage no session is read."""
        try:
            return authorization_code_string.authenticate(parameters["code"], site_keys.code_keys())
        except (KeyError, NotGenuine):
            return None


@dataclass
class _Exchange(RotatingRequest):
    """One exchange."""

    nonce: str | None = field(default=None, repr=False)
    has_pkce: bool = False
    is_recorded: bool = field(default=False, init=False)
    """Whether the audit trail is written in the transaction of the present attempt."""

    def tolerance(self) -> Tolerance:
        """Return for how long the instance that began may repeat the exchange.

        Only that instance has the verifier: what repeats with it is the application itself, which reloaded
        its page or lost the answer. RFC 6749 §4.1.2 denies every repetition; the site's setting is an
        exception to it. Without PKCE nothing tells the application from a thief.
        """
        grace_period = self.request.client.effective_grace_period
        if not self.has_pkce:
            return Tolerance(replayed=timedelta(0), is_strict=not grace_period)
        replayed = ciam_settings.AUTHORIZATION_CODE_GRACE_PERIOD
        return Tolerance(replayed=replayed, refused=grace_period, is_strict=not grace_period and not replayed)

    def subject_of(self, session: RefreshToken) -> Subject:
        """Return who the tokens are about; what was authorized is what is granted.

        The consent, or refreshing, may have been taken back while the code was on its way.
        """
        if session.has_refresh_token and not self.request.client.refresh_tokens_enabled:
            raise InvalidGrant(reason="refresh_tokens_disabled")
        consented = has_consent(user_id=session.user_id, client=self.request.client, scope=session.scopes)
        if not consented:
            raise InvalidGrant(reason="consent_withdrawn")
        return Subject.of(session, client=self.request.client, scope=session.scopes, nonce=self.nonce)

    def report_rotated(self, session: RefreshToken) -> None:
        """Signal that a session has begun."""
        report_issued(
            session,
            client=self.request.client,
            user=session.user,
            caller=self.request.caller,
            is_recorded=self.is_recorded,
        )

    def recorder(self, session: RefreshToken) -> Callable[[], object] | None:
        """Have the audit trail written with the rotation: the answer waits for one COMMIT, not two."""
        self.is_recorded = audit_trail.may_record_within(self.using)
        if not self.is_recorded:
            return None
        client, caller = self.request.client, self.request.caller
        return partial(
            audit_trail.record_issued_within, session, client=client, caller=caller, using=self.using
        )


def _genuine(text: Concealed, request: TokenRequest) -> GenuineCode:
    try:
        return text.lend(partial(authorization_code_string.authenticate, keys=site_keys.code_keys()))
    except NotGenuine as error:
        if isinstance(error, WrongMAC):
            key_set.current().require_right_secrets(request.now)
        raise InvalidGrant(reason="not_genuine", is_attempt=True) from None


def _verify_challenge(code: GenuineCode, parameters: Parameters) -> bool:
    """Check the code_verifier against what the code is bound to (RFC 7636 §4.6); tell whether there is PKCE.

    A verifier where there was no challenge is refused as well (RFC 9700 §4.8.2): an attacker has taken the
    challenge out of the authorization request.
    """
    if "code_verifier" not in parameters:
        if not code.is_for_challenge(None):
            raise InvalidGrant(reason="no_code_verifier", is_attempt=True)
        return False
    if not _VERIFIER.fullmatch(parameters["code_verifier"]):
        raise InvalidGrant(reason="malformed_code_verifier", is_attempt=True)
    if not code.is_for_challenge(authorization_code_string.challenge_of(parameters["code_verifier"])):
        raise InvalidGrant(reason="wrong_code_verifier", is_attempt=True)
    return True


exchange: Final = AuthorizationCodeGrant()
