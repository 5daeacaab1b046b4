"""What the pages for people have in common: no caching, no framing, no referrer, an error page in words.

They are plain Django views: a browser brings cookies and reads HTML.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, SuspiciousOperation
from django.core.handlers.asgi import ASGIRequest
from django.core.signals import got_request_exception
from django.db import connections, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, QueryDict
from django.http.request import UnreadablePostError
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt, csrf_protect, requires_csrf_token
from django.views.generic import View

from django_ciam_token.authorization.continuation import LONGEST_ADDRESS, PARAMETER, kept_parameters, path_of
from django_ciam_token.authorization.errors import PageError
from django_ciam_token.authorization.parameters import Sent, parse, unreadable
from django_ciam_token.authorization.response import redirect
from django_ciam_token.caller import shown_path
from django_ciam_token.concealed import Form
from django_ciam_token.conf import ciam_settings
from django_ciam_token.database.retry import is_refusal
from django_ciam_token.errors import ContentTooLarge, InvalidRequest, TemporarilyUnavailable
from django_ciam_token.views.body import discard_body, empty, length_of_body, read_body

logger = logging.getLogger("django_ciam_token")

# With no-referrer browsers send a form with `Origin: null`, which Django's CSRF check takes for a forgery. So
# the templates with such forms say same-origin, which still tells applications nothing.
HEADERS: Final = {
    "Cache-Control": "private, no-store",
    "Pragma": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
DECISION: Final = "decision"
CSRF_TOKEN: Final = "csrfmiddlewaretoken"
SEAL: Final = "seal"
_METHODS: Final = ("GET", "HEAD", "POST")
# What some WSGI servers call the address as it was sent.
_ALSO_WITH_QUERY: Final = frozenset({"RAW_URI", "REQUEST_URI"})
_FORM: Final = "application/x-www-form-urlencoded"


class PageView(View):
    """A page of the service; a site can subclass it."""

    content_security_policy = (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
    """Of every page. A site whose own templates need more sets it in a subclass."""
    known: frozenset[str] = frozenset()
    """The parameters that are read."""
    _language: str | None = None
    """Of the page; None until the request was read, for that of the site."""

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """Return the view, exempt from ATOMIC_REQUESTS, from Django's CSRF check and from site-wide login.

        What was written must be committed before the answer is sent. What changes something is checked for
        CSRF by `respond`. And a wrong request must be refused before anybody is asked for a password.
        """
        view: Any = csrf_exempt(super().as_view(**initkwargs))
        view.login_required = False
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return view

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer; whatever fails is a page."""
        # For django-cors-headers: nor do origins read a page that the site lets read all the rest.
        request._cors_enabled = False  # type: ignore[attr-defined]
        try:
            response = self._dispatch(request)
        except Http404:
            raise
        except Exception as exc:  # noqa: BLE001 - answered with a page that says nothing of it
            _forget_query(request)
            response = self._fail(request, exc)
        finally:
            # Also of what was refused before it was read: Django logs the request.
            _forget_query(request)
        for name, value in HEADERS.items():
            response[name] = value
        response.headers.setdefault("Content-Security-Policy", self.content_security_policy)
        return response

    def _dispatch(self, http: HttpRequest) -> HttpResponseBase:
        if "authorization_code" not in ciam_settings.GRANTS:
            raise Http404
        if http.method not in _METHODS:
            return HttpResponseNotAllowed(_METHODS)
        _require_middleware(http)
        _forget_unusable_session(http)
        sent = self._read(http)
        self._language = _preferred_language(sent.values)
        if http.method == "HEAD":
            return HttpResponse()  # Link checkers and prefetching change nothing.
        with translation.override(self._language):
            return self._answer(http, sent)

    def _answer(self, http: HttpRequest, sent: Sent) -> HttpResponseBase:
        if _came_without_cookies(http):
            known = Form({name: sent.values[name] for name in sent.values if name in self.known})
            self.require_destination(sent)
            return redirect(http, path_of(http, known, longest=LONGEST_ADDRESS))
        if DECISION in sent.values:
            return self._protected(http, sent)
        answer: Callable[[HttpRequest], HttpResponseBase] = requires_csrf_token(
            lambda http: self.respond(http, sent, None)
        )
        return answer(http)

    def respond(self, http: HttpRequest, sent: Sent, decision: str | None) -> HttpResponse:
        """Answer a request.

        Args:
            http: the request; its query and its body have been emptied.
            sent: the parameters.
            decision: which button of the page was pressed, and certainly by the user; None if none was.

        Raises:
            PageError: the answer is a page with an error.
        """
        raise NotImplementedError

    def require_destination(self, sent: Sent) -> None:
        """Check what must be right before a request is kept for somebody who has not been asked for anything.

        Raises:
            PageError: the answer is a page with an error.
        """

    def _protected(self, http: HttpRequest, sent: Sent) -> HttpResponseBase:
        """Answer a button of the page, if Django's CSRF check finds that the user pressed it."""
        # The form was read strictly, and once. Django looks into this header if its own form is empty.
        http.META[settings.CSRF_HEADER_NAME] = sent.values.get(CSRF_TOKEN, "")
        answer: Callable[[HttpRequest], HttpResponseBase] = csrf_protect(
            lambda http: self.respond(http, sent, sent.once(DECISION))
        )
        return answer(http)

    def _read(self, http: HttpRequest) -> Sent:
        known = self.known | {PARAMETER}
        try:
            if http.method == "POST":
                return _read_form(http, known | {DECISION, CSRF_TOKEN, SEAL})
            sent = parse(_query(http), known=known)
        finally:
            _forget_query(http)
        key = sent.once(PARAMETER)
        if key is None:
            return sent
        kept = kept_parameters(key)
        if kept is None:
            message = _("This took too long. Go back to the application and begin again.")
            raise PageError(message, reason="request_not_kept")
        return Sent(values=kept, repeated=frozenset())

    def _fail(self, http: HttpRequest, exc: Exception) -> HttpResponse:
        with translation.override(self._language or translation.get_language()):
            return self._error_page(http, self._as_page_error(http, exc))

    def _error_page(self, http: HttpRequest, error: PageError) -> HttpResponse:
        if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            fields = {"event": "request_refused", "reason": error.reason}
            logger.info("%s refused: %s", shown_path(http), error.reason, extra=fields)
        response = render(
            http, "django_ciam_token/error.html", {"message": error.message}, status=error.status
        )
        if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
            response["Retry-After"] = "1"
        return response

    def _as_page_error(self, http: HttpRequest, exc: Exception) -> PageError:
        if isinstance(exc, PageError):
            return exc
        if isinstance(exc, (SuspiciousOperation, UnreadablePostError, InvalidRequest)):
            return unreadable(type(exc).__name__)
        if isinstance(exc, TemporarilyUnavailable) or is_refusal(exc):
            message = _("The service is busy. Please try again in a moment.")
            return PageError(message, reason="database_unavailable", status=HTTPStatus.SERVICE_UNAVAILABLE)
        logger.error("Internal error at %s", shown_path(http), exc_info=exc, extra={"event": "server_error"})
        got_request_exception.send(sender=type(self), request=http)
        message = _("Something went wrong on our side. Please try again later.")
        return PageError(message, reason="server_error", status=HTTPStatus.INTERNAL_SERVER_ERROR)


def _require_middleware(http: HttpRequest) -> None:
    if not hasattr(http, "user") or not hasattr(http, "session"):
        raise ImproperlyConfigured(
            "People can't sign in: MIDDLEWARE has no SessionMiddleware or no AuthenticationMiddleware."
        )


def _forget_unusable_session(http: HttpRequest) -> None:
    """Go on without a session cookie that PostgreSQL can't be asked for; nobody is signed in with it.

    Django fails on it, and a neighbouring host that sets such a cookie would keep people from signing in.
    """
    if "\x00" in (getattr(http.session, "session_key", None) or ""):
        http.session = type(http.session)()


def _query(http: HttpRequest) -> bytes:
    text: str = http.META.get("QUERY_STRING", "")
    try:
        return text.encode("latin-1")  # PEP 3333.
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _forget_query(http: HttpRequest) -> None:
    """Take the query out of the request: ``state`` and ``nonce`` must not be in error reports."""
    http.META["QUERY_STRING"] = ""
    for name in _ALSO_WITH_QUERY & http.META.keys():
        http.META[name] = http.path
    if isinstance(http, ASGIRequest):
        # Error trackers around the application read it there.
        scope: Any = http.scope
        scope["query_string"] = b""
    http.GET = QueryDict()


def _read_form(http: HttpRequest, known: frozenset[str]) -> Sent:
    try:
        length = length_of_body(http)
        if length != 0 and http.content_type != _FORM:
            raise unreadable("not_a_form", status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        return parse(read_body(http, length) if length != 0 else b"", known=known, button=DECISION)
    except ContentTooLarge:
        discard_body(http)
        raise unreadable("too_long", status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE) from None
    except Exception:
        discard_body(http)
        raise
    finally:
        empty(http)


def _came_without_cookies(http: HttpRequest) -> bool:
    """Tell whether a browser kept its cookies back, because another site sent the form (SameSite=Lax).

    A user who is signed in here would seem not to be. The same request as a GET brings the cookies.
    """
    return http.method == "POST" and http.headers.get("Sec-Fetch-Site") == "cross-site"


def _preferred_language(parameters: Form) -> str | None:
    """Return the language that a request prefers for pages (``ui_locales``), else the present one."""
    tags = parameters.get("ui_locales", "").split(" ")
    served = (language for language in map(_served_language, tags) if language is not None)
    return next(served, translation.get_language())


def _served_language(tag: str) -> str | None:
    try:
        return translation.get_supported_language_variant(tag.lower())
    except LookupError:
        return None
