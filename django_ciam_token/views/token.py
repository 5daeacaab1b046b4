"""``POST /oauth2/token``."""

from __future__ import annotations

import time
import uuid
from http import HTTPStatus
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.request import Request

from django_ciam_token import signals
from django_ciam_token.caller import Caller, queued_for
from django_ciam_token.conf import ciam_settings
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import InvalidClient, InvalidGrant, InvalidScope, OAuthError, UnauthorizedClient
from django_ciam_token.grants import IssuedTokens, TokenRequest, find_grant, presented_to, require
from django_ciam_token.models import Client, RefreshToken
from django_ciam_token.views.base import EndpointView
from django_ciam_token.views.rendering import CONTENT_TYPE, NO_STORE, JSONRenderer

# What an application can't repeat with success. Of an outage or a malformed request the log is enough.
_REFUSALS: Final = (InvalidGrant, InvalidClient, UnauthorizedClient, InvalidScope)


class TokenView(EndpointView):
    """The token endpoint (RFC 6749 §3.2)."""

    http_method_names = ["post"]

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer a token request, and signal how it went if anybody listens."""
        # Most sites have no receiver, and this is cheaper than `has_listeners`.
        if not signals.token_request_answered.receivers:
            return super().dispatch(request, *args, **kwargs)
        begun_at = time.perf_counter()
        response = super().dispatch(request, *args, **kwargs)
        grant_type = getattr(request, "ciam_form", {}).get("grant_type", "")
        signals.token_request_answered.send_robust(
            sender=TokenView,
            client_id="" if self.failures is None else self.failures.known_client_id,
            grant_type=grant_type if grant_type in ciam_settings.GRANTS else "",
            outcome=_outcome(response),
            duration=time.perf_counter() - begun_at,
        )
        return response

    def post(self, request: Request) -> HttpResponse:
        """Answer a token request."""
        now = timezone.now()
        parameters = self.form(request)
        grant = find_grant(require(parameters, "grant_type"))
        caller = Caller.of(request._request)
        presented, client = presented_to(grant, parameters), None
        session_id = None if presented is None else presented.session_id
        try:
            reading = self.authenticate_client(
                request, parameters, caller=caller, now=now, session_id=session_id
            )
            client = reading.client
            token_request = TokenRequest(
                client=client,
                parameters=parameters,
                caller=caller,
                now=now,
                presented=presented,
                session=reading.session,
                queued=queued_for(request._request, now=now),
            )
            tokens = grant(token_request)
        except OAuthError as error:
            refusal = error
        else:
            return _answer(tokens)
        # Not in the handler: what a receiver raises would carry the refusal, in whose frames a secret is.
        if parameters["grant_type"] == "refresh_token":
            _report_refusal(refusal, session_id=session_id, client=client, caller=caller)
        raise refusal


def _answer(tokens: IssuedTokens) -> HttpResponse:
    """Return the answer with these tokens."""
    # Not a `Response`: that starts as an HTML page and becomes this answer only later. The Content-Length
    # keeps the answer from being sent in chunks, and nobody mistakes a part of it for the whole.
    body = JSONRenderer().render(tokens.members(timezone.now()))
    headers = {"Content-Type": CONTENT_TYPE, "Content-Length": str(len(body)), **NO_STORE}
    return HttpResponse(body, headers=headers)


def _outcome(response: HttpResponseBase) -> str:
    """Return one of a few words for an answer."""
    if response.status_code == HTTPStatus.OK:
        return "issued"
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return "throttled"
    # What could not even be answered as an error has no `data`.
    members: dict[str, str] = getattr(response, "data", {})
    return members.get("error", "server_error")


def _report_refusal(
    error: OAuthError, *, session_id: uuid.UUID | None, client: Client | None, caller: Caller
) -> None:
    """Signal that a refresh was refused, unless nobody can tell of which session."""
    # A token of another package names its session only once it was looked up.
    known = session_id or error.log_fields.get("session_id")
    if known and isinstance(error, _REFUSALS):
        signals.send_after_commit(
            signals.refresh_refused,
            sender=RefreshToken,
            using=write_database(RefreshToken),
            session_id=uuid.UUID(str(known)),
            client=client,
            reason=error.reason,
            caller=caller,
        )
