"""JSON Web Tokens that another package issued, verified with that package's own key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import jwt

from django_ciam_token.crypto.jose import NotVerified

# The year 9000, as in `jose`.
_LATEST_DATE: Final = 221_845_392_000


def verify(
    token: str, *, find_key: Callable[[Any], Any], algorithm: str, audience: Any = None, issuer: Any = None
) -> dict[str, Any]:
    """Return the claims of a JWT that another package issued, also if it has expired.

    Args:
        token: in the compact form.
        find_key: returns the key of a JWT, as that package prepared it for PyJWT.
        algorithm: the only one that is accepted.
        audience: what ``aud`` must have, if anything.
        issuer: what ``iss`` must be, if anything.

    Raises:
        NotVerified: it is malformed, was not signed with the key, or is for somebody else.
    """
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            find_key(token),
            algorithms=[algorithm],
            audience=audience,
            issuer=issuer,
            options={
                "require": ["exp"],
                "verify_signature": True,
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": audience is not None,
                "verify_iss": issuer is not None,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, RecursionError):
        raise NotVerified("not a token of that package") from None
    if type(claims["exp"]) is not int or not 0 <= claims["exp"] <= _LATEST_DATE:
        raise NotVerified("exp must be whole seconds within the range of dates")
    return claims
