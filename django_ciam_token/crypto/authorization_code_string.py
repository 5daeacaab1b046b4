"""The authorization code string: how it is encoded, authenticated, and compared with what it is bound to.

    ciam_ac1_ base64url( session id (16) | secret (32) | three tags (16 each) | mac (16) | nonce )

A code is generation zero of its session: its secret is what the first refresh token is computed from. The
tags are MACs of what the code is bound to (the client, the redirect URI, the code_challenge or that there was
none), so that none of it needs a column. There is one for each, so that the log can say which was wrong. The
nonce of OpenID Connect travels in the string. The database holds only the SHA-256 of the secret, so neither a
stolen database nor a stolen site secret is enough to make a code.

This module does not use Django: keys are passed in.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from django_ciam_token.crypto.refresh_token_string import (
    SECRET_BYTES,
    GenuineToken,
    NotGenuine,
    WrongMAC,
)

# Other than that of refresh tokens, and the keys are others too: neither kind can be used as the other.
PREFIX: Final = "ciam_ac1_"
LONGEST_NONCE: Final = 2_000
"""Bytes in UTF-8."""
_TAG_BYTES: Final = 16
_SIGNED_BYTES: Final = 16 + SECRET_BYTES + 3 * _TAG_BYTES
_LONGEST: Final = len(PREFIX) + (4 * (_SIGNED_BYTES + _TAG_BYTES + LONGEST_NONCE) + 2) // 3
_CLIENT: Final = b"client"
_REDIRECT_URI: Final = b"redirect_uri"
_CODE_CHALLENGE: Final = b"code_challenge"


@dataclass(frozen=True, slots=True)
class CodeKey:
    """The key derived from one of the site's secrets that signs codes."""

    mac_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Binding:
    """What a code is bound to."""

    client_id: str
    redirect_uri: str = field(repr=False)
    code_challenge: str | None = field(repr=False)
    """As in the authorization request (RFC 7636 §4.3); None if there was none."""


@dataclass(frozen=True, slots=True)
class GenuineCode:
    """The content of a code whose MAC was verified."""

    session_id: uuid.UUID
    secret: bytes = field(repr=False)
    nonce: str | None = field(repr=False)
    _tags: bytes = field(repr=False)
    _key: CodeKey = field(repr=False)

    @property
    def token(self) -> GenuineToken:
        """Generation zero of its session."""
        return GenuineToken(session_id=self.session_id, generation=0, secret=self.secret)

    def is_for_client(self, client_id: str) -> bool:
        """Tell whether it was issued to this client."""
        return self._is(0, _CLIENT, client_id)

    def is_for_redirect_uri(self, redirect_uri: str) -> bool:
        """Tell whether it was sent to this address (RFC 6749 §4.1.3)."""
        return self._is(1, _REDIRECT_URI, redirect_uri)

    def is_for_challenge(self, code_challenge: str | None) -> bool:
        """Tell whether the authorization request had this code_challenge; None: whether it had none."""
        return self._is(2, _CODE_CHALLENGE, code_challenge)

    def _is(self, place: int, name: bytes, value: str | None) -> bool:
        tag = self._tags[place * _TAG_BYTES : (place + 1) * _TAG_BYTES]
        return hmac.compare_digest(tag, _tag(name, value, self.session_id, self._key))


def encode(token: GenuineToken, *, binding: Binding, nonce: str | None, key: CodeKey) -> str:
    """Return the code for generation zero of a session.

    Args:
        token: its session and the secret that was drawn for it.
        binding: who may exchange it, and how.
        nonce: for the id_token; at most `LONGEST_NONCE` bytes. None if none was sent.
        key: signs it.
    """
    bound = (
        (_CLIENT, binding.client_id),
        (_REDIRECT_URI, binding.redirect_uri),
        (_CODE_CHALLENGE, binding.code_challenge),
    )
    tags = b"".join([_tag(name, value, token.session_id, key) for name, value in bound])
    signed = token.session_id.bytes + token.secret + tags
    tail = (nonce or "").encode("utf-8")
    return PREFIX + _base64url(signed + _mac(signed, tail, key) + tail)


def authenticate(text: str, keys: Iterable[CodeKey]) -> GenuineCode:
    """Decode a code, and verify that one of the keys has signed it.

    Raises:
        NotGenuine: the string is malformed, or (`WrongMAC`) none of the keys signed it.
    """
    raw = _decoded(text)
    signed, tail = raw[:_SIGNED_BYTES], raw[_SIGNED_BYTES + _TAG_BYTES :]
    mac = raw[_SIGNED_BYTES : _SIGNED_BYTES + _TAG_BYTES]
    for key in keys:
        if hmac.compare_digest(mac, _mac(signed, tail, key)):
            return GenuineCode(
                session_id=uuid.UUID(bytes=signed[:16]),
                secret=signed[16 : 16 + SECRET_BYTES],
                nonce=tail.decode("utf-8") or None,
                _tags=signed[16 + SECRET_BYTES :],
                _key=key,
            )
    raise WrongMAC("the MAC is not ours")


def challenge_of(code_verifier: str) -> str:
    """Return the S256 code_challenge of a verifier (RFC 7636 §4.2)."""
    return _base64url(hashlib.sha256(code_verifier.encode("ascii")).digest())


def _decoded(text: str) -> bytes:
    if not text.startswith(PREFIX) or len(text) > _LONGEST:
        raise NotGenuine("not a code of this version")
    encoded = text[len(PREFIX) :]
    # Python takes them for - and _, from 3.15 on with a warning.
    if "+" in encoded or "/" in encoded:
        raise NotGenuine("not base64url")
    try:
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise NotGenuine("not base64url") from None
    # One spelling for each code, as for refresh tokens.
    if _base64url(raw) != encoded or len(raw) < _SIGNED_BYTES + _TAG_BYTES:
        raise NotGenuine("not the canonical base64url of a code")
    return raw


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _tag(name: bytes, value: str | None, session_id: uuid.UUID, key: CodeKey) -> bytes:
    # Nothing is not the same as an empty value.
    written = b"" if value is None else b"=" + value.encode("utf-8")
    return hmac.digest(key.mac_key, name + b"|" + session_id.bytes + written, "sha256")[:_TAG_BYTES]


def _mac(signed: bytes, tail: bytes, key: CodeKey) -> bytes:
    return hmac.digest(key.mac_key, PREFIX.encode("ascii") + signed + tail, "sha256")[:_TAG_BYTES]
