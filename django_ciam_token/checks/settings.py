"""The checks of the setting ``CIAM_TOKEN`` and what it depends on, without a query."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any, Final, TypeGuard
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from django_ciam_token.checks.messages import error, warning
from django_ciam_token.conf import ciam_settings, option_names, site_values
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import (
    Client,
    ClientSecret,
    Consent,
    ForeignToken,
    RefreshToken,
    RevokedAccessToken,
    SigningKey,
)
from django_ciam_token.sessions import foreign

_SHORTEST_SECRET: Final = 32


def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Check the setting ``CIAM_TOKEN``, without a query."""
    try:
        names = list(site_values())
    except ImproperlyConfigured as wrong:
        return [error("E001", str(wrong), "Write CIAM_TOKEN = {'ISSUER': 'https://…'}.")]
    return [
        *_check_names(names),
        *_check_values(),
        *_check_foreign_tokens(),
        *_check_issuer(),
        *_warn_of_trailing_slash(),
        *_warn_of_secrets(),
        *_check_lead(),
        *_check_subject(),
        *_check_databases(),
        *_check_autocommit(),
    ]


def check_deployment(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Check what is an error on a deployed site, though good enough for development and tests.

    DEBUG does not tell which of them a site is: test runners set it to False.
    """
    try:
        issuer = site_values().get("ISSUER")
    except ImproperlyConfigured:
        return []  # Reported by the check of settings.
    found: list[CheckMessage] = []
    if _is_issuer(issuer) and not _is_https(issuer):
        found.append(error("E005", _not_https(issuer), "RFC 8414 §2 requires one."))
    if _has_short_secret():
        found.append(error("E006", _SHORT_SECRET, _LENGTHEN_IT))
    return found


def _check_names(names: list[str]) -> Iterator[CheckMessage]:
    known = option_names()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name).upper(), known, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}?" if near else f"The settings are: {', '.join(known)}."
            yield error("E004", f"CIAM_TOKEN has no setting {name!r}.", hint)


def _check_values() -> Iterator[CheckMessage]:
    for name in option_names():
        if name == "ISSUER" and "ISSUER" not in site_values():
            continue  # `_check_issuer` reports it.
        try:
            getattr(ciam_settings, name)
        except ImproperlyConfigured as wrong:
            yield error("E003", str(wrong), "See docs/reference/settings.md.")


def _check_foreign_tokens() -> Iterator[CheckMessage]:
    try:
        named = ciam_settings.FOREIGN_TOKENS
    except ImproperlyConfigured:
        return  # Reported with the other values.
    for message in filter(None, map(foreign.mistake_in, named, named.values())):
        yield error("E003", message, "See docs/reference/settings.md.")


def _check_issuer() -> Iterator[CheckMessage]:
    issuer = site_values().get("ISSUER")
    if issuer is None:
        yield error(
            "E002",
            "CIAM_TOKEN['ISSUER'] is missing.",
            "Set it to the site's address, such as 'https://id.example.com'. It goes into every token.",
        )
    elif isinstance(issuer, str) and not _is_issuer(issuer):
        hint = "RFC 8414 §2 requires one. For development and tests http is accepted as well."
        yield error("E005", _not_https(issuer), hint)
    elif _is_issuer(issuer) and not _is_https(issuer) and not settings.DEBUG:
        hint = "RFC 8414 §2 requires one. It is an error under `check --deploy`."
        yield warning("W008", _not_https(issuer), hint)


def _warn_of_trailing_slash() -> Iterator[CheckMessage]:
    issuer = site_values().get("ISSUER")
    if _is_issuer(issuer) and issuer.endswith("/"):
        yield warning(
            "W025",
            f"CIAM_TOKEN['ISSUER'] is {issuer!r}: some applications look for the discovery document at "
            f"'{issuer}/.well-known/…', with two slashes.",
            "Remove the slash at the end, before tokens are issued: verifiers compare every letter of `iss`.",
        )


def _check_subject() -> Iterator[CheckMessage]:
    values = site_values()
    if values.get("SUBJECT") is not None and values.get("USER_OF_SUBJECT") is None:
        yield warning(
            "W006",
            "CIAM_TOKEN has SUBJECT but not USER_OF_SUBJECT: access tokens of clients without refresh tokens "
            "are refused, because nothing else tells which user they belong to.",
            "Set USER_OF_SUBJECT to the inverse, (sub) -> user.",
        )


def _is_issuer(issuer: Any) -> TypeGuard[str]:
    """Tell whether it may be the issuer of a site that is being developed."""
    try:
        parts = urlsplit(issuer)
    except (ValueError, TypeError, AttributeError):
        return False
    return parts.scheme in ("https", "http") and bool(parts.netloc) and not re.search(r"[\s?#]", issuer)


def _check_databases() -> Iterator[CheckMessage]:
    """Check that the routers keep together what one statement of a refresh reads."""
    ours = (Client, ClientSecret, Consent, ForeignToken, RefreshToken, RevokedAccessToken)
    joined = (get_user_model(), *ours)
    using = {model._meta.label: write_database(model) for model in joined}
    if len(set(using.values())) > 1:
        described = ", ".join(f"{label} to {alias!r}" for label, alias in using.items())
        yield error(
            "E008",
            f"DATABASE_ROUTERS send rows that belong together to several databases: {described}.",
            "A session is read together with its client and its user, in one statement. Keep the tables of "
            "django_ciam_token in the database of your users.",
        )


def _check_autocommit() -> Iterator[CheckMessage]:
    """Check that what the service writes is committed before it answers.

    It can't see to that itself: what the site has begun on the connection would be committed as well.
    """
    for using in sorted({write_database(RefreshToken), write_database(SigningKey)}):
        if not connections.settings.get(using, {}).get("AUTOCOMMIT", True):
            yield error(
                "E009",
                f"DATABASES[{using!r}]['AUTOCOMMIT'] is False: tokens are handed out before they are stored, "
                "and lost unless something of the site commits.",
                "Remove AUTOCOMMIT, or keep the tables of django_ciam_token in a database without it.",
            )


def _is_https(issuer: str) -> bool:
    return urlsplit(issuer).scheme == "https"


def _not_https(issuer: str) -> str:
    return f"CIAM_TOKEN['ISSUER'] is {issuer!r}, which is not an https URL without query and fragment."


_SHORT_SECRET: Final = f"A secret that protects tokens is shorter than {_SHORTEST_SECRET} characters."
_LENGTHEN_IT: Final = "Make SECRET_KEY, its fallbacks or CIAM_TOKEN['SECRETS'] long and random."


def _warn_of_secrets() -> Iterator[CheckMessage]:
    if _has_short_secret():
        yield warning("W001", _SHORT_SECRET, _LENGTHEN_IT)


def _has_short_secret() -> bool:
    try:
        return any(len(secret) < _SHORTEST_SECRET for secret in ciam_settings.SECRETS)
    except ImproperlyConfigured:
        return False  # Reported with the other values.


def _check_lead() -> Iterator[CheckMessage]:
    try:
        lead = ciam_settings.SIGNING_KEY_LEAD
        needed = ciam_settings.JWKS_MAX_AGE + ciam_settings.PROCESS_CACHE_LIFETIME
    except ImproperlyConfigured:
        return
    if lead <= needed:
        yield error(
            "E007",
            f"SIGNING_KEY_LEAD ({lead}) is not longer than JWKS_MAX_AGE and PROCESS_CACHE_LIFETIME "
            f"together ({needed}): verifiers would see tokens signed with a key they don't know yet.",
            "Lengthen SIGNING_KEY_LEAD or shorten the other two.",
        )
