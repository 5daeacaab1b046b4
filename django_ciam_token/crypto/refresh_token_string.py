"""The refresh token string: how it is encoded and authenticated, and how its successor is made.

    ciam_rt1_ base64url( session id (16) | generation (4) | secret (32) | mac (16) )

The MAC covers the prefix and everything else before it. With it the service refuses a string that it
never issued without a query. It also tells a genuine *old* token (reuse, a sign of theft) from garbage that
only names a session (and must not be able to end it). The database holds only the SHA-256 of the current
secret, so neither a stolen database nor a stolen site secret is enough to refresh.

This module does not use Django: keys are passed in.
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

# Secret scanners and people recognise a token by the prefix. The digit is the version of the format.
PREFIX: Final = "ciam_rt1_"
SECRET_BYTES: Final = 32
NONCE_BYTES: Final = 16
# The largest value of a four-byte signed integer, which the column is on every database.
LAST_GENERATION: Final = 2**31 - 1
_MAC_BYTES: Final = 16
_SIGNED_BYTES: Final = 16 + 4 + SECRET_BYTES
_TEXT_LENGTH: Final = len(PREFIX) + (4 * (_SIGNED_BYTES + _MAC_BYTES) + 2) // 3


class NotGenuine(ValueError):
    """The string was not issued with any of the given keys."""


class WrongMAC(NotGenuine):
    """The string has the form of a token: it is forged, or the keys are not those that it was issued with."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """The keys derived from one of the site's secrets: one for MACs and one for successors."""

    mac_key: bytes = field(repr=False)
    derivation_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GenuineToken:
    """The content of a token whose MAC was verified."""

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
    """Return the digest that the database stores in place of a secret.

    A fast hash is enough: the input has 256 random bits, so nobody can guess it.
    """
    return hashlib.sha256(secret).digest()


def matches(secret: bytes, secret_digest: bytes) -> bool:
    """Tell in constant time whether a secret belongs to a stored digest."""
    return hmac.compare_digest(digest(secret), secret_digest)


def encode(token: GenuineToken, key: TokenKey) -> str:
    """Return a token as the string that its client gets."""
    signed = token.session_id.bytes + token.generation.to_bytes(4, "big") + token.secret
    raw = signed + _mac(signed, key)
    return PREFIX + base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def authenticate(text: str, keys: Iterable[TokenKey]) -> GenuineToken:
    """Decode a token, and verify that one of the keys has signed it.

    Raises:
        NotGenuine: the string is malformed, or (`WrongMAC`) none of the keys signed it.
    """
    if len(text) != _TEXT_LENGTH or not text.startswith(PREFIX):
        raise NotGenuine("not a refresh token of this version")
    encoded = text[len(PREFIX) :]
    # Python takes them for - and _, from 3.15 on with a warning.
    if "+" in encoded or "/" in encoded:
        raise NotGenuine("not base64url")
    try:
        raw = base64.b64decode(encoded + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise NotGenuine("not base64url") from None
    # Decoding drops two bits of the last character. Without this check there would be four spellings of
    # a token, and code that compares token strings could be fooled.
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") != encoded:
        raise NotGenuine("not the canonical base64url")
    signed, mac = raw[:_SIGNED_BYTES], raw[_SIGNED_BYTES:]
    if not any(hmac.compare_digest(mac, _mac(signed, key)) for key in keys):
        raise WrongMAC("the MAC is not ours")
    return GenuineToken(
        session_id=uuid.UUID(bytes=signed[:16]),
        generation=int.from_bytes(signed[16:20], "big"),
        secret=signed[20:],
    )


def successor(token: GenuineToken, *, nonce: bytes, key: TokenKey) -> GenuineToken:
    """Return the token that follows this one in the rotation that drew this nonce.

    The same arguments give the same successor. So a client whose answer was lost can get it again, although
    it is never stored. It can't be computed without the token that the client presents.
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
