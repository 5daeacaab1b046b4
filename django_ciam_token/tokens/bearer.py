"""Bearer tokens in HTTP (RFC 6750): reading the Authorization header, and the challenge of a refusal."""

from __future__ import annotations

import re
from typing import Final

from django_ciam_token.concealed import Concealed
from django_ciam_token.errors import InvalidRequest, InvalidToken

_B64TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 §2.1.


def bearer_token(authorization: str | None) -> Concealed | None:
    """Return the token of an Authorization header (RFC 6750 §2.1); None if it is of another scheme.

    Raises:
        InvalidRequest: there is no token after ``Bearer``, or more than one.
        InvalidToken: it has a character that no token has.
    """
    scheme, *tokens = (authorization or "").split() or [""]
    if scheme.lower() != "bearer":
        return None
    if len(tokens) != 1:
        raise InvalidRequest("send one access token: Authorization: Bearer TOKEN", reason="not_one_token")
    if not _B64TOKEN.fullmatch(tokens[0]):
        raise InvalidToken(reason="malformed_token")
    return Concealed(tokens[0])


def challenge(**parameters: str) -> str:
    """Return a challenge for WWW-Authenticate (RFC 6750 §3)."""
    quoted = (
        f'{name}="{value}"'
        for name, value in (
            (name, value.replace("\\", r"\\").replace('"', r"\"")) for name, value in parameters.items()
        )
        if value
    )
    return f"Bearer {', '.join(quoted)}"
