"""An id_token that comes back as a hint (OpenID Connect Core §3.1.2.1, RP-Initiated Logout 1.0 §2).

It proves that this service once said so, and nothing about who sends it. It may have expired long ago.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser

from django_ciam_token.concealed import Concealed
from django_ciam_token.conf import ciam_settings
from django_ciam_token.crypto import jose
from django_ciam_token.keys import key_set
from django_ciam_token.tokens.claims import user_identifier


@dataclass(frozen=True)
class IdTokenHint:
    """The content of an id_token that this service signed, whenever that was."""

    client_id: str
    subject: str = field(repr=False)
    session_id: uuid.UUID | None
    auth_time: int | None
    """When its user had signed in, in seconds since the epoch."""

    def is_about(self, user: AbstractBaseUser) -> bool:
        """Tell whether it is about this user."""
        return self.subject == user_identifier(user)


def read_hint(token: str | None, *, now: datetime) -> IdTokenHint | None:
    """Return the content of a hint; None if there is none, or this service did not sign it.

    Raises:
        TemporarilyUnavailable: the keys can't be read.
    """
    if token is None:
        return None
    try:
        signed = Concealed(token).lend(jose.SignedText)
        key = key_set.knowing(signed.header.kid).verifying_key(signed.header.kid, now)
        claims = jose.verify(signed, key=key, issuer=ciam_settings.ISSUER)
        return _content(claims) if "azp" in claims and "scope" not in claims else None
    except (ValueError, TypeError, AttributeError, KeyError):
        return None


def _content(claims: dict[str, Any]) -> IdTokenHint:
    return IdTokenHint(
        client_id=str(claims["aud"]),
        subject=claims["sub"],
        session_id=uuid.UUID(claims["sid"]) if "sid" in claims else None,
        auth_time=claims.get("auth_time"),
    )
