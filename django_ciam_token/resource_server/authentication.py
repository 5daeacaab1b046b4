"""Authenticating requests to the site's own views by an access token."""

from __future__ import annotations

import logging
from datetime import datetime
from http import HTTPStatus
from typing import Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import Error
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed, ParseError
from rest_framework.request import Request

from django_ciam_token.caller import shown_path
from django_ciam_token.concealed import Concealed
from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import InvalidRequest, InvalidToken, TemporarilyUnavailable
from django_ciam_token.resource_server.machine_user import MachineUser
from django_ciam_token.tokens import access_tokens
from django_ciam_token.tokens.access_tokens import LiveAccessToken
from django_ciam_token.tokens.bearer import bearer_token, challenge

logger = logging.getLogger("django_ciam_token")

# This is all that a caller learns about why its token is refused.
_EXPIRED: Final = "the access token has expired"
_NOT_VALID: Final = "the access token is not valid"


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
    default_detail = "try again with the same access token"
    default_code = TemporarilyUnavailable.error
    wait = 1
    """In seconds; Django REST framework sends it as Retry-After."""


class AccessTokenAuthentication(BaseAuthentication):
    """Authenticates ``Authorization: Bearer`` with the access tokens of this site.

    ``request.user`` is the user or a `MachineUser`, and ``request.auth`` is the `LiveAccessToken`. Put this
    class first in ``authentication_classes``: Django REST framework takes the challenge of a 401 from the
    first class, and answers 403 instead if that class has none.
    """

    www_authenticate_realm = "api"

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser | MachineUser, LiveAccessToken] | None:
        """Return the user and the token; None if the request has no Bearer credentials.

        Raises:
            AccessTokenRefused: the token is not valid, or not valid here.
            MalformedAuthorization: there is no token after ``Bearer``, or more than one.
            AccessTokensUnavailable: the database refused.
        """
        try:
            token = bearer_token(request.headers.get("Authorization"))
            if token is None:
                return None
            live = accept(token, now=timezone.now())
        except InvalidRequest as error:
            header = self.challenge(error=error.error, error_description=error.description)
            raise MalformedAuthorization(error.description, auth_header=header) from None
        except InvalidToken as error:
            _log_refusal(request, error)
            description = _EXPIRED if error.reason == "expired" else _NOT_VALID
            # Django REST framework asks another instance of this class for the challenge.
            request.ciam_challenge = self.challenge(  # type: ignore[attr-defined]
                error=error.error, error_description=description
            )
            raise AccessTokenRefused(description) from None
        except TemporarilyUnavailable:
            raise AccessTokensUnavailable from None
        except Error as error:
            # No database error says anything about the token. And the caller of an API must get its answer in
            # the format of that API.
            logger.error(
                "The database failed while an access token was checked",
                exc_info=error,
                extra={"event": "database_unavailable"},
            )
            raise AccessTokensUnavailable from None
        return _user_of(live), live

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge of a 401; it names an error only if a token was sent (RFC 6750 §3.1)."""
        return getattr(request, "ciam_challenge", None) or self.challenge()

    def challenge(self, **parameters: str) -> str:
        """Return a challenge with this class's realm."""
        return challenge(realm=self.www_authenticate_realm, **parameters)


def _user_of(live: LiveAccessToken) -> AbstractBaseUser | MachineUser:
    if live.user is not None:
        return live.user
    user_of = ciam_settings.MACHINE_USER
    return MachineUser(client=live.client) if user_of is None else user_of(live.client)


def accept(token: str | Concealed, *, now: datetime) -> LiveAccessToken:
    """Return what an access token says if the site's own views may accept it.

    Raises:
        InvalidToken: they may not accept it; the reason says why.
        TemporarilyUnavailable: the database refused.
    """
    token = Concealed.of(token)
    verified = access_tokens.verify(token, now=now)
    access_tokens.require_unexpired(verified, now=now, leeway=ciam_settings.RESOURCE_LEEWAY)
    audience, audiences = verified.claims["aud"], ciam_settings.RESOURCE_AUDIENCES
    if audiences is not None and audience not in audiences:
        raise InvalidToken(reason="wrong_audience")
    live = access_tokens.require_live(verified, revocation=ciam_settings.RESOURCE_CHECKS_REVOCATION)
    # If the operator gave the client an audience, it is meant for some API, but perhaps not for this one.
    if audiences is None and audience != live.client.client_id:
        raise InvalidToken(reason="wrong_audience")
    return live


def _log_refusal(request: Request, error: InvalidToken) -> None:
    logger.info(
        "%s refused: %s",
        shown_path(request),
        error.reason,
        extra={"event": "request_refused", "error": error.error, "reason": error.reason},
    )
