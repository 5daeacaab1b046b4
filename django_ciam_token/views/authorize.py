"""``GET`` and ``POST /oauth2/authorize``: a person signs in, and the application gets a code."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.utils import timezone
from django.utils.encoding import escape_uri_path
from django.utils.translation import gettext

from django_ciam_token.authorization import consent, login
from django_ciam_token.authorization.continuation import path_of
from django_ciam_token.authorization.errors import AccessDenied, ConsentRequired, LoginRequired
from django_ciam_token.authorization.id_token_hint import read_hint
from django_ciam_token.authorization.login import Login
from django_ciam_token.authorization.parameters import Sent, as_fields
from django_ciam_token.authorization.request import (
    PARAMETERS,
    AuthorizationRequest,
    Destination,
    find_destination,
    read_request,
)
from django_ciam_token.authorization.response import redirect, send_back
from django_ciam_token.caller import Caller, shown_path
from django_ciam_token.concealed import Concealed, Form
from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import InvalidGrant, OAuthError
from django_ciam_token.sessions.user import user_name
from django_ciam_token.tokens.authorization_codes import issue_code
from django_ciam_token.tokens.claims import Subject
from django_ciam_token.tokens.issuing import require_issuable
from django_ciam_token.views.pages import SEAL, PageView

logger = logging.getLogger("django_ciam_token")

# What a login page may want to know.
_FOR_THE_LOGIN_PAGE: Final = ("login_hint", "ui_locales", "acr_values")


class AuthorizationView(PageView):
    """The authorization endpoint (RFC 6749 §3.1)."""

    known = PARAMETERS

    def respond(self, http: HttpRequest, sent: Sent, decision: str | None) -> HttpResponse:
        """Answer with a page while it is unclear where the answer belongs, and there from then on."""
        destination = find_destination(sent)
        try:
            request = read_request(sent, destination)
        except OAuthError as error:
            return self._refuse(http, destination, error)
        try:
            return self._go_on(http, request, decision=decision, seal=sent.once(SEAL))
        except OAuthError as error:
            response = self._refuse(http, destination, error)
            # Who did not sign in may still do so.
            if not isinstance(error, LoginRequired):
                self._forget_mark(http, request, response)
            return response

    def require_destination(self, sent: Sent) -> None:
        """Check that the request is one of an application: other sites could have anything kept."""
        find_destination(sent)

    def _go_on(
        self, http: HttpRequest, request: AuthorizationRequest, *, decision: str | None, seal: str | None
    ) -> HttpResponse:
        now = timezone.now()
        present = login.login_of(http) if http.user.is_authenticated else None
        if present is None or not self._is_recent_enough(http, request, present, now=now):
            return self._send_to_login(http, request, present, now=now)
        user: Any = http.user
        if request.is_silent:
            hint = read_hint(request.parameters.get("id_token_hint"), now=now)
            if hint is not None and not hint.is_about(user):
                raise LoginRequired(reason="hint_of_somebody_else")
        _require_issuable(request, user, present)
        if consent.must_ask(request, user):
            if decision is None or not consent.is_sealed(seal or "", request, user, present):
                return self._ask(http, request, user, present)
            if decision != "allow":
                raise AccessDenied("the user did not allow it", reason="consent_denied")
            _give_consent(http, request, user)
        code = _issue(http, request, present, now=now)
        response = send_back(http, request.destination, Form({"code": code.reveal()}))
        self._forget_mark(http, request, response)
        return response

    def _is_recent_enough(
        self, http: HttpRequest, request: AuthorizationRequest, present: Login, *, now: datetime
    ) -> bool:
        """Tell whether the login suffices; False if the user is to be sent to the login page.

        Raises:
            LoginRequired: the user came back from there without having signed in.
        """
        if not login.must_be_fresh(request, present, now=now):
            return True
        mark = login.read_mark(http, request, now=now)
        if mark is None:
            return False
        if not mark.is_satisfied_by(present):
            # Some login pages send a user who is signed in straight back: asking again would never end.
            raise LoginRequired("the user did not sign in again", reason="no_fresh_login")
        return True

    def _send_to_login(
        self, http: HttpRequest, request: AuthorizationRequest, present: Login | None, *, now: datetime
    ) -> HttpResponse:
        if request.is_silent:
            raise LoginRequired(reason="nobody_signed_in" if present is None else "login_too_old")
        hints = {name: request.parameters[name] for name in _FOR_THE_LOGIN_PAGE if name in request.parameters}
        address, path = resolve_url(settings.LOGIN_URL), path_of(http, request.parameters)
        if urlsplit(address).netloc not in ("", http.get_host()):
            path = http.build_absolute_uri(path)  # It can't know which site a path is of.
        query = urlencode({"next": path, **hints})
        response = redirect(http, f"{address}{'&' if '?' in address else '?'}{query}")
        if login.needs_mark(request):
            response.set_cookie(
                login.cookie_name(request),
                login.new_mark(request, present, now=now),
                max_age=login.LONGEST_LOGIN,
                path=escape_uri_path(http.path),
                secure=http.is_secure() or settings.SESSION_COOKIE_SECURE,
                httponly=True,
                samesite="Lax",
            )
            for name in login.marks_to_forget(http, request):
                response.delete_cookie(name, path=escape_uri_path(http.path), samesite="Lax")
        return response

    def _ask(
        self, http: HttpRequest, request: AuthorizationRequest, user: Any, present: Login
    ) -> HttpResponse:
        if request.is_silent:
            raise ConsentRequired(reason="consent_missing")
        context = {
            "client": request.client,
            "host": urlsplit(request.destination.redirect_uri).netloc,
            "wishes": [_description(name) for name in request.scope],
            "user_name": user_name(user),
            "action": escape_uri_path(http.path),
            "parameters": as_fields(request.parameters, PARAMETERS),
            "seal": consent.seal(request, user, present),
        }
        return render(http, "django_ciam_token/consent.html", context)

    def _refuse(self, http: HttpRequest, destination: Destination, error: OAuthError) -> HttpResponse:
        fields = {"client_id": destination.client.client_id, "error": error.error, "reason": error.reason}
        logger.info(
            "%s refused: %s", shown_path(http), error.reason, extra={"event": "request_refused", **fields}
        )
        return send_back(http, destination, Form(error.members()))

    def _forget_mark(self, http: HttpRequest, request: AuthorizationRequest, response: HttpResponse) -> None:
        """Remove the mark: the next request needs a login of its own, also if it is the same one."""
        name = login.cookie_name(request)
        if name in http.COOKIES:
            response.delete_cookie(name, path=escape_uri_path(http.path), samesite="Lax")


def _description(scope: str) -> str:
    """Return what a scope allows, in the words of the site, and if it has them in the page's language."""
    description = ciam_settings.SCOPES.get(scope)
    return gettext(description) if description else scope


def _require_issuable(request: AuthorizationRequest, user: Any, present: Login) -> None:
    """Ask the site before its user is asked; it is asked again when the code is exchanged."""
    subject = Subject(
        client=request.client,
        user=user,
        scope=request.scope,
        session_id=None,
        auth_time=present.auth_time,
    )
    try:
        require_issuable(subject)
    except InvalidGrant as error:
        raise AccessDenied(reason=error.reason) from None


def _give_consent(http: HttpRequest, request: AuthorizationRequest, user: Any) -> None:
    caller = Caller.of(http)
    try:
        consent.give_consent(client=request.client, user=user, scope=request.scope, caller=caller)
    except InvalidGrant as error:
        raise AccessDenied(reason=error.reason) from None


def _issue(http: HttpRequest, request: AuthorizationRequest, present: Login, *, now: datetime) -> Concealed:
    try:
        return issue_code(
            client=request.client,
            user=http.user,  # type: ignore[arg-type]  # Nobody who is not signed in comes this far.
            scope=request.scope,
            auth_time=present.auth_time,
            redirect_uri=request.destination.redirect_uri,
            code_challenge=request.code_challenge,
            nonce=request.nonce,
            caller=Caller.of(http),
            now=now,
        )
    except InvalidGrant as error:
        raise AccessDenied(reason=error.reason) from None
