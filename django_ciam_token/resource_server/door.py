"""A request with an access token, as the views of every framework judge it, and how it is refused.

Django REST framework, Django's own views and django-ninja differ in how an answer is given. What is
accepted, what is said, and to whom, is here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Any, Final, TypeVar

from django.db import Error
from django.http import HttpRequest
from django.utils import timezone

from django_ciam_token import scopes
from django_ciam_token.caller import shown_path
from django_ciam_token.concealed import Concealed
from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import InvalidRequest, InvalidToken, TemporarilyUnavailable
from django_ciam_token.resource_server.acceptance import accept, accept_unread, user_of
from django_ciam_token.tokens.access_tokens import LiveAccessToken
from django_ciam_token.tokens.bearer import bearer_token, challenge
from django_ciam_token.tokens.recognition import claims_to_be_ours

T = TypeVar("T")

logger = logging.getLogger("django_ciam_token")

# This is all that a caller learns about why its token is refused.
_EXPIRED: Final = "the access token has expired"
_NOT_VALID: Final = "the access token is not valid"
TRY_AGAIN: Final = "try again with the same access token"
RETRY_AFTER: Final = 1
"""Seconds."""


class Refused(Exception):
    """A request to a protected view is refused (RFC 6750 §3.1).

    Args:
        status: of the answer.
        error: the error code.
        detail: what the caller is told.
        challenge: for ``WWW-Authenticate``; empty for none.
    """

    def __init__(self, status: HTTPStatus, error: str, detail: str, *, challenge: str = "") -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.detail = detail
        self.challenge = challenge

    def headers(self) -> dict[str, str]:
        """Return the headers of the answer."""
        if self.status == HTTPStatus.SERVICE_UNAVAILABLE:
            return {"Retry-After": str(RETRY_AFTER)}
        return {"WWW-Authenticate": self.challenge} if self.challenge else {}


def _itself(refused: Refused) -> Exception:
    return refused


@dataclass(frozen=True, kw_only=True)
class Door:
    """How a view lets requests in."""

    realm: str = "api"
    stateless: bool | None = None
    """Whether the database is not asked; None for the setting ``RESOURCE_STATELESS``."""
    pass_on: bool | None = None
    """Whether tokens that are not ours are left to others; None for ``PASS_ON_FOREIGN_TOKENS``."""
    refusal: Callable[[Refused], Exception] = field(default=_itself)
    """Returns what the framework of the view raises for a refusal."""

    def authenticate(self, request: HttpRequest) -> tuple[Any, LiveAccessToken] | None:
        """Return the user and the token of a request; None if it has no token, or one to be passed on.

        Raises:
            Exception: what ``refusal`` makes of a `Refused`.
        """
        return self._refusing(request, lambda: self._authenticate(request))

    def _authenticate(self, request: HttpRequest) -> tuple[Any, LiveAccessToken] | None:
        passes_on = ciam_settings.PASS_ON_FOREIGN_TOKENS if self.pass_on is None else self.pass_on
        try:
            token = bearer_token(request.META.get("HTTP_AUTHORIZATION"))
        except InvalidToken:
            if passes_on:
                return None
            raise
        if token is None or (passes_on and not claims_to_be_ours(token)):
            return None
        live = self._accept(request, token)
        return user_of(live), live

    def _accept(self, request: HttpRequest, token: Concealed) -> LiveAccessToken:
        stateless = ciam_settings.RESOURCE_STATELESS if self.stateless is None else self.stateless
        now = timezone.now()
        if stateless:
            return accept_unread(token, now=now, reading=partial(self._refusing, request))
        return accept(token, now=now)

    def _refusing(self, request: HttpRequest, operation: Callable[[], T]) -> T:
        """Run what may find a reason to refuse a request, and raise what the view's framework raises."""
        try:
            return operation()
        except InvalidRequest as error:
            refused = self._refused(HTTPStatus.BAD_REQUEST, error.error, error.description)
        except InvalidToken as error:
            _log_refusal(request, error)
            description = _EXPIRED if error.reason == "expired" else _NOT_VALID
            refused = self._refused(HTTPStatus.UNAUTHORIZED, error.error, description)
        except TemporarilyUnavailable as error:
            refused = Refused(HTTPStatus.SERVICE_UNAVAILABLE, error.error, TRY_AGAIN)
        except Error as error:
            # No database error says anything about the token. And the caller of an API must get its answer in
            # the format of that API.
            logger.error(
                "The database failed while an access token was checked",
                exc_info=error,
                extra={"event": "database_unavailable"},
            )
            refused = Refused(HTTPStatus.SERVICE_UNAVAILABLE, TemporarilyUnavailable.error, TRY_AGAIN)
        raise self.refusal(refused)

    def _refused(self, status: HTTPStatus, error: str, detail: str) -> Refused:
        header = challenge(realm=self.realm, error=error, error_description=detail)
        return Refused(status, error, detail, challenge=header)


def insufficient_scope(realm: str, required: tuple[str, ...]) -> str:
    """Return the challenge of a 403, which names the scopes that are needed (RFC 6750 §3.1)."""
    return challenge(realm=realm, error="insufficient_scope", scope=" ".join(required))


def has_scopes(token: LiveAccessToken, required: tuple[str, ...]) -> bool:
    """Tell whether a token has all of these scopes."""
    return scopes.is_within(required, token.verified.scope)


def _log_refusal(request: HttpRequest, error: InvalidToken) -> None:
    logger.info(
        "%s refused: %s",
        shown_path(request),
        error.reason,
        extra={
            "event": "request_refused",
            "error": error.error,
            "reason": error.reason,
            **error.log_fields,
        },
    )
