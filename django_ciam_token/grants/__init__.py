"""The grants that the token endpoint serves, and what is needed to write one.

A grant is a callable that is registered under its ``grant_type`` in the setting ``GRANTS``. It is given one
`TokenRequest` and returns `IssuedTokens` or raises an `OAuthError`. It never sees an HTTP request.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from django_ciam_token.caller import Caller
from django_ciam_token.concealed import Concealed, Parameters
from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import InvalidRequest, UnsupportedGrantType
from django_ciam_token.models import Client
from django_ciam_token.sessions.rows import SessionReading
from django_ciam_token.tokens.claims import Subject
from django_ciam_token.tokens.first_tokens import issue_first_tokens
from django_ciam_token.tokens.issuing import IssuedTokens, SignedTokens, sign_tokens

__all__ = [
    "Concealed",
    "Grant",
    "IssuedTokens",
    "Parameters",
    "Presented",
    "SignedTokens",
    "Subject",
    "TokenRequest",
    "find_grant",
    "issue_first_tokens",
    "presented_to",
    "require",
    "sign_tokens",
]


class Presented(Protocol):
    """What a form presents to a grant, such as a token, once the grant has read it."""

    @property
    def session_id(self) -> uuid.UUID:
        """The session that it names."""


@dataclass(frozen=True, kw_only=True)
class TokenRequest:
    """A token request of an authenticated client. What later RFCs add becomes a field here."""

    client: Client
    """Authenticated; whether it may use this grant is for the grant to decide."""
    parameters: Parameters = field(repr=False)
    """The form: each parameter was given once, and none is empty. ``parameters["ticket"]`` is a string; error
    trackers show it if your function keeps it in a variable and raises. See `Concealed`."""
    caller: Caller
    """Where the request came from."""
    now: datetime
    """When the request came, by the host's clock."""
    presented: Presented | None = field(default=None, repr=False)
    """What the grant returned from ``presented_in``, so that it need not read that again."""
    session: SessionReading | None = None
    """The session that it names, as it was read with the client; None if there is none, or if the session is
    not this client's."""
    queued: timedelta = timedelta(0)
    """How long the request waited before the service began with it; see ``REQUEST_START_HEADER``."""


class Grant(Protocol):
    """What a callable in ``GRANTS`` must look like.

    A grant that needs a session may also have a method ``presented_in(parameters)``, which returns something
    `Presented` or None. It is called before the client is authenticated and must not ask the database. It
    saves a statement: the session is then read with the client. See `presented_to`.
    """

    def __call__(self, request: TokenRequest, /) -> IssuedTokens:
        """Issue tokens.

        Raises:
            OAuthError: the answer is that error, and nothing was changed but what the error implies.
        """


def find_grant(grant_type: str) -> Grant:
    """Return the grant of this name.

    Raises:
        UnsupportedGrantType: there is none.
    """
    grants = ciam_settings.GRANTS
    if grant_type not in grants:
        served = ", ".join(sorted(grants))
        raise UnsupportedGrantType(f"grant_type must be one of: {served}")
    return grants[grant_type]


def presented_to(grant: Grant, parameters: Parameters) -> Presented | None:
    """Return what names the session that a grant is going to need, if the grant says so."""
    find: Callable[[Parameters], Presented | None] | None = getattr(grant, "presented_in", None)
    return None if find is None else find(parameters)


def require(parameters: Parameters, name: str) -> str:
    """Return a parameter that must be there.

    Raises:
        InvalidRequest: it is missing; a parameter without a value counts as such (RFC 6749 §3.2).
    """
    value = parameters.get(name)
    if value is None:
        raise InvalidRequest(f"{name} is missing; send it in the form body", reason=f"missing_{name}")
    return value
