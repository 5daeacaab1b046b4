"""``POST /oauth2/introspect``."""

from __future__ import annotations

from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables
from rest_framework.request import Request
from rest_framework.response import Response

from django_ciam_token.callers import Caller
from django_ciam_token.grants import require
from django_ciam_token.introspection import introspect
from django_ciam_token.views.base import NO_STORE, EndpointView


class IntrospectView(EndpointView):
    """The introspection endpoint (RFC 7662), for clients that keep a secret."""

    http_method_names = ["post"]

    @method_decorator(sensitive_variables())
    def post(self, request: Request) -> Response:
        """Say whether a token is live."""
        now = timezone.now()
        parameters = self.form(request)
        caller = Caller.of(request._request)
        token = require(parameters, "token")
        # RFC 7662 §2.1: without authentication anybody could scan for live tokens.
        client = self.authenticate_client(request, parameters, caller=caller, now=now, confidential=True)
        return Response(introspect(token, client=client, now=now), headers=NO_STORE)
