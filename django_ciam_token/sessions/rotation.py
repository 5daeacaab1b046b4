"""Rotating a session: prepared without the database, carried out by one conditional UPDATE."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction

from django_ciam_token.caller import Caller
from django_ciam_token.crypto import refresh_token_string
from django_ciam_token.crypto.refresh_token_string import GenuineToken, TokenKey
from django_ciam_token.models import Client, RefreshToken
from django_ciam_token.sessions.auth_hash import session_auth_hash
from django_ciam_token.sessions.creation import next_expiry
from django_ciam_token.sessions.rows import rotate_row


@dataclass(frozen=True)
class Rotation:
    """A rotation that was prepared: repeating it with the same nonce leads to the same row."""

    nonce: bytes = field(repr=False)
    successor: GenuineToken


def prepare_rotation(presented: GenuineToken, *, key: TokenKey) -> Rotation:
    """Draw the nonce of a rotation and compute the successor."""
    nonce = refresh_token_string.new_nonce()
    return Rotation(nonce=nonce, successor=refresh_token_string.successor(presented, nonce=nonce, key=key))


def rotate(
    session: RefreshToken, rotation: Rotation, *, client: Client, caller: Caller, now: datetime, using: str
) -> bool:
    """Carry out a rotation; False if another request rotated or revoked the session in between."""
    changes: dict[str, Any] = {
        "generation": rotation.successor.generation,
        "secret_digest": refresh_token_string.digest(rotation.successor.secret),
        "nonce": rotation.nonce,
        # Anew, so that a session outlives the secret, or the format, that its old hash was made with.
        "session_auth_hash": session_auth_hash(session.user),
        "expires_at": next_expiry(client, issued_at=session.issued_at, now=now),
        "last_address": caller.address,
        "last_user_agent": caller.user_agent,
    }
    with transaction.atomic(using=using):
        rotated = rotate_row(
            using,
            session_id=session.pk,
            expected=session.generation,
            judged_auth_hash=session.session_auth_hash,
            **changes,
        )
    if rotated:
        # What signals hand to the site is the session as it is now.
        for name, value in {**changes, "rotated_at": now}.items():
            setattr(session, name, value)
    return rotated


def has_rotated(session: RefreshToken, rotation: Rotation) -> bool:
    """Tell whether the row is as this very rotation left it: its COMMIT succeeded after all."""
    return bytes(session.nonce) == rotation.nonce
