"""What binds a private key to its row: kid, algorithm and public half are encrypted together with it.

Somebody who can write to the database, but lacks the site's secrets, could otherwise exchange the ciphertexts
of two keys, or insert a public key of their own and sign tokens that are accepted. What they can still do is
to delete rows and to change timestamps: a key that was removed can be brought back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Final

from django_ciam_token.crypto import jose, site_keys
from django_ciam_token.crypto.site_keys import Undecryptable
from django_ciam_token.models import SigningKey


class Trust(Enum):
    """Whether the row of a key is as this site has written it."""

    TRUSTED = "trusted"
    UNDECRYPTABLE = "undecryptable"
    """None of the site's secrets decrypts it: they are the wrong ones, or somebody else wrote it."""
    MISMATCHED = "mismatched"
    """It was decrypted, and belongs to another kid, algorithm or public half than the row says."""


class NotBound(Undecryptable):
    """The private key was encrypted for another row."""


def seal(pem: bytes, public_jwk: Mapping[str, str]) -> str:
    """Encrypt a private key together with its public JWK, which has its kid and algorithm."""
    return site_keys.encrypt(_written(public_jwk) + _END + pem, purpose=site_keys.SIGNING_KEY)


def unseal(key: SigningKey) -> bytes:
    """Return the private key of a row as PEM.

    Raises:
        Undecryptable: none of the site's secrets decrypts it.
        NotBound: it is not the private key of this row.
    """
    sealed = site_keys.decrypt(key.encrypted_private_key, purpose=site_keys.SIGNING_KEY)
    public, _, pem = sealed.partition(_END)
    if not _is_of_row(public, key):
        raise NotBound("encrypted for another row")
    return pem


def trust(key: SigningKey) -> Trust:
    """Tell whether a key may sign, be published and verify; fast, because the private key is not parsed."""
    try:
        unseal(key)
    except NotBound:
        return Trust.MISMATCHED
    except Undecryptable:
        return Trust.UNDECRYPTABLE
    return Trust.TRUSTED


_END: Final = b"\n"


def _written(public_jwk: Mapping[str, str]) -> bytes:
    return json.dumps(public_jwk, sort_keys=True).encode()


def _is_of_row(public: bytes, key: SigningKey) -> bool:
    """Compare what was encrypted with the columns of the row, of which anybody may have written anything."""
    if not isinstance(key.public_jwk, dict) or public != _written(jose.in_order(key.public_jwk)):
        return False
    return key.public_jwk.get("kid") == key.kid and key.public_jwk.get("alg") == key.algorithm
