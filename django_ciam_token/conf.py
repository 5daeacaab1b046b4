"""The site's settings: one dict, ``CIAM_TOKEN``, read whenever a value is used.

Nothing is copied at import time, so ``override_settings`` works and no reload hook is needed.
`django_ciam_token.checks` runs every parser below once, so ``manage.py check`` finds a wrong value
before the first refresh does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar, overload

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

T = TypeVar("T")

SIGNING_ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
ACCESS_TOKEN_PROFILES: Final = ("ciam", "rfc9068")

# JavaScript's milliseconds and PostgreSQL's interval allow far more. Ten years is longer than any token
# should live, and keeps `now + lifetime` within the range of datetime.
_LONGEST: Final = timedelta(days=3660)
# JWTs count whole seconds.
_SHORTEST: Final = timedelta(seconds=1)


class Option(Generic[T]):
    """One member of ``CIAM_TOKEN``: its default and the parser that gives it its type.

    Reading it raises `ImproperlyConfigured` if the site's value has the wrong type.
    """

    def __init__(self, parse: Callable[[Any], T], *, default: Any) -> None:
        self.parse = parse
        self.default = default
        # The last value and what it was parsed to. A refresh reads settings about twenty times, and they
        # hardly ever change.
        self._parsed: tuple[Any, T] | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Option[T]: ...
    @overload
    def __get__(self, instance: Settings, owner: type) -> T: ...
    def __get__(self, instance: Settings | None, owner: type) -> Option[T] | T:
        if instance is None:
            return self
        values = getattr(settings, "CIAM_TOKEN", None)
        value = (values if type(values) is dict else site_values()).get(self.name, self.default)
        parsed = self._parsed
        if parsed is not None and parsed[0] is value:
            return parsed[1]
        try:
            result = self.parse(value)
        except ValueError as error:
            raise ImproperlyConfigured(f"CIAM_TOKEN[{self.name!r}] {error}.") from error
        # Keep no value that can be changed in place, no object that a dotted path leads to, and no None
        # that stands for other settings.
        is_fixed = result is None if value is None else value is self.default
        if is_fixed or (isinstance(value, (str, int, float, timedelta)) and not callable(result)):
            self._parsed = value, result
        return result


def site_values() -> Mapping[str, Any]:
    """Return the site's ``CIAM_TOKEN`` as written.

    Raises:
        ImproperlyConfigured: it is not a dict.
    """
    values = getattr(settings, "CIAM_TOKEN", {})
    if isinstance(values, Mapping):
        return values
    raise ImproperlyConfigured("CIAM_TOKEN must be a dict of settings.")


def _lifetime(value: Any) -> timedelta:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            value = timedelta(seconds=value)
        except (OverflowError, ValueError):
            value = None
    if not isinstance(value, timedelta) or not _SHORTEST <= value <= _LONGEST:
        raise ValueError("must be a timedelta or a number of seconds, at least 1 and at most ten years")
    return value


def _lifetime_or_none(value: Any) -> timedelta | None:
    return None if value is None else _lifetime(value)


def _lifetime_or_zero(value: Any) -> timedelta:
    if value in (0, timedelta(0)) and not isinstance(value, bool):
        return timedelta(0)
    return _lifetime(value)


def _count_or_none(value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError("must be a whole number of at least 1, or None")
    return value


def _strings_or_none(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of strings, or None")
    return tuple(value)


def _string(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a string that is not empty")
    return value


def _header_or_none(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9-]+", value)):
        raise ValueError("must be the name of an HTTP header, such as X-Request-Start, or None")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be True or False")
    return value


def _one_of(*choices: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return str(value)

    return parse


def _callable(value: Any) -> Callable[..., Any]:
    if isinstance(value, str):
        try:
            value = import_string(value)
        except (ImportError, ValueError, TypeError) as error:
            raise ValueError(f"cannot be imported: {error}") from error
    if not callable(value):
        raise ValueError("must be a callable or the dotted path of one")
    return value  # type: ignore[no-any-return]


def _callable_or_none(value: Any) -> Callable[..., Any] | None:
    return None if value is None else _callable(value)


def _string_mapping(value: Any) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise ValueError("must be a dict whose keys are strings")
    return value


def _scopes(value: Any) -> Mapping[str, str]:
    if not _string_mapping(value) or not all(
        re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", name) for name in value
    ):
        raise ValueError("must be a dict whose keys are scope names, without spaces")
    return _string_mapping(value)


def _grants(value: Any) -> Mapping[str, Callable[..., Any]]:
    return {name: _callable(path) for name, path in _string_mapping(value).items()}


def _secrets(value: Any) -> tuple[str, ...]:
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


class Settings:
    """Typed access to ``CIAM_TOKEN``; the README describes each member."""

    ISSUER = Option(_string, default=None)
    """The ``iss`` of every token and the origin of every URL in the discovery document."""
    SECRETS = Option(_secrets, default=None)
    """Secrets that protect tokens and keys at rest; None for ``SECRET_KEY`` and its fallbacks."""
    SCOPES = Option(
        _scopes,
        default={
            "openid": "Sign you in",
            "profile": "Read your profile",
            "email": "Read your email address",
        },
    )
    """Scope name to description: the scopes that clients may be allowed and that discovery lists."""
    GRANTS = Option(_grants, default={"refresh_token": "django_ciam_token.grants.refresh_token.refresh"})
    """``grant_type`` to the callable (or its dotted path) that handles it; see `grants`."""

    ACCESS_TOKEN_LIFETIME = Option(_lifetime, default=300)
    ID_TOKEN_LIFETIME = Option(_lifetime, default=1_800)
    REFRESH_TOKEN_LIFETIME = Option(_lifetime, default=86_400)
    """The idle time-out: how long a refresh token may stay unused."""
    SESSION_LIFETIME = Option(_lifetime_or_none, default=timedelta(days=30))
    """The absolute limit, counted from the first tokens; None for no limit."""
    REFRESH_TOKEN_GRACE_PERIOD = Option(_lifetime_or_zero, default=30)
    """How long the predecessor of a refresh token gets the same successor again."""

    ACCESS_TOKEN_PROFILE = Option(_one_of(*ACCESS_TOKEN_PROFILES), default="ciam")
    SUBJECT = Option(_callable_or_none, default=None)
    """``(user) -> str``: the ``sub`` of a user; it must never change for a user."""
    USER_OF_SUBJECT = Option(_callable_or_none, default=None)
    """``(sub) -> user | None``: the inverse of ``SUBJECT``, for access tokens without a session."""
    ACCESS_TOKEN_CLAIMS = Option(_callable_or_none, default=None)
    """``(*, user, client, scope) -> dict``: additional claims of access tokens."""
    ID_TOKEN_CLAIMS = Option(_callable_or_none, default=None)
    """``(*, user, client, scope) -> dict``: additional claims of id_tokens."""
    ISSUANCE_POLICY = Option(_callable_or_none, default=None)
    """``(*, user, client, scope) -> bool``: whether these tokens may be issued, or refreshed, now."""
    MACHINE_USER = Option(_callable_or_none, default=None)
    """``(client) -> user``: the ``request.user`` of a machine in the site's own views; by default a
    `MachineUser`."""
    RESOURCE_AUDIENCES = Option(_strings_or_none, default=None)
    """The ``aud`` values that the site's own views accept; None for the client_ids of its active clients."""
    RESOURCE_LEEWAY = Option(_lifetime_or_zero, default=0)
    """How far the clocks of this site's hosts may differ when they check ``exp`` and ``nbf``; at least five
    seconds for ``nbf``."""
    RESOURCE_CHECKS_REVOCATION = Option(_boolean, default=True)
    """Whether the site's own views refuse an access token if it or its session was revoked, or if its user
    has a new password. The query is made in any case, because user and client must be active."""
    USER_CLAIMS = Option(_callable_or_none, default=None)
    """``(*, user, client, scope) -> dict``: the claims of ``/userinfo`` besides ``sub``."""
    AUDIT_TRAIL = Option(_boolean, default=True)
    """Whether security events are written to a table."""
    FAILURES_PER_MINUTE = Option(_count_or_none, default=300)
    """How many failed client authentications and forged or foreign tokens are allowed, for one client and
    one address, before the answer is 429; None for no limit."""
    ENDED_RETENTION = Option(_lifetime_or_zero, default=timedelta(days=30))
    """How long ``purge_tokens`` keeps sessions that have ended and signing keys that were removed."""
    END_SESSIONS_ON_PASSWORD_CHANGE = Option(_boolean, default=True)
    CLIENT_ADDRESS = Option(_callable_or_none, default=None)
    """``(request) -> str | None``: the caller's address, for sites behind a proxy."""

    REQUEST_START_HEADER = Option(_header_or_none, default=None)
    """The header in which the site's proxy says when it received a request, such as ``X-Request-Start``. The
    time that a request waited for a worker is then not the client's. The proxy must overwrite the header."""

    SIGNING_ALGORITHM = Option(_one_of(*SIGNING_ALGORITHMS), default="RS256")
    """The algorithm of new signing keys."""
    SIGNING_KEY_LEAD = Option(_lifetime, default=3_600)
    """How long a new key is published before it signs."""
    SIGNING_KEY_MAX_AGE = Option(_lifetime_or_none, default=timedelta(days=365))
    """How long a key may sign before the admin and ``check`` ask for a new one; None for no limit."""
    PROCESS_CACHE_LIFETIME = Option(_lifetime, default=60)
    """How long a process may use the keys that it has read."""
    JWKS_MAX_AGE = Option(_lifetime, default=300)
    """How long verifiers may cache the JWK Set."""
    CACHE_SCOPE = Option(_callable_or_none, default=None)
    """``() -> hashable``: whose rows this thread sees now, where one database holds those of several tenants.
    None for the ``schema_name`` of the connection, as django-tenants sets it."""
    CLIENT_SECRET_OVERLAP = Option(_lifetime_or_zero, default=timedelta(days=7))
    """How long a replaced client secret keeps working."""


def option_names() -> tuple[str, ...]:
    """Return the names of all settings."""
    return tuple(name for name, value in vars(Settings).items() if isinstance(value, Option))


ciam_settings: Final = Settings()
