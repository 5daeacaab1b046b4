"""Refresh tokens that another package issued: what is asked of a format, and which formats are accepted.

A format knows how to recognise its strings, and asks the tables of its package what has become of a token.
What follows from that is decided by `tokens.foreign`, the same for all formats.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_ciam_token.concealed import Concealed
from django_ciam_token.conf import ciam_settings

# By the name in FOREIGN_TOKENS; a format of the site's own has its dotted path as its name. The name is part
# of what is remembered of a token: under another name it could become a session once more.
_FORMATS: Final = {
    "allauth": "django_ciam_token.integrations.allauth.Allauth",
    "oauth_toolkit": "django_ciam_token.integrations.oauth_toolkit.Toolkit",
    "simplejwt": "django_ciam_token.integrations.simplejwt.SimpleJWT",
}


@dataclass(frozen=True, kw_only=True)
class ForeignIdentity:
    """What a string of a format is known by.

    All spellings of one token must have the same identity. Otherwise a thief could spell a stolen token in
    another way and have it taken for one that was never used.
    """

    known_by: bytes = field(repr=False)
    """The same for all spellings of one token, and for no other token."""
    secret: bytes = field(repr=False)
    """What only its holder has; the session keeps the SHA-256 of it."""


@dataclass(frozen=True, kw_only=True)
class LiveToken:
    """A token that the other package would accept now."""

    known_by: bytes = field(repr=False)
    """As in `ForeignIdentity`."""
    secret_digest: bytes = field(repr=False)
    """The SHA-256 of the secret in its `ForeignIdentity`."""
    client_id: str
    user_id: Any
    """The primary key of its user."""
    scope: str
    """Names separated by single spaces."""
    auth_time: datetime | None
    """When the user signed in, as far as the other package remembers."""
    expires_at: datetime | None
    """When the other package would no longer accept it; None: never."""
    is_expiry_final: bool = True
    """Whether nothing makes it live longer, such as a use in the other system."""
    reference: str = ""
    """The primary key of its row there."""


@dataclass(frozen=True, kw_only=True)
class EndedToken:
    """A token that the other package no longer accepts: rotated, revoked or expired."""

    at: datetime | None = None
    """When that happened, if it is known."""
    current: LiveToken | None = None
    """The live token that took its place: the latest of the same sign-in, if that is known."""


class ForeignFormat(Protocol):
    """The refresh tokens of another package; made with the options that ``FOREIGN_TOKENS`` has for it."""

    def identify(self, text: Concealed, /) -> ForeignIdentity | None:
        """Recognise a string without asking the database; None if it can't be one of these tokens."""

    def find(self, identity: ForeignIdentity, /) -> LiveToken | EndedToken | None:
        """Ask the other package what has become of a token; None if it does not know the token."""

    def is_consulted(self) -> bool:
        """Tell whether the other package can be asked: its tables are there."""


def formats() -> dict[str, ForeignFormat]:
    """Return the formats that the site accepts, by name.

    Raises:
        ImproperlyConfigured: there is no such format, or it does not take these options.
    """
    return {name: make_format(name, options) for name, options in ciam_settings.FOREIGN_TOKENS.items()}


def make_format(name: str, options: Any) -> ForeignFormat:
    """Make one format.

    Raises:
        ImproperlyConfigured: there is no such format, or it does not take these options.
    """
    try:
        made: ForeignFormat = import_string(_FORMATS.get(name, name))(**options)
    except (ImportError, TypeError, ValueError) as error:
        raise ImproperlyConfigured(f"CIAM_TOKEN['FOREIGN_TOKENS'][{name!r}]: {error}") from error
    return made


def mistake_in(name: str, options: Any) -> str:
    """Return what is wrong with an entry of the setting; nothing if it is right."""
    try:
        make_format(name, options)
    except ImproperlyConfigured as error:
        return str(error)
    return ""


def sign_in_time(
    *, last_login: datetime | None, issued_at: datetime | None, otherwise: datetime | None
) -> datetime | None:
    """Return when a user signed in to get a token: their last login, unless that was after the token.

    It is also what id_tokens say that were issued before, and some client libraries want it to stay the same.
    """
    if last_login is not None and issued_at is not None and last_login <= issued_at:
        return last_login
    return otherwise


def key_of(name: str, known_by: bytes) -> uuid.UUID:
    """Return the primary key of a token's row; tokens of different formats never have the same."""
    digest = hashlib.sha256(hashlib.sha256(name.encode()).digest() + known_by).digest()
    # The version of a name-based UUID (RFC 9562 §5.5): among values that have none, MariaDB loses some.
    return uuid.UUID(bytes=digest[:16], version=5)
