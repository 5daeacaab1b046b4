"""Authenticating requests to the site's own views of Django REST framework by an access token."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed, ParseError
from rest_framework.request import Request

from django_ciam_token.errors import TemporarilyUnavailable
from django_ciam_token.resource_server.door import RETRY_AFTER, TRY_AGAIN, Door, Refused
from django_ciam_token.tokens.access_tokens import LiveAccessToken
from django_ciam_token.tokens.bearer import challenge


class AccessTokenRefused(AuthenticationFailed):
    """The access token is not accepted (RFC 6750 §3.1)."""

    error = "invalid_token"
    default_code = error


class MalformedAuthorization(ParseError):
    """The Authorization header does not hold one access token (RFC 6750 §3.1)."""

    error = "invalid_request"
    default_code = error

    def __init__(self, detail: str, *, auth_header: str) -> None:
        super().__init__(detail)
        self.auth_header = auth_header
        """Django REST framework sends it as WWW-Authenticate."""


class AccessTokensUnavailable(APIException):
    """The database can't be asked about the token now.

    The answer is never 401: clients discard their tokens on that.
    """

    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_detail = TRY_AGAIN
    default_code = TemporarilyUnavailable.error
    wait = RETRY_AFTER
    """In seconds; Django REST framework sends it as Retry-After."""


class AccessTokenAuthentication(BaseAuthentication):
    """Authenticates ``Authorization: Bearer`` with the access tokens of this site.

    ``request.user`` is the user or a `MachineUser`, and ``request.auth`` is the `LiveAccessToken`. Put this
    class first in ``authentication_classes``: Django REST framework takes the challenge of a 401 from the
    first class, and answers 403 instead if that class has none.
    """

    www_authenticate_realm = "api"
    stateless: ClassVar[bool | None] = None
    """Whether tokens are accepted without asking the database; None for ``RESOURCE_STATELESS``."""
    pass_on_foreign_tokens: ClassVar[bool | None] = None
    """Whether a token that is not ours is left to the next class; None for ``PASS_ON_FOREIGN_TOKENS``."""

    def authenticate(self, request: Request) -> tuple[Any, LiveAccessToken] | None:
        """Return the user and the token; None if the request has no Bearer credentials, or foreign ones.

        Raises:
            AccessTokenRefused: the token is not valid, or not valid here.
            MalformedAuthorization: there is no token after ``Bearer``, or more than one.
            AccessTokensUnavailable: the database refused.
        """
        door = Door(
            realm=self.www_authenticate_realm,
            stateless=self.stateless,
            pass_on=self.pass_on_foreign_tokens,
            refusal=partial(_raised_for, request),
        )
        return door.authenticate(request)

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401; it names an error only if a token was sent (RFC 6750 §3.1)."""
        return getattr(request, "ciam_challenge", None) or self.challenge()

    def challenge(self, **parameters: str) -> str:
        """Return a challenge with this class's realm."""
        return challenge(realm=self.www_authenticate_realm, **parameters)


class StatelessAccessTokenAuthentication(AccessTokenAuthentication):
    """The same without any query: what ended since the token was issued is seen when the token expires.

    ``request.user`` is read, and the token judged in full, when a view asks for more than the user's key.
    """

    stateless = True


def _raised_for(request: Request, refused: Refused) -> Exception:
    if refused.status == HTTPStatus.BAD_REQUEST:
        return MalformedAuthorization(refused.detail, auth_header=refused.challenge)
    if refused.status == HTTPStatus.SERVICE_UNAVAILABLE:
        return AccessTokensUnavailable()
    # Django REST framework asks another instance of the class for the challenge.
    request.ciam_challenge = refused.challenge  # type: ignore[attr-defined]
    return AccessTokenRefused(refused.detail)
