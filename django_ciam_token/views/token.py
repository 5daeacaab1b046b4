"""``POST /oauth2/token``."""

from __future__ import annotations

from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from rest_framework.request import Request
from rest_framework.response import Response

from django_ciam_token import grants
from django_ciam_token.callers import Caller
from django_ciam_token.views.base import NO_STORE, EndpointView


class TokenView(EndpointView):
    """The token endpoint (RFC 6749 §3.2)."""

    http_method_names = ["post"]

    @sensitive_variables()
    def post(self, request: Request) -> Response:
        """Answer a token request."""
        now = timezone.now()
        parameters = self.form(request)
        grant = grants.find(grants.require(parameters, "grant_type"))
        caller = Caller.of(request._request)
        presented = grants.token_ahead(grant, parameters)
        session_id = None if presented is None else presented.family
        client = self.authenticate_client(request, parameters, caller=caller, now=now, session_id=session_id)
        along = {} if presented is None else {"presented": presented, "reading": self.reading}
        tokens = grant(client=client, parameters=parameters, caller=caller, now=now, **along)
        return Response(tokens.members(timezone.now()), headers=NO_STORE)
