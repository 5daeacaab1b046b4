"""What all endpoints share: finding out which client sent a request, and answering every kind of failure.

Every attribute that Django REST framework takes from the host's ``REST_FRAMEWORK`` is set here, so
nothing in the host's defaults changes these endpoints.
"""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.http.response import HttpResponseBase
from rest_framework.exceptions import APIException, MethodNotAllowed, Throttled, UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from django_ciam_token.caller import Caller, shown_path
from django_ciam_token.clients.authentication import authenticate
from django_ciam_token.clients.methods import read_credentials, uses_basic
from django_ciam_token.concealed import Form, Parameters
from django_ciam_token.database.retry import is_refusal
from django_ciam_token.errors import (
    InvalidClient,
    InvalidRequest,
    OAuthError,
    ServerError,
    TemporarilyUnavailable,
    TooManyFailures,
    TooManyRequests,
    UnsupportedContent,
    WrongMethod,
)
from django_ciam_token.sessions.rows import ClientReading
from django_ciam_token.views.form import SEND_A_FORM, StrictFormParser, forget_body, read_form
from django_ciam_token.views.rendering import CONTENT_TYPE, NO_STORE, JSONRenderer, OneRepresentation
from django_ciam_token.views.throttling import Failures, FailureThrottle

logger = logging.getLogger("django_ciam_token")

REALM: Final = "oauth2"
_SECRET_PARAMETERS: Final = frozenset(
    {"client_secret", "client_assertion", "refresh_token", "access_token", "token", "code", "password"}
)


class EndpointView(APIView):
    """An endpoint of the token service; an ordinary DRF view that a site can subclass."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes: Sequence[type[BaseThrottle]] = (FailureThrottle,)
    parser_classes = (StrictFormParser,)
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = OneRepresentation
    metadata_class = None
    versioning_class = None
    schema = None

    failures: Failures | None = None
    """The recent failures of this request's client; set as soon as the request names its client."""

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """Return the view, exempt from ATOMIC_REQUESTS.

        If a refused request also revokes something, the revocation must survive the refusal. And the COMMIT
        must have happened before the answer is sent.
        """
        view: Any = super().as_view(**initkwargs)
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return view

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """Keep the form out of Django's error reports: any part of it may be secret."""
        request.sensitive_post_parameters = "__ALL__"  # type: ignore[attr-defined]
        return super().initialize_request(request, *args, **kwargs)

    def perform_authentication(self, request: Request) -> None:
        """Do nothing until something asks for ``request.user``: requests come from clients, not users."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse secrets in the query string: they are in the access log already."""
        super().initial(request, *args, **kwargs)
        if not request._request.META.get("QUERY_STRING"):
            return
        if str(request.method).lower() not in self.http_method_names:
            return  # 405 says more.
        for name in sorted(_SECRET_PARAMETERS.intersection(request.query_params)):
            raise InvalidRequest(
                f"{name} was sent in the query string, where logs keep it; send it in the form body",
                reason="secret_in_query_string",
            )

    def form(self, request: Request) -> Form:
        """Return the parameters of the form that was sent.

        ``request.data`` is the same, but Django REST framework does much more work for it.

        Raises:
            InvalidRequest: or a subclass of it, if `read_form` can't read the form.
        """
        return read_form(request._request)

    def authenticate_client(
        self,
        request: Request,
        parameters: Parameters,
        *,
        caller: Caller,
        now: datetime,
        confidential: bool = False,
        session_id: uuid.UUID | None = None,
        jti: uuid.UUID | None = None,
    ) -> ClientReading:
        """Return the client that sends the request.

        Args:
            request: the request.
            parameters: its form.
            caller: where it came from.
            now: the current time.
            confidential: whether to refuse a client that does not prove its identity.
            session_id: a session to read together with the client.
            jti: an access token of that session, to be looked up in the same statement.

        Raises:
            InvalidRequest: it names no client, or authenticates in more than one way.
            InvalidClient: it is not the client that it claims to be.
        """
        credentials = read_credentials(request._request.META.get("HTTP_AUTHORIZATION"), parameters)
        self.failures = Failures(self.failure_throttles, client_id=credentials.client_id, caller=caller)
        reading = authenticate(
            credentials, session_id=session_id, jti=jti, now=now, caller=caller, failures=self.failures
        )
        if confidential and not credentials.method.is_confidential:
            raise InvalidClient(reason="public_client")
        return reading

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer a request; whatever fails, even in answering an error, the answer is JSON."""
        try:
            return super().dispatch(request, *args, **kwargs)
        except Exception as exc:  # noqa: BLE001 - a client of this service can't read Django's HTML page
            forget_body(request)
            error = self._report(exc, request)
            body = JSONRenderer().render(error.members())
            return HttpResponse(body, status=error.status, headers={"Content-Type": CONTENT_TYPE, **NO_STORE})

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Render the answer now: Django would do it where an error is no longer answered in JSON."""
        response = super().finalize_response(request, response, *args, **kwargs)
        return response.render() if isinstance(response, Response) else response

    def handle_exception(self, exc: Exception) -> Response:
        """Turn any exception into a JSON answer that reveals nothing."""
        forget_body(self.request._request)
        error = self._throttled(self._as_oauth_error(exc))
        status = exc.status_code if isinstance(exc, APIException) else error.status
        headers = dict(NO_STORE)
        if isinstance(error, InvalidClient) and uses_basic(self.request.META.get("HTTP_AUTHORIZATION")):
            # RFC 6749 §5.2. Not for credentials in the form: a browser would ask the user for a password.
            headers["WWW-Authenticate"] = f'Basic realm="{REALM}"'
        if error.retry_after is not None:
            headers["Retry-After"] = str(error.retry_after)
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.info(
                "%s refused: %s",
                shown_path(self.request),
                error.reason,
                extra={
                    "event": "request_refused",
                    "error": error.error,
                    "reason": error.reason,
                    **error.log_fields,
                },
            )
        response = Response(error.members(), status=status, headers=headers)
        response.exception = True
        return response

    def failure_throttles(self) -> list[FailureThrottle]:
        """Return the throttles of the view that count failures."""
        return [throttle for throttle in self.get_throttles() if isinstance(throttle, FailureThrottle)]

    def _throttled(self, error: OAuthError) -> OAuthError:
        """Count the failure if it was a client's attempt; answer 429 if there were too many."""
        if error.is_attempt and self.failures is not None:
            wait = self.failures.count()
            if wait is not None:
                return TooManyFailures(retry_after=wait)
        return error

    def _as_oauth_error(self, exc: Exception) -> OAuthError:
        if isinstance(exc, OAuthError):
            return exc
        if isinstance(exc, MethodNotAllowed):
            return WrongMethod(f"use {', '.join(self.allowed_methods)}", reason="wrong_method")
        if isinstance(exc, UnsupportedMediaType):
            return UnsupportedContent(SEND_A_FORM, reason="not_a_form")
        if isinstance(exc, Throttled):
            wait: float | None = getattr(exc, "wait", None)
            return TooManyRequests(retry_after=None if wait is None else math.ceil(wait))
        if isinstance(exc, (SuspiciousOperation, UnreadablePostError, APIException)):
            return InvalidRequest("the request could not be read", reason=type(exc).__name__)
        if is_refusal(exc):
            logger.warning(
                "The database is unavailable at %s",
                shown_path(self.request),
                extra={"event": "database_unavailable"},
            )
            return TemporarilyUnavailable("try again with the same parameters", reason="database_unavailable")
        return self._report(exc, self.request._request)

    def _report(self, exc: Exception, request: HttpRequest) -> ServerError:
        path = shown_path(request)
        _forget_frames_of_refusals(exc)
        logger.error("Internal error at %s", path, exc_info=exc, extra={"event": "server_error"})
        # Error trackers listen to this signal. Django would send it if it caught the exception itself.
        got_request_exception.send(sender=type(self), request=request)
        return ServerError()


def _forget_frames_of_refusals(exc: BaseException) -> None:
    """Forget the frames of a refusal that could not be answered: some of them read a secret."""
    earlier = exc.__cause__ or exc.__context__
    while earlier is not None:
        if isinstance(earlier, OAuthError):
            earlier.__traceback__ = earlier.__cause__ = earlier.__context__ = None
        earlier = earlier.__cause__ or earlier.__context__
