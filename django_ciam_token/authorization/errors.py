"""How an authorization request is refused.

Either on a page of this site (`PageError`), while it is not certain where the answer belongs. Or at the
redirect URI, with an `OAuthError` of RFC 6749 §4.1.2.1 or OpenID Connect Core §3.1.2.6.
"""

from __future__ import annotations

from http import HTTPStatus

from django_ciam_token.errors import OAuthError


class PageError(Exception):
    """The request is answered with a page: nobody is sent anywhere.

    Args:
        message: what the person who reads it should know; translated, without anything that was sent.
        reason: what happened, for the operator: one of a few fixed words.
        status: of the answer.
    """

    def __init__(self, message: str, *, reason: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        self.message = message
        self.reason = reason
        self.status = status
        super().__init__(reason)


class UnsupportedResponseType(OAuthError):
    """The ``response_type`` is not ``code`` (RFC 6749 §4.1.2.1)."""

    error = "unsupported_response_type"


class AccessDenied(OAuthError):
    """The user, or the site, does not want the application to have this (RFC 6749 §4.1.2.1)."""

    error = "access_denied"


class LoginRequired(OAuthError):
    """Somebody would have to sign in, and must not be asked to or did not (OpenID Connect Core §3.1.2.6)."""

    error = "login_required"


class ConsentRequired(OAuthError):
    """The user would have to be asked, and must not be (OpenID Connect Core §3.1.2.6)."""

    error = "consent_required"


class RequestNotSupported(OAuthError):
    """Request objects are not served (OpenID Connect Core §3.1.2.6)."""

    error = "request_not_supported"


class RequestURINotSupported(OAuthError):
    """Request objects are not fetched either (OpenID Connect Core §3.1.2.6)."""

    error = "request_uri_not_supported"


class RegistrationNotSupported(OAuthError):
    """No application registers itself (OpenID Connect Core §3.1.2.6)."""

    error = "registration_not_supported"
