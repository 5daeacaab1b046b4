"""Keys derived from the site's secrets, one per purpose, the current secret first.

Because there is a list, secrets can be replaced: anything that an older secret signed or encrypted is
accepted while that secret is listed (``SECRET_KEY_FALLBACKS``). Only the first signs and encrypts.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from django_ciam_token.conf import ciam_settings
from django_ciam_token.crypto.authorization_code_string import CodeKey
from django_ciam_token.crypto.refresh_token_string import TokenKey

# A purpose goes into its keys: changing it makes everything that was made with them unreadable.
_TOKEN_MAC: Final = "refresh-token-mac"
_TOKEN_SUCCESSOR: Final = "refresh-token-successor"
_CODE_MAC: Final = "authorization-code-mac"
SIGNING_KEY: Final = "signing-key"
SHOWN_ONCE: Final = "shown-once"
PASSWORD_HASH: Final = "password-hash"
FRESH_LOGIN: Final = "fresh-login"
CONSENT: Final = "consent"


class Undecryptable(Exception):
    """None of the site's secrets decrypts this text."""


def token_keys() -> tuple[TokenKey, ...]:
    """Return the keys of refresh tokens: the first signs, all are accepted."""
    return tuple([_token_key(secret) for secret in ciam_settings.SECRETS])


def code_keys() -> tuple[CodeKey, ...]:
    """Return the keys of authorization codes: the first signs, all are accepted."""
    return tuple([CodeKey(mac_key=_mac_key(secret, _CODE_MAC)) for secret in ciam_settings.SECRETS])


def mac(message: bytes, *, purpose: str) -> bytes:
    """Return the MAC of a message with the current secret."""
    return hmac.digest(_mac_key(ciam_settings.SECRETS[0], purpose), message, "sha256")


def macs(message: bytes, *, purpose: str) -> Iterator[bytes]:
    """Yield the MAC of a message with each of the secrets; any is to be accepted."""
    for secret in ciam_settings.SECRETS:
        yield hmac.digest(_mac_key(secret, purpose), message, "sha256")


def encrypt(plaintext: bytes, *, purpose: str) -> str:
    """Encrypt and authenticate with the current secret."""
    return _fernet(ciam_settings.SECRETS[0], purpose).encrypt(plaintext).decode("ascii")


def decrypt(ciphertext: str, *, purpose: str, max_age: int | None = None) -> bytes:
    """Decrypt a text that `encrypt` made with any of the listed secrets.

    Args:
        ciphertext: the text.
        purpose: what it was encrypted for.
        max_age: seconds after which it is no longer accepted; None for no limit.

    Raises:
        Undecryptable: it was made with another secret or for another purpose, is too old, or was altered.
    """
    fernets = MultiFernet([_fernet(secret, purpose) for secret in ciam_settings.SECRETS])
    try:
        return fernets.decrypt(ciphertext.encode("ascii"), ttl=max_age)
    except (InvalidToken, UnicodeEncodeError):
        raise Undecryptable("made with a secret that is no longer listed") from None


def is_encrypted_with_current_secret(ciphertext: str, *, purpose: str) -> bool:
    """Tell whether a text can still be decrypted when all fallback secrets are removed."""
    try:
        _fernet(ciam_settings.SECRETS[0], purpose).decrypt(ciphertext.encode("ascii"))
    except (InvalidToken, UnicodeEncodeError):
        return False
    return True


@lru_cache(maxsize=16)
def _token_key(secret: str) -> TokenKey:
    return TokenKey(
        mac_key=_derive(secret, _TOKEN_MAC),
        derivation_key=_derive(secret, _TOKEN_SUCCESSOR),
    )


@lru_cache(maxsize=16)
def _mac_key(secret: str, purpose: str) -> bytes:
    return _derive(secret, purpose)


@lru_cache(maxsize=32)
def _fernet(secret: str, purpose: str) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(_derive(secret, purpose)))


def _derive(secret: str, purpose: str) -> bytes:
    info = f"django_ciam_token/{purpose}".encode("ascii")
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret.encode())
