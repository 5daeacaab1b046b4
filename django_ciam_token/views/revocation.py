"""``POST /oauth2/revoke``: an application ends its own tokens (RFC 7009)."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from django_ciam_token.caller import Caller
from django_ciam_token.concealed import Concealed
from django_ciam_token.conf import ciam_settings
from django_ciam_token.crypto.refresh_token_string import GenuineToken
from django_ciam_token.errors import InvalidClient, InvalidToken
from django_ciam_token.grants import require
from django_ciam_token.models import Client, RevocationReason
from django_ciam_token.sessions.revocation import revoke_session
from django_ciam_token.sessions.rows import find_session
from django_ciam_token.tokens import access_tokens
from django_ciam_token.tokens.access_tokens import VerifiedAccessToken
from django_ciam_token.tokens.recognition import recognise
from django_ciam_token.views.base import EndpointView
from django_ciam_token.views.rendering import NO_STORE


class RevocationView(EndpointView):
    """The revocation endpoint."""

    http_method_names = ["post"]

    def post(self, request: Request) -> Response:
        """Revoke a token; the body is an empty object, which every client library accepts."""
        now = timezone.now()
        parameters = self.form(request)
        caller = Caller.of(request._request)
        token = Concealed(require(parameters, "token"))
        reading = self.authenticate_client(request, parameters, caller=caller, now=now)
        revoke_token(token, client=reading.client, caller=caller, now=now)
        return Response({}, headers=NO_STORE)


def revoke_token(token: Concealed, *, client: Client, caller: Caller, now: datetime) -> None:
    """Revoke the session of a refresh token, or one access token.

    Any other string is not an error (RFC 7009 §2.2). The kind is recognised from the token itself, so a wrong
    ``token_type_hint`` does no harm.

    Raises:
        InvalidClient: the token was issued to another client; nothing was revoked.
        TemporarilyUnavailable: the database refused; the token may still be valid.
    """
    try:
        recognised = recognise(token, now=now)
    except InvalidToken:
        return
    if isinstance(recognised, GenuineToken):
        _revoke_session(recognised, client=client, caller=caller, now=now)
    else:
        _revoke_access_token(recognised, client=client, caller=caller, now=now)


def _revoke_session(presented: GenuineToken, *, client: Client, caller: Caller, now: datetime) -> None:
    """End the session of a refresh token of any generation."""
    reading = find_session(presented.session_id)
    if reading is None:
        return
    session = reading.session
    if session.client_id != client.pk:
        raise InvalidClient(reason="token_of_another_client")
    # For the receivers of the signal: reading it again might ask a replica that lags, or find nothing.
    session.client = client
    revoke_session(session, reason=RevocationReason.CLIENT, now=now, caller=caller)


def _revoke_access_token(
    verified: VerifiedAccessToken, *, client: Client, caller: Caller, now: datetime
) -> None:
    # A token that is not valid yet by this host's clock will be valid soon: it is revoked as well.
    if access_tokens.has_expired(verified, now=now, leeway=ciam_settings.RESOURCE_LEEWAY):
        return
    if verified.client_id != client.client_id:
        raise InvalidClient(reason="token_of_another_client")
    access_tokens.revoke(verified, client=client, caller=caller)
