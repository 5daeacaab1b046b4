"""``POST /oauth2/token``."""

from __future__ import annotations

from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request

from django_ciam_token.caller import Caller, queued_for
from django_ciam_token.grants import TokenRequest, find_grant, require, session_named_by
from django_ciam_token.views.base import EndpointView
from django_ciam_token.views.rendering import CONTENT_TYPE, NO_STORE, JSONRenderer


class TokenView(EndpointView):
    """The token endpoint (RFC 6749 §3.2)."""

    http_method_names = ["post"]

    def post(self, request: Request) -> HttpResponse:
        """Answer a token request."""
        now = timezone.now()
        parameters = self.form(request)
        grant = find_grant(require(parameters, "grant_type"))
        caller = Caller.of(request._request)
        reading = self.authenticate_client(
            request,
            parameters,
            caller=caller,
            now=now,
            session_id=session_named_by(grant, parameters),
        )
        token_request = TokenRequest(
            client=reading.client,
            parameters=parameters,
            caller=caller,
            now=now,
            session=reading.session,
            queued=queued_for(request._request, now=now),
        )
        tokens = grant(token_request)
        # Not a `Response`: that starts as an HTML page and becomes this answer only later. The Content-Length
        # keeps the answer from being sent in chunks, and nobody mistakes a part of it for the whole.
        body = JSONRenderer().render(tokens.members(timezone.now()))
        headers = {"Content-Type": CONTENT_TYPE, "Content-Length": str(len(body)), **NO_STORE}
        return HttpResponse(body, headers=headers)
