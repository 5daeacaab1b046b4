"""The site's settings: one dict, ``CIAM_TOKEN``, read whenever a value is used.

Nothing is copied at import time, so ``override_settings`` works and no reload hook is needed.
`django_ciam_token.checks` runs every parser below once, so ``manage.py check`` finds a wrong value
before the first refresh does.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.utils.translation import gettext_lazy as _

from django_ciam_token.conf import parsers
from django_ciam_token.conf.option import Option, site_values

__all__ = [
    "ACCESS_TOKEN_PROFILES",
    "SIGNING_ALGORITHMS",
    "Option",
    "Settings",
    "ciam_settings",
    "option_names",
    "site_values",
]

SIGNING_ALGORITHMS: Final = ("RS256", "PS256", "ES256", "EdDSA")
ACCESS_TOKEN_PROFILES: Final = ("ciam", "rfc9068")


class Settings:
    """Typed access to ``CIAM_TOKEN``; docs/reference/settings.md describes each member."""

    ISSUER = Option(parsers.as_string, default=None)
    """The ``iss`` of every token and the origin of every URL in the discovery document."""
    SECRETS = Option(parsers.as_secrets, default=None)
    """Secrets that protect tokens and keys at rest; None for ``SECRET_KEY`` and its fallbacks."""
    SCOPES = Option(
        parsers.as_scopes,
        default={
            "openid": _("Sign you in"),
            "profile": _("Read your profile"),
            "email": _("Read your email address"),
        },
    )
    """Scope name to description: the scopes that clients may be allowed and that discovery lists."""
    GRANTS = Option(
        parsers.as_grants,
        default={
            "authorization_code": "django_ciam_token.grants.authorization_code.exchange",
            "refresh_token": "django_ciam_token.grants.refresh_token.refresh",
            "client_credentials": "django_ciam_token.grants.client_credentials.issue_for_itself",
        },
    )
    """``grant_type`` to the callable (or its dotted path) that handles it; see `grants`."""
    FOREIGN_TOKENS = Option(parsers.as_string_mapping, default={})
    """Whose refresh tokens are accepted besides ours: ``{"oauth_toolkit": {}}``; see `sessions.foreign`."""

    ACCESS_TOKEN_LIFETIME = Option(parsers.as_lifetime, default=300)
    ID_TOKEN_LIFETIME = Option(parsers.as_lifetime, default=1_800)
    REFRESH_TOKEN_LIFETIME = Option(parsers.as_lifetime, default=86_400)
    """The idle time-out: how long a refresh token may stay unused."""
    SESSION_LIFETIME = Option(parsers.as_lifetime_or_none, default=timedelta(days=30))
    """The absolute limit, counted from the first tokens; None for no limit."""
    REFRESH_TOKEN_GRACE_PERIOD = Option(parsers.as_lifetime_or_zero, default=30)
    """How long the predecessor of a refresh token gets the same successor again."""

    AUTHORIZATION_CODE_LIFETIME = Option(parsers.as_code_lifetime, default=60)
    """How long after signing in an application may exchange its code."""
    AUTHORIZATION_CODE_GRACE_PERIOD = Option(parsers.as_lifetime_or_zero, default=0)
    """How long the same exchange, with PKCE, gets the same refresh token again, because the answer was lost.
    An exception to RFC 6749 §4.1.2, which wants every second exchange denied: therefore zero."""

    ACCESS_TOKEN_PROFILE = Option(parsers.one_of(*ACCESS_TOKEN_PROFILES), default="ciam")
    SUBJECT = Option(parsers.as_callable_or_none, default=None)
    """``(user) -> str``: the ``sub`` of a user; it must never change for a user."""
    USER_OF_SUBJECT = Option(parsers.as_callable_or_none, default=None)
    """``(sub) -> user | None``: the inverse of ``SUBJECT``, for access tokens without a session."""
    ACCESS_TOKEN_CLAIMS = Option(parsers.as_callable_or_none, default=None)
    """``(*, user, client, scope) -> dict``: additional claims of access tokens."""
    ID_TOKEN_CLAIMS = Option(parsers.as_callable_or_none, default=None)
    """``(*, user, client, scope) -> dict``: additional claims of id_tokens."""
    ISSUANCE_POLICY = Option(parsers.as_callable_or_none, default=None)
    """``(*, user, client, scope) -> bool``: whether these tokens may be issued, or refreshed, now."""
    MACHINE_USER = Option(parsers.as_callable_or_none, default=None)
    """``(client) -> user``: the ``request.user`` of a machine in the site's own views; by default a
    `MachineUser`."""
    RESOURCE_AUDIENCES = Option(parsers.as_strings_or_none, default=None)
    """The ``aud`` values that the site's own views accept; None for the client_ids of its active clients."""
    RESOURCE_LEEWAY = Option(parsers.as_lifetime_or_zero, default=0)
    """How far the clocks of this site's hosts may differ when they check ``exp`` and ``nbf``; at least five
    seconds for ``nbf``."""
    RESOURCE_CHECKS_REVOCATION = Option(parsers.as_boolean, default=True)
    """Whether the site's own views refuse an access token if it or its session was revoked, or if its user
    has a new password. The query is made in any case, because user and client must be active."""
    RESOURCE_STATELESS = Option(parsers.as_boolean, default=False)
    """Whether the site's own views accept an access token without asking the database: what ended since it
    was issued (session, user, client, scope) is then seen when the token expires. Views may say otherwise."""
    PASS_ON_FOREIGN_TOKENS = Option(parsers.as_boolean, default=False)
    """Whether the site's own views leave a Bearer token that does not claim to be ours, because it is no JWT
    or one of another issuer, to the next authentication class."""
    USER_CLAIMS = Option(parsers.as_callable_or_none, default=None)
    """``(*, user, client, scope) -> dict``: the claims of ``/userinfo`` besides ``sub``."""
    AUDIT_TRAIL = Option(parsers.as_boolean, default=True)
    """Whether security events are written to a table."""
    ALERT_EMAILS = Option(parsers.as_strings_or_none, default=None)
    """To whom ``manage.py check_health --mail`` writes; None for Django's ``ADMINS``."""
    FAILURES_PER_MINUTE = Option(parsers.as_count_or_none, default=300)
    """How many failed client authentications and forged or foreign tokens are allowed, for one client and
    one network, before the answer is 429; None for no limit. A network is an IPv4 address or an IPv6 /64."""
    SLOW_FAILURES_PER_MINUTE = Option(parsers.as_count_or_none, default=30)
    """The same for a client with an imported secret, if it is less: each wrong secret costs a slow hash."""
    ENDED_RETENTION = Option(parsers.as_lifetime_or_zero, default=timedelta(days=30))
    """How long ``purge_tokens`` keeps sessions that have ended and signing keys that were removed."""
    END_SESSIONS_ON_PASSWORD_CHANGE = Option(parsers.as_boolean, default=True)
    CLIENT_ADDRESS = Option(parsers.as_callable_or_none, default=None)
    """``(request) -> str | None``: the caller's address, for sites behind a proxy."""

    REQUEST_START_HEADER = Option(parsers.as_header_or_none, default=None)
    """The header in which the site's proxy says when it received a request, such as ``X-Request-Start``. The
    time that a request waited for a worker is then not the client's. The proxy must overwrite the header."""

    SIGNING_ALGORITHM = Option(parsers.one_of(*SIGNING_ALGORITHMS), default="RS256")
    """The algorithm of new signing keys."""
    SIGNING_KEY_LEAD = Option(parsers.as_lifetime, default=3_600)
    """How long a new key is published before it signs."""
    SIGNING_KEY_MAX_AGE = Option(parsers.as_lifetime_or_none, default=timedelta(days=365))
    """How long a key may sign before the admin and ``check`` ask for a new one; None for no limit."""
    PROCESS_CACHE_LIFETIME = Option(parsers.as_lifetime, default=60)
    """How long a process may use the keys that it has read."""
    JWKS_MAX_AGE = Option(parsers.as_lifetime, default=300)
    """How long verifiers may cache the JWK Set."""
    CACHE_SCOPE = Option(parsers.as_callable_or_none, default=None)
    """``() -> hashable``: whose rows this thread sees now, where one database holds those of several tenants.
    None for the ``schema_name`` of the connection, as django-tenants sets it."""
    CLIENT_SECRET_OVERLAP = Option(parsers.as_lifetime_or_zero, default=timedelta(days=7))
    """How long a replaced client secret keeps working."""


def option_names() -> tuple[str, ...]:
    """Return the names of all settings."""
    return tuple(name for name, value in vars(Settings).items() if isinstance(value, Option))


ciam_settings: Final = Settings()
