"""The types of settings: a parser returns a value of its type, or raises ValueError with what it must be."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.utils.module_loading import import_string

# JavaScript's milliseconds and PostgreSQL's interval allow far more. Ten years is longer than any token
# should live, and keeps `now + lifetime` within the range of datetime.
_LONGEST: Final = timedelta(days=3660)
# JWTs count whole seconds.
_SHORTEST: Final = timedelta(seconds=1)


def as_lifetime(value: Any, *, or_else: str = "") -> timedelta:
    """Return a timedelta, also from a number of seconds.

    Args:
        value: what the site wrote.
        or_else: what else the caller takes, for the message.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            value = timedelta(seconds=value)
        except (OverflowError, ValueError):
            value = None
    if not isinstance(value, timedelta) or not _SHORTEST <= value <= _LONGEST:
        raise ValueError(
            f"must be {or_else}a timedelta or a number of seconds, at least 1 and at most ten years"
        )
    return value


def as_code_lifetime(value: Any) -> timedelta:
    """Return the lifetime of an authorization code; RFC 6749 §4.1.2 wants ten minutes at most."""
    lifetime = as_lifetime(value)
    if not timedelta(seconds=10) <= lifetime <= timedelta(minutes=10):
        raise ValueError("must be at least 10 seconds and at most 10 minutes (RFC 6749 §4.1.2)")
    return lifetime


def as_lifetime_or_none(value: Any) -> timedelta | None:
    """Return a timedelta, or None for no limit."""
    return None if value is None else as_lifetime(value, or_else="None, or ")


def as_lifetime_or_zero(value: Any) -> timedelta:
    """Return a timedelta, which may be zero."""
    if value in (0, timedelta(0)) and not isinstance(value, bool):
        return timedelta(0)
    return as_lifetime(value, or_else="0, or ")


def as_count_or_none(value: Any) -> int | None:
    """Return a whole number from 1, or None for no limit."""
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError("must be a whole number of at least 1, or None")
    return value


def as_strings_or_none(value: Any) -> tuple[str, ...] | None:
    """Return a tuple of strings, or None."""
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of strings, or None")
    return tuple(value)


def as_string(value: Any) -> str:
    """Return a string that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("must be a string that is not empty")
    return value


def as_header_or_none(value: Any) -> str | None:
    """Return the name of an HTTP header, or None."""
    if value is not None and (not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9-]+", value)):
        raise ValueError("must be the name of an HTTP header, such as X-Request-Start, or None")
    return value


def as_boolean(value: Any) -> bool:
    """Return True or False, and nothing that only counts as one."""
    if not isinstance(value, bool):
        raise ValueError("must be True or False")
    return value


def one_of(*choices: str) -> Callable[[Any], str]:
    """Return a parser that accepts these strings alone."""

    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return str(value)

    return parse


def as_callable(value: Any) -> Callable[..., Any]:
    """Return a callable, also from its dotted path."""
    if isinstance(value, str):
        try:
            value = import_string(value)
        except (ImportError, ValueError, TypeError) as error:
            raise ValueError(f"cannot be imported: {error}") from error
    if not callable(value):
        raise ValueError("must be a callable or the dotted path of one")
    return value  # type: ignore[no-any-return]


def as_callable_or_none(value: Any) -> Callable[..., Any] | None:
    """Return a callable, or None."""
    return None if value is None else as_callable(value)


def as_string_mapping(value: Any) -> Mapping[str, str]:
    """Return a mapping whose keys are strings."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError("must be a dict whose keys are strings")
    return value


def as_scopes(value: Any) -> Mapping[str, str]:
    """Return scope names and their descriptions (RFC 6749 §3.3)."""
    if not as_string_mapping(value) or not all(
        re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", name) for name in value
    ):
        raise ValueError("must be a dict whose keys are scope names, without spaces")
    return as_string_mapping(value)


def as_grants(value: Any) -> Mapping[str, Callable[..., Any]]:
    """Return the callables of grants by their ``grant_type``."""
    return {name: as_callable(path) for name, path in as_string_mapping(value).items()}


def as_secrets(value: Any) -> tuple[str, ...]:
    """Return the site's secrets; by default ``SECRET_KEY`` and its fallbacks."""
    if value is None:
        value = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(_NO_SECRETS)
    return tuple([_secret(secret) for secret in value])


def _secret(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if not isinstance(value, str):
        raise ValueError(_NO_SECRETS)
    return value


_NO_SECRETS: Final = "must be a list of strings, the one to sign with first"
