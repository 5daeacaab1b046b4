"""``POST /oauth2/revoke``."""

from __future__ import annotations

from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables
from rest_framework.request import Request
from rest_framework.response import Response

from django_ciam_token.callers import Caller
from django_ciam_token.grants import require
from django_ciam_token.revocation import revoke_token
from django_ciam_token.views.base import NO_STORE, EndpointView


class RevokeView(EndpointView):
    """The revocation endpoint (RFC 7009)."""

    http_method_names = ["post"]

    @method_decorator(sensitive_variables())
    def post(self, request: Request) -> Response:
        """Revoke a token; the body is an empty object, which every client library takes."""
        now = timezone.now()
        parameters = self.form(request)
        caller = Caller.of(request._request)
        token = require(parameters, "token")
        client = self.authenticate_client(request, parameters, caller=caller, now=now)
        revoke_token(token, client=client, caller=caller, now=now)
        return Response({}, headers=NO_STORE)
