"""The ways in which a client can prove who it is (RFC 6749 §2.3).

A further method is one module here and one entry in `METHODS`. The metadata lists what is in it.
"""

from __future__ import annotations

from typing import Final

from django_ciam_token.clients.methods.base import AuthenticationMethod, Credentials, Outcome
from django_ciam_token.clients.methods.client_assertion import ClientAssertion
from django_ciam_token.clients.methods.client_secret_basic import ClientSecretBasic, uses_basic
from django_ciam_token.clients.methods.client_secret_post import ClientSecretPost
from django_ciam_token.clients.methods.none import NO_AUTHENTICATION
from django_ciam_token.concealed import Parameters
from django_ciam_token.errors import InvalidRequest

__all__ = ["METHODS", "AuthenticationMethod", "Credentials", "Outcome", "read_credentials", "uses_basic"]

METHODS: Final[tuple[AuthenticationMethod, ...]] = (
    ClientSecretBasic(),
    ClientSecretPost(),
    NO_AUTHENTICATION,
)
_RECOGNISED: Final = (*METHODS, ClientAssertion())


def read_credentials(authorization: str | None, parameters: Parameters) -> Credentials:
    """Find the one way in which a request authenticates its client.

    Args:
        authorization: the Authorization header.
        parameters: of the form, each given once and not empty.

    Raises:
        InvalidRequest: client_id is missing, or more than one method was used (RFC 6749 §2.3).
        InvalidClient: the credentials are malformed, or the method is one that is not served.
    """
    used = [method for method in _RECOGNISED if method.is_used(authorization, parameters)]
    if len(used) > 1:
        names = [method.parameter for method in used if method.parameter is not None]
        ways = " or ".join(names) if len(names) == len(used) else "the Authorization header or the form"
        raise InvalidRequest(
            f"use one way of client authentication: {ways}, not both",
            reason="several_authentication_methods",
        )
    method = used[0] if used else NO_AUTHENTICATION
    return method.read(authorization, parameters)
