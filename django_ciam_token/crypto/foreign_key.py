"""Private keys that another system has signed with, read from PEM."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from django_ciam_token.crypto import jose

_SHORTEST_RSA: Final = 2048


class UnusableKey(ValueError):
    """The text is no private key that this service can sign with; the message says why, and shows nothing."""


def read_private_key(pem: bytes) -> PrivateKeyTypes:
    """Read a private key.

    Raises:
        UnusableKey: the text is none, or is encrypted.
    """
    try:
        return jose.parse_private_key(pem)
    except TypeError:
        raise UnusableKey(
            "the private key is encrypted; decrypt it first: openssl pkey -in key.pem"
        ) from None
    except Exception:  # noqa: BLE001 - cryptography raises several kinds, whose frames have the key
        raise UnusableKey("no private key in PEM, such as -----BEGIN PRIVATE KEY-----") from None


def algorithm_of(key: PrivateKeyTypes, wanted: str | None) -> str:
    """Return the algorithm that a key signs with.

    Args:
        key: the private key.
        wanted: RS256 or PS256 for an RSA key; None for the usual one of the key.

    Raises:
        UnusableKey: this service does not sign with such a key, or not with that algorithm.
    """
    possible = _possible(key)
    if wanted is None:
        return possible[0]
    if wanted not in possible:
        raise UnusableKey(f"the key is for {' or '.join(possible)}, not for {wanted}")
    return wanted


def _possible(key: PrivateKeyTypes) -> tuple[str, ...]:
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < _SHORTEST_RSA:
            raise UnusableKey(f"the RSA key has {key.key_size} bits; at least {_SHORTEST_RSA} are needed")
        return ("RS256", "PS256")
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return ("ES256",)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return ("EdDSA",)
    raise UnusableKey("the key must be RSA, EC on P-256, or Ed25519")
