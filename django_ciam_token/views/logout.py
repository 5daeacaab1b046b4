"""``GET`` and ``POST /oauth2/logout``: an application signs its user out of the site."""

from __future__ import annotations

from typing import Any

from django.contrib import auth
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.encoding import escape_uri_path

from django_ciam_token.authorization import login
from django_ciam_token.authorization.logout import (
    PARAMETERS,
    LogoutRequest,
    end_session_of_hint,
    read_logout_request,
)
from django_ciam_token.authorization.parameters import Sent, as_fields
from django_ciam_token.authorization.response import redirect
from django_ciam_token.caller import Caller
from django_ciam_token.sessions.user import user_name
from django_ciam_token.views.pages import PageView


class LogoutView(PageView):
    """The end_session_endpoint (OpenID Connect RP-Initiated Logout 1.0 §2)."""

    known = PARAMETERS

    def respond(self, http: HttpRequest, sent: Sent, decision: str | None) -> HttpResponse:
        """Sign out with an id_token of this very login, or with the user's consent."""
        now = timezone.now()
        request = read_logout_request(sent, now=now)
        if not http.user.is_authenticated:
            return self._leave(http, request)
        if decision == "deny":
            return self._page(http, "signed_out", is_signed_in=True)
        user: Any = http.user
        if decision != "allow" and not request.is_of(user, login.login_of(http)):
            return self._ask(http, request, sent)
        end_session_of_hint(request.hint, user=user, caller=Caller.of(http), now=now)
        auth.logout(http)
        return self._leave(http, request)

    def _ask(self, http: HttpRequest, request: LogoutRequest, sent: Sent) -> HttpResponse:
        return self._page(
            http,
            "sign_out",
            client=request.client,
            user_name=user_name(http.user),
            action=escape_uri_path(http.path),
            parameters=as_fields(sent.values, PARAMETERS),
        )

    def _leave(self, http: HttpRequest, request: LogoutRequest) -> HttpResponse:
        if request.location is None:
            return self._page(http, "signed_out", is_signed_in=False)
        return redirect(http, request.location)

    def _page(self, http: HttpRequest, template: str, **context: Any) -> HttpResponse:
        return render(http, f"django_ciam_token/{template}.html", context)
