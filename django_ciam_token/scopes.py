"""Scope strings (RFC 6749 §3.3)."""

from __future__ import annotations

import re
from collections.abc import Collection

from django_ciam_token.errors import InvalidScope

_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


def parse(text: str) -> tuple[str, ...]:
    """Split a scope string into its tokens, in order and without duplicates.

    Raises:
        InvalidScope: it is empty or has a character that RFC 6749 §3.3 does not allow.
    """
    tokens = text.split(" ")
    if not all(_SCOPE_TOKEN.fullmatch(token) for token in tokens):
        raise InvalidScope("scope must be names separated by single spaces", reason="malformed_scope")
    return tuple(dict.fromkeys(tokens))


def narrow(granted: tuple[str, ...], requested: str | None) -> tuple[str, ...]:
    """Return the scope of one access token: what was granted, or the requested part of it.

    Raises:
        InvalidScope: the request is malformed or asks for more than was granted (RFC 6749 §6).
    """
    if requested is None:
        return granted
    wanted = parse(requested)
    if not is_within(wanted, granted):
        raise InvalidScope(
            "scope asks for more than was granted; leave it out or name fewer",
            reason="scope_widened",
        )
    return wanted


def is_within(scope: Collection[str], allowed: Collection[str]) -> bool:
    """Tell whether every token of a scope is allowed."""
    return set(scope) <= set(allowed)
