"""``POST /oauth2/token``."""

from __future__ import annotations

from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables
from rest_framework.request import Request
from rest_framework.response import Response

from django_ciam_token import grants
from django_ciam_token.callers import Caller
from django_ciam_token.views.base import NO_STORE, EndpointView


class TokenView(EndpointView):
    """The token endpoint (RFC 6749 §3.2)."""

    http_method_names = ["post"]

    @method_decorator(sensitive_variables())
    def post(self, request: Request) -> Response:
        """Answer a token request."""
        now = timezone.now()
        parameters = self.form(request)
        grant = grants.find(grants.require(parameters, "grant_type"))
        caller = Caller.of(request._request)
        client = self.authenticate_client(request, parameters, caller=caller, now=now)
        tokens = grant(client=client, parameters=parameters, caller=caller, now=now)
        return Response(tokens.members(timezone.now()), headers=NO_STORE)
