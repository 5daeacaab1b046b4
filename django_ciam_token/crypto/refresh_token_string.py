"""The refresh token string: how it is written, proved genuine and succeeded.

    ciam_rt1_ base64url( session id (16) | generation (4) | secret (32) | mac (16) )

The MAC covers the prefix and all that precedes it. It lets the service refuse a string that it never
issued before it asks the database, and tell a genuine *old* token (reuse: a theft to act upon) from
garbage that merely names a session (which must not be able to end it). The database holds only the
SHA-256 of the current secret, so neither a stolen database nor a stolen site secret suffices to refresh.

This module knows no Django: keys are passed in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

# The prefix lets secret scanners and people recognise a token; the digit is the version of the format.
PREFIX: Final = "ciam_rt1_"
SECRET_BYTES: Final = 32
NONCE_BYTES: Final = 16
# One below 2**31 so that the column can be a four-byte signed integer on every database.
LAST_GENERATION: Final = 2**31 - 1
_MAC_BYTES: Final = 16
_SIGNED_BYTES: Final = 16 + 4 + SECRET_BYTES
_TEXT_LENGTH: Final = len(PREFIX) + (4 * (_SIGNED_BYTES + _MAC_BYTES) + 2) // 3


class NotGenuine(ValueError):
    """The string was not issued with any of the keys given."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """What one of the site's secrets yields: a key for MACs and one for successors."""

    mac_key: bytes = field(repr=False)
    derivation_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GenuineToken:
    """The content of a token whose MAC was checked."""

    session_id: uuid.UUID
    """The session it belongs to."""
    generation: int
    """How many rotations preceded it."""
    secret: bytes = field(repr=False)


def new_secret() -> bytes:
    """Draw the secret of a session's first token."""
    return secrets.token_bytes(SECRET_BYTES)


def new_nonce() -> bytes:
    """Draw the nonce of one rotation."""
    return secrets.token_bytes(NONCE_BYTES)


def digest(secret: bytes) -> bytes:
    """Return what the database keeps of a secret.

    A fast hash is right: the input has 256 random bits, there is nothing to guess.
    """
    return hashlib.sha256(secret).digest()


def matches(secret: bytes, secret_digest: bytes) -> bool:
    """Tell in constant time whether a secret belongs to a stored digest."""
    return hmac.compare_digest(digest(secret), secret_digest)


def encode(token: GenuineToken, key: TokenKey) -> str:
    """Write a token down for its client."""
    signed = token.session_id.bytes + token.generation.to_bytes(4, "big") + token.secret
    raw = signed + _mac(signed, key)
    return PREFIX + base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def authenticate(text: str, keys: Iterable[TokenKey]) -> GenuineToken:
    """Read a token that one of the keys has signed.

    Raises:
        NotGenuine: the string is malformed or none of the keys signed it.
    """
    if len(text) != _TEXT_LENGTH or not text.startswith(PREFIX):
        raise NotGenuine("not a refresh token of this version")
    encoded = text[len(PREFIX) :]
    try:
        raw = base64.b64decode(encoded + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise NotGenuine("not base64url") from None
    # The last character carries two bits that decoding drops: without this a token could be written
    # in four ways, and whatever compares token strings could be fooled.
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") != encoded:
        raise NotGenuine("not the canonical base64url")
    signed, mac = raw[:_SIGNED_BYTES], raw[_SIGNED_BYTES:]
    if not any(hmac.compare_digest(mac, _mac(signed, key)) for key in keys):
        raise NotGenuine("the MAC is not ours")
    return GenuineToken(
        session_id=uuid.UUID(bytes=signed[:16]),
        generation=int.from_bytes(signed[16:20], "big"),
        secret=signed[20:],
    )


def successor(token: GenuineToken, *, nonce: bytes, key: TokenKey) -> GenuineToken:
    """Return the token that follows this one in the rotation that drew this nonce.

    The same arguments give the same successor, so it can be handed out again to a client whose answer
    was lost without ever being stored; without the presented token it can't be computed.
    """
    generation = token.generation + 1
    message = token.session_id.bytes + generation.to_bytes(4, "big") + token.secret + nonce
    return GenuineToken(
        session_id=token.session_id,
        generation=generation,
        secret=hmac.digest(key.derivation_key, message, "sha256"),
    )


def _mac(signed: bytes, key: TokenKey) -> bytes:
    return hmac.digest(key.mac_key, PREFIX.encode("ascii") + signed, "sha256")[:_MAC_BYTES]
