"""What the tokens say: the claims of access tokens and id_tokens."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ImproperlyConfigured

from django_ciam_token.conf import ciam_settings
from django_ciam_token.models import Client, RefreshToken

_LONGEST_SUB: Final = 255  # OpenID Connect Core §2.

# A site adds claims; it can't change what its verifiers rely on.
RESERVED_CLAIMS: Final = frozenset(
    (
        *("iss", "sub", "aud", "azp", "exp", "nbf", "iat", "jti"),
        *("scope", "client_id", "sid", "auth_time", "nonce", "at_hash", "c_hash", "cnf"),
    )
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Who and what tokens are about."""

    client: Client
    user: AbstractBaseUser | None
    """None for a machine, whose ``sub`` is its client_id."""
    scope: tuple[str, ...]
    """Of this access token."""
    session_id: uuid.UUID | None
    auth_time: datetime | None
    """When the user signed in; kept for the life of the session (OpenID Connect Core §12.2)."""
    nonce: str | None = field(default=None, repr=False)
    """Of the authorization request; only the first id_token has it (OpenID Connect Core §12.2)."""

    @classmethod
    def of(
        cls,
        session: RefreshToken,
        *,
        client: Client,
        scope: tuple[str, ...],
        nonce: str | None = None,
    ) -> Subject:
        """Return the subject of a session's tokens.

        Args:
            session: the session; its user must have been fetched.
            client: the session's client.
            scope: of this access token, which may be narrower than the session's (RFC 6749 §6).
            nonce: of the authorization request that the session began with, if this is its first id_token.
        """
        return cls(
            client=client,
            user=session.user,
            scope=scope,
            session_id=session.pk,
            auth_time=session.auth_time,
            nonce=nonce,
        )

    @cached_property
    def identifier(self) -> str:
        """The ``sub``, in both tokens the same; see `subject_identifier`."""
        return subject_identifier(self.user, client=self.client)


def access_token_claims(subject: Subject, *, iat: int) -> dict[str, Any]:
    """Return the claims of an access token, in the reference form or in that of RFC 9068 §2.2."""
    client = subject.client
    claims = {
        "sub": subject.identifier,
        "aud": client.token_audience,
        "nbf": iat,
        "scope": list(subject.scope),
        "iss": ciam_settings.ISSUER,
        "exp": iat + math.floor(client.effective_access_token_lifetime.total_seconds()),
        "iat": iat,
        "jti": str(uuid.uuid4()),
    }
    if is_rfc9068():
        claims["scope"] = " ".join(subject.scope)
        claims["client_id"] = client.client_id
        if subject.auth_time is not None:
            claims["auth_time"] = math.floor(subject.auth_time.timestamp())
    elif client.audience:
        # Otherwise nothing would say whose token it is.
        claims["client_id"] = client.client_id
    if subject.session_id is not None:
        claims["sid"] = str(subject.session_id)
    return claims | _further_claims("ACCESS_TOKEN_CLAIMS", ciam_settings.ACCESS_TOKEN_CLAIMS, subject)


def id_token_claims(subject: Subject, *, iat: int) -> dict[str, Any]:
    """Return the claims of an id_token.

    OpenID Connect Core §12.2: on a refresh ``sub``, ``aud``, ``azp`` and ``auth_time`` are those of the
    first id_token. Only that one has the ``nonce`` of the authorization request (§2).
    """
    client = subject.client
    claims = {
        "sub": subject.identifier,
        "aud": client.client_id,
        "azp": client.client_id,
        "iss": ciam_settings.ISSUER,
        "exp": iat + math.floor(client.effective_id_token_lifetime.total_seconds()),
        "iat": iat,
        "jti": str(uuid.uuid4()),
    }
    if subject.auth_time is not None:
        claims["auth_time"] = math.floor(subject.auth_time.timestamp())
    if subject.session_id is not None:
        claims["sid"] = str(subject.session_id)
    if subject.nonce is not None:
        claims["nonce"] = subject.nonce
    return claims | _further_claims("ID_TOKEN_CLAIMS", ciam_settings.ID_TOKEN_CLAIMS, subject)


def is_rfc9068() -> bool:
    """Tell whether the site's access tokens have the form of RFC 9068."""
    return ciam_settings.ACCESS_TOKEN_PROFILE == "rfc9068"


def subject_identifier(user: AbstractBaseUser | None, *, client: Client) -> str:
    """Return the ``sub`` of a user, or of a machine.

    Raises:
        ImproperlyConfigured: the setting ``SUBJECT`` gives nothing that tells users apart.
    """
    return client.client_id if user is None else user_identifier(user)


def user_identifier(user: AbstractBaseUser) -> str:
    """Return the ``sub`` of a user.

    Raises:
        ImproperlyConfigured: as in `subject_identifier`.
    """
    subject_of = ciam_settings.SUBJECT
    sub = user.pk if subject_of is None else subject_of(user)
    # str(None) would make all users one at every relying party.
    if sub is None or not 0 < len(str(sub)) <= _LONGEST_SUB:
        raise ImproperlyConfigured("CIAM_TOKEN['SUBJECT'] must return 1 to 255 characters for every user.")
    return str(sub)


def _further_claims(
    setting: str, source: Callable[..., Mapping[str, Any]] | None, subject: Subject
) -> dict[str, Any]:
    if source is None:
        return {}
    claims = source(user=subject.user, client=subject.client, scope=subject.scope)
    if not isinstance(claims, Mapping):
        raise ImproperlyConfigured(f"CIAM_TOKEN[{setting!r}] must return a dict of claims.")
    if reserved := RESERVED_CLAIMS & claims.keys():
        names = ", ".join(sorted(reserved))
        raise ImproperlyConfigured(f"CIAM_TOKEN[{setting!r}] must not return the claims {names}.")
    return {name: value for name, value in claims.items() if value is not None}
