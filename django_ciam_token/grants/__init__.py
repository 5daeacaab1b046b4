"""The grants that the token endpoint serves.

A grant is a callable that is registered under its ``grant_type`` in the setting ``GRANTS``. It is given
an authenticated client and parameters, never a request, and returns tokens or raises an `OAuthError`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from django_ciam_token.callers import Caller
from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import InvalidRequest, UnsupportedGrantType
from django_ciam_token.models import Client
from django_ciam_token.token_string import GenuineToken
from django_ciam_token.tokens import IssuedTokens


class Grant(Protocol):
    """What a callable in ``GRANTS`` must look like."""

    def __call__(
        self, *, client: Client, parameters: Mapping[str, str], caller: Caller, now: datetime
    ) -> IssuedTokens:
        """Issue tokens.

        Args:
            client: authenticated; whether it may use this grant is for the grant to decide.
            parameters: of the form, each given once and not empty.
            caller: from where the request came.
            now: when the request came, by the host's clock.

        Raises:
            OAuthError: the answer is that error, and nothing was changed but what the error implies.
        """


def find(grant_type: str) -> Grant:
    """Return the grant of this name.

    Raises:
        UnsupportedGrantType: there is none.
    """
    grants = ciam_settings.GRANTS
    if grant_type not in grants:
        served = ", ".join(sorted(grants))
        raise UnsupportedGrantType(f"grant_type must be one of: {served}")
    return grants[grant_type]


def token_ahead(grant: Grant, parameters: Mapping[str, str]) -> GenuineToken | None:
    """Return the refresh token whose session a grant is going to need, if it is one that says so.

    It does with a method ``token_ahead``, which is given the parameters before the client is authenticated.
    If there is such a token, the grant is called with it as ``presented``, and with a ``reading`` of its
    session, which is None unless it is one of that client.
    """
    ahead: Callable[[Mapping[str, str]], GenuineToken | None] | None = getattr(grant, "token_ahead", None)
    return None if ahead is None else ahead(parameters)


def require(parameters: Mapping[str, str], name: str) -> str:
    """Return a parameter that must be there.

    Raises:
        InvalidRequest: it is missing; a parameter without a value counts as such (RFC 6749 §3.2).
    """
    if name not in parameters:
        raise InvalidRequest(f"{name} is missing; send it in the form body", reason=f"missing_{name}")
    return parameters[name]
