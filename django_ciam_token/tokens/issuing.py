"""Signing what a subject is issued, and the answer that carries it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime

from django_ciam_token.conf import ciam_settings
from django_ciam_token.crypto import jose
from django_ciam_token.errors import InvalidGrant
from django_ciam_token.keys import key_set
from django_ciam_token.tokens import claims
from django_ciam_token.tokens.claims import Subject


@dataclass(frozen=True, kw_only=True)
class SignedTokens:
    """The JWTs of one answer."""

    access_token: str = field(repr=False)
    id_token: str | None = field(repr=False)
    scope: tuple[str, ...]
    issued_at: datetime
    expires_at: int
    """The access token's ``exp``, in seconds since the epoch."""


@dataclass(frozen=True, kw_only=True)
class IssuedTokens:
    """A successful answer of the token endpoint (RFC 6749 §5.1)."""

    signed: SignedTokens
    refresh_token: str | None = field(repr=False)

    def members(self, now: datetime) -> dict[str, str | int]:
        """Return the members of the JSON body, in the order of the reference answers.

        ``expires_in`` is in whole seconds; if the database kept the request waiting, they are taken off.
        """
        body: dict[str, str | int] = {"access_token": self.signed.access_token}
        if self.refresh_token is not None:
            body["refresh_token"] = self.refresh_token
        body["scope"] = " ".join(self.signed.scope)
        if self.signed.id_token is not None:
            body["id_token"] = self.signed.id_token
        body["token_type"] = "Bearer"
        issued_at, waited = self.signed.issued_at, now - self.signed.issued_at
        lifetime = math.floor(self.signed.expires_at - issued_at.timestamp())
        body["expires_in"] = max(0, lifetime - math.floor(waited.total_seconds()))
        return body


def sign_tokens(subject: Subject, *, now: datetime) -> SignedTokens:
    """Sign an access token and, if the scope contains ``openid``, an id_token.

    Nothing is signed without asking the site's ``ISSUANCE_POLICY``.

    Raises:
        InvalidGrant: the policy says no.
        ServerError: there is no usable signing key.
        ImproperlyConfigured: a setting of the site is wrong.
    """
    require_issuable(subject)
    key = key_set.current().signing_pair(now)
    iat = math.floor(now.timestamp())
    access_claims = claims.access_token_claims(subject, iat=iat)
    typ = "at+jwt" if claims.is_rfc9068() else "JWT"
    # No token is in a variable while the site is asked for claims, or when they turn out not to be JSON.
    id_claims = claims.id_token_claims(subject, iat=iat) if "openid" in subject.scope else None
    return SignedTokens(
        access_token=jose.sign(access_claims, key=key, typ=typ),
        id_token=None if id_claims is None else jose.sign(id_claims, key=key),
        scope=subject.scope,
        issued_at=now,
        expires_at=access_claims["exp"],
    )


def require_issuable(subject: Subject) -> None:
    """Check that a subject may have tokens, as far as that is known before it is the time to sign them.

    Raises:
        InvalidGrant: the site's ``ISSUANCE_POLICY`` says no, or the user could be mistaken for the client.
    """
    _require_policy(subject)
    _require_distinct(subject)


def _require_policy(subject: Subject) -> None:
    policy = ciam_settings.ISSUANCE_POLICY
    if policy is not None and not policy(user=subject.user, client=subject.client, scope=subject.scope):
        raise InvalidGrant(reason="policy")


def _require_distinct(subject: Subject) -> None:
    """Refuse a user who would pass for an application that also acts for itself (RFC 9700 §4.15)."""
    could_be_either = subject.user is not None and subject.client.grants_client_credentials
    if could_be_either and subject.identifier == subject.client.client_id:
        raise InvalidGrant(reason="subject_is_client_id")
