"""The errors of the token service, named as in the RFCs.

``reason`` says exactly what happened. It goes to the log and to signals, and never to the client.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar

# RFC 6749 §5.2: %x20-21 / %x23-5B / %x5D-7E.
_NOT_ALLOWED_IN_DESCRIPTION = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")


class OAuthError(Exception):
    """An error answer; subclasses set the error code and the status.

    Args:
        description: what the developer of the client should do, in the characters that RFC 6749 §5.2 allows.
        reason: what happened, for the operator: one of a few fixed words, never a value from the request.
    """

    error: ClassVar[str]
    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST
    is_attempt: bool = False
    """Whether it may be part of an attack, so that the throttle counts it."""

    def __init__(self, description: str = "", *, reason: str = "") -> None:
        self.description = _NOT_ALLOWED_IN_DESCRIPTION.sub("?", description)
        self.reason = reason or self.error
        self.retry_after: int | None = None
        """Seconds, for the Retry-After header; None for no header."""
        self.log_fields: Mapping[str, str] = {}
        """The client_id and session_id for the log, as far as they are known."""
        super().__init__(self.reason)

    def members(self) -> dict[str, str]:
        """Return the members of the JSON body, in order (RFC 6749 §5.2)."""
        body = {"error": self.error}
        if self.description:
            body["error_description"] = self.description
        return body


class InvalidRequest(OAuthError):
    """The request is malformed: a parameter is missing, repeated or unreadable (RFC 6749 §5.2)."""

    error = "invalid_request"


class ContentTooLarge(InvalidRequest):
    """The body is larger than any honest token request (RFC 9110 §15.5.14)."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedContent(InvalidRequest):
    """The body is not an ``application/x-www-form-urlencoded`` form (RFC 9110 §15.5.16)."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class LengthRequired(InvalidRequest):
    """The body is sent in chunks, which WSGI and ASGI pass on without a length."""

    status = HTTPStatus.LENGTH_REQUIRED


class WrongMethod(InvalidRequest):
    """The endpoint does not serve this HTTP method (RFC 9110 §15.5.6)."""

    status = HTTPStatus.METHOD_NOT_ALLOWED


class InvalidClient(OAuthError):
    """Client authentication failed (RFC 6749 §5.2); the answer never says why."""

    error = "invalid_client"
    status = HTTPStatus.UNAUTHORIZED
    is_attempt = True

    def __init__(self, *, reason: str) -> None:
        super().__init__(reason=reason)


class InvalidGrant(OAuthError):
    """The refresh token is wrong (RFC 6749 §5.2); the answer never says why.

    Args:
        reason: what is wrong with it.
        is_attempt: True if no honest client would have sent it. A token of a session that has ended does not
            count: when many sessions end at once, each of their applications asks once more.
    """

    error = "invalid_grant"

    def __init__(self, *, reason: str, is_attempt: bool = False) -> None:
        super().__init__(reason=reason)
        self.is_attempt = is_attempt


class UnauthorizedClient(OAuthError):
    """The client is authentic but may not use this grant (RFC 6749 §5.2)."""

    error = "unauthorized_client"


class UnsupportedGrantType(OAuthError):
    """No grant is registered under this name (RFC 6749 §5.2)."""

    error = "unsupported_grant_type"


class InvalidScope(OAuthError):
    """The scope is malformed or wider than what was granted (RFC 6749 §5.2)."""

    error = "invalid_scope"


class InvalidToken(OAuthError):
    """The access token is not valid (RFC 6750 §3.1)."""

    error = "invalid_token"
    status = HTTPStatus.UNAUTHORIZED


class InsufficientScope(OAuthError):
    """The access token lacks a required scope (RFC 6750 §3.1)."""

    error = "insufficient_scope"
    status = HTTPStatus.FORBIDDEN


class TooManyRequests(OAuthError):
    """A limit of the site's own is reached; the refresh token is still valid (RFC 6585 §4).

    Args:
        retry_after: after how many seconds to try again; None if that is unknown.
    """

    error = "temporarily_unavailable"
    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, *, retry_after: int | None) -> None:
        super().__init__("too many requests; wait before the next", reason="too_many_requests")
        self.retry_after = retry_after


class TooManyFailures(OAuthError):
    """There were too many failures of this client from this address (RFC 6585 §4).

    Args:
        retry_after: after how many seconds to try again.
    """

    error = "temporarily_unavailable"
    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, *, retry_after: int) -> None:
        super().__init__("too many failed requests; wait before the next", reason="too_many_failures")
        self.retry_after = retry_after


class ServerError(OAuthError):
    """Something unexpected happened; nothing was changed (RFC 6749 §4.1.2.1)."""

    error = "server_error"
    status = HTTPStatus.INTERNAL_SERVER_ERROR


class TemporarilyUnavailable(OAuthError):
    """The database is unavailable; the same request may be sent again (RFC 6749 §4.1.2.1).

    It must never be `InvalidGrant`: clients discard their session on that.
    """

    error = "temporarily_unavailable"
    status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self, description: str = "", *, reason: str = "") -> None:
        super().__init__(description, reason=reason)
        self.retry_after = 1


class WrongSecrets(TemporarilyUnavailable):
    """The process has other secrets than the site's active signing key was encrypted with."""
