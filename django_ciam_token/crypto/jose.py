"""JSON Web Keys and JSON Web Tokens. The only module that imports ``jwt``; it uses no models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from django.core.serializers.json import DjangoJSONEncoder
from jwt.utils import base64url_encode

RSA_KEY_BITS: Final = 2048
# The year 9000: a leeway of some years may be added.
_LATEST_DATE: Final = 221_845_392_000
_MEMBERS: Final = ("kty", "crv", "e", "kid", "n", "x", "y", "use", "alg")


class NotVerified(ValueError):
    """The JWT can't be verified with these keys."""


@dataclass(frozen=True, slots=True)
class SigningKeyPair:
    """A private key that is parsed once and then used for every signature.

    Parsing an RSA key costs about a hundred times as much as signing with it.
    """

    kid: str
    algorithm: str
    private_key: PrivateKeyTypes = field(repr=False)


def generate_private_key(algorithm: str) -> bytes:
    """Make a private key for a JWS algorithm and return it as unencrypted PKCS #8 PEM.

    Raises:
        ValueError: this service does not sign with the algorithm.
    """
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    if algorithm in ("RS256", "PS256"):
        key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_KEY_BITS)
    elif algorithm == "ES256":
        key = ec.generate_private_key(ec.SECP256R1())
    elif algorithm == "EdDSA":
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        raise ValueError(f"cannot make a key for {algorithm!r}")
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def parse_private_key(pem: bytes) -> PrivateKeyTypes:
    """Parse a private key. This is slow for RSA, so it must not happen in every request."""
    return load_pem_private_key(pem, password=None)


def public_jwk(private_key: PrivateKeyTypes, algorithm: str) -> dict[str, str]:
    """Return the public key as a JWK (RFC 7517) whose kid is its thumbprint (RFC 7638)."""
    jwk: dict[str, Any] = jwt.get_algorithm_by_name(algorithm).to_jwk(
        private_key.public_key(),
        as_dict=True,
    )
    # RFC 7638 §3.2: only the required members of the key, in lexicographic order, without spaces.
    required = {name: jwk[name] for name in sorted(jwk) if name in ("crv", "e", "kty", "n", "x", "y")}
    kid = base64url_encode(hashlib.sha256(_json(required)).digest()).decode("ascii")
    return in_order({**required, "kid": kid, "use": "sig", "alg": algorithm})


def in_order(jwk: Mapping[str, str]) -> dict[str, str]:
    """Return the public members of a JWK in the order of the reference answers."""
    return {name: jwk[name] for name in _MEMBERS if name in jwk}


def sign(claims: Mapping[str, Any], *, key: SigningKeyPair, typ: str = "JWT") -> str:
    """Return the claims as a signed JWT (RFC 7519) in the JWS compact form (RFC 7515 §7.1).

    `jwt.encode` would do the same, but it sorts the header. Here the header has the order of the reference
    answers.

    Raises:
        TypeError: a claim has a type that JSON does not have.
        ValueError: a claim is NaN or infinite.
    """
    signing_input = _header(key.kid, typ, key.algorithm) + b"." + base64url_encode(_json(claims))
    signature = jwt.get_algorithm_by_name(key.algorithm).sign(signing_input, key.private_key)
    return b".".join((signing_input, base64url_encode(signature))).decode("ascii")


@lru_cache(maxsize=64)
def _header(kid: str, typ: str, algorithm: str) -> bytes:
    """Encode the header, once for each key."""
    return base64url_encode(_json({"kid": kid, "typ": typ, "alg": algorithm}))


@lru_cache(maxsize=64)
def _public_key(kid: str, jwk: str) -> jwt.PyJWK:
    """Parse a public JWK, once for each key that this process sees."""
    return jwt.PyJWK(json.loads(jwk))


def unverified_kid(token: str) -> str | None:
    """Return the kid in the header of a JWT, which nobody has verified; None if the JWT is malformed."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, TypeError, ValueError, RecursionError):
        return None
    return kid if isinstance(kid, str) else None


def verify(
    token: str, *, jwks: Mapping[str, Mapping[str, str]], issuer: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of a JWT that one of the keys has signed for this issuer.

    The caller knows the time and the audience, and must check that the token has not expired and is for it.

    Args:
        token: in the compact form.
        jwks: the public keys by their kid; each is used only with its own ``alg`` (RFC 8725 §3.1).
        issuer: what ``iss`` must be.

    Raises:
        NotVerified: it is malformed, was signed by another key or for another issuer, or lacks a claim.
    """
    try:
        header = jwt.get_unverified_header(token)
        jwk = jwks[header["kid"]]
        claims: dict[str, Any] = jwt.decode(
            token,
            _public_key(jwk["kid"], json.dumps(dict(jwk))),
            algorithms=[jwk["alg"]],
            issuer=issuer,
            options={
                "require": ["exp", "iat", "iss", "sub", "aud", "jti"],
                "verify_signature": True,
                "verify_iss": True,
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": False,
                "verify_sub": True,
                "verify_jti": True,
            },
        )
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, RecursionError):
        raise NotVerified("not signed by any of the keys for this issuer") from None
    # Our own tokens always pass. Should anybody get another one signed, it is refused and causes no 500.
    if not all(_is_numeric_date(claims[name]) for name in ("exp", "iat", "nbf") if name in claims):
        raise NotVerified("exp, iat and nbf must be whole seconds within the range of dates")
    return header, claims


def _is_numeric_date(value: Any) -> bool:
    """Tell whether a value is a NumericDate (RFC 7519 §2) in whole seconds that a datetime can hold."""
    return type(value) is int and 0 <= value <= _LATEST_DATE


def _json(members: Mapping[str, Any]) -> bytes:
    return _ENCODER.encode(members).encode()


_ENCODER: Final = DjangoJSONEncoder(separators=(",", ":"), allow_nan=False)
