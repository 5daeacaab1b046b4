"""JSON Web Keys and JSON Web Tokens. The only module that imports ``jwt``; it uses no models."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple

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
REMEMBERED_SIGNATURES: Final = 4096
"""How many tokens a key remembers in a process, at the least, of the last that it has verified."""
_COMPACT: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_LONGEST_HEADER: Final = 1024
_REQUIRED: Final = frozenset(("exp", "iat", "iss", "sub", "aud", "jti"))
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
    return private_pem(key)


def private_pem(key: PrivateKeyTypes) -> bytes:
    """Return a private key as unencrypted PKCS #8 PEM."""
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


class Header(NamedTuple):
    """The members of a JOSE header that are looked at (RFC 7515 §4.1)."""

    kid: str
    alg: str
    typ: str


def unverified_issuer(token: str) -> Any:
    """Return the ``iss`` of anything that might be a JWT; None if there is none. Nobody has verified it."""
    try:
        claims = json.loads(_decoded(token.split(".")[1]))
    except (IndexError, ValueError, RecursionError):
        return None
    return claims.get("iss") if isinstance(claims, dict) else None


def unverified_parts(token: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return header and claims of anything in the form of a JWT, to be shown; None if it has another form."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        header, claims = (json.loads(_decoded(part)) for part in parts[:2])
    except (ValueError, RecursionError):
        return None
    return (header, claims) if isinstance(header, dict) and isinstance(claims, dict) else None


class SignedText:
    """A JWT in its parts, parsed once; nobody has verified it."""

    __slots__ = ("_claims", "_signature", "_signing_input", "header")

    def __init__(self, token: str) -> None:
        """Take a JWT in the compact form apart (RFC 7515 §7.1).

        Raises:
            NotVerified: it is no JWT, or one that this service would not have issued.
        """
        parts = _COMPACT.fullmatch(token)
        if parts is None:
            raise NotVerified("not three parts in base64url")
        header, self._claims, signature = parts.groups()
        try:
            self.header: Final = _read_header(header)
            self._signature: Final = _decoded(signature)
        except (ValueError, TypeError, RecursionError):
            raise NotVerified("the header is not one of ours") from None
        # Only one string is the token: unused bits of the last character are zero.
        if base64url_encode(self._signature).decode("ascii") != signature:
            raise NotVerified("the signature is not in base64url")
        self._signing_input: Final = token[: parts.end(2)].encode("ascii")

    def __repr__(self) -> str:
        return f"<JWT signed with {self.header.kid}>"

    def is_signed_with(self, key: VerifyingKey) -> bool:
        """Tell whether the key has signed it, by the key's own algorithm (RFC 8725 §3.1)."""
        return self.header.alg == key.algorithm and key.has_signed(self._signing_input, self._signature)

    def unverified_claims(self) -> dict[str, Any]:
        """Return the claims.

        Raises:
            NotVerified: they are not a JSON object.
        """
        try:
            claims = json.loads(_decoded(self._claims))
        except (ValueError, RecursionError):
            raise NotVerified("the claims are not JSON") from None
        if not isinstance(claims, dict):
            raise NotVerified("the claims are not an object")
        return claims


class VerifyingKey:
    """A public key, parsed once, that remembers which tokens it has found to be signed.

    A signature that was right once is right for ever, so only this is remembered: not that the token was
    live, nor its claims. What is kept of a token is a digest, from which nothing can be recovered.
    """

    def __init__(self, jwk: Mapping[str, str]) -> None:
        """Parse a public JWK.

        Raises:
            NotVerified: it is not one of a kind that this service makes.
        """
        try:
            parsed = jwt.PyJWK(dict(jwk))
        except (jwt.PyJWTError, TypeError, ValueError):
            raise NotVerified("the key can't be read") from None
        self.algorithm: Final = str(parsed.algorithm_name)
        self._verify: Final = partial(parsed.Algorithm.verify, key=parsed.Algorithm.prepare_key(parsed.key))
        # Two generations: when the younger is full, it replaces the older.
        self._verified: set[bytes] = set()
        self._verified_before: set[bytes] = set()

    def has_signed(self, signing_input: bytes, signature: bytes) -> bool:
        """Tell whether a signature is this key's."""
        digest = hashlib.sha256(signing_input + b"." + signature).digest()
        if digest in self._verified or digest in self._verified_before:
            return True
        if not self._verify(signing_input, sig=signature):
            return False
        if len(self._verified) >= REMEMBERED_SIGNATURES:
            self._verified_before, self._verified = self._verified, set()
        self._verified.add(digest)
        return True


def verify(signed: SignedText, *, key: VerifyingKey, issuer: str) -> dict[str, Any]:
    """Return the claims of a JWT that the key has signed for this issuer.

    The caller knows the time and the audience, and must check that the token has not expired and is for it.

    Args:
        signed: the JWT.
        key: the public key that its header names.
        issuer: what ``iss`` must be.

    Raises:
        NotVerified: it was signed by another key or for another issuer, or lacks a claim.
    """
    if not signed.is_signed_with(key):
        raise NotVerified("not signed by the key that it names")
    claims = signed.unverified_claims()
    if claims.get("iss") != issuer or not claims.keys() >= _REQUIRED:
        raise NotVerified("of another issuer, or without a claim that every token has")
    if not (isinstance(claims["sub"], str) and isinstance(claims["jti"], str)):
        raise NotVerified("sub and jti must be strings")
    # Our own tokens always pass. Should anybody get another one signed, it is refused and causes no 500.
    if not all(_is_numeric_date(claims[name]) for name in ("exp", "iat", "nbf") if name in claims):
        raise NotVerified("exp, iat and nbf must be whole seconds within the range of dates")
    return claims


@lru_cache(maxsize=64)
def _read_header(text: str) -> Header:
    """Parse a header, once for each kind of token that a key signs.

    Raises:
        ValueError: it is not JSON, or asks for more than a signature (RFC 7515 §4.1.11, RFC 7797).
        TypeError: a member is missing or has another type.
    """
    if len(text) > _LONGEST_HEADER:
        raise ValueError
    members = json.loads(_decoded(text))
    if not isinstance(members, dict) or "crit" in members or "b64" in members:
        raise ValueError
    kid, alg, typ = members.get("kid"), members.get("alg"), members.get("typ", "")
    if not (isinstance(kid, str) and isinstance(alg, str) and isinstance(typ, str)):
        raise TypeError
    return Header(kid=kid, alg=alg, typ=typ)


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _is_numeric_date(value: Any) -> bool:
    """Tell whether a value is a NumericDate (RFC 7519 §2) in whole seconds that a datetime can hold."""
    return type(value) is int and 0 <= value <= _LATEST_DATE


def _json(members: Mapping[str, Any]) -> bytes:
    return _ENCODER.encode(members).encode()


_ENCODER: Final = DjangoJSONEncoder(separators=(",", ":"), allow_nan=False)
