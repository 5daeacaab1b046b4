"""``POST /oauth2/introspect``: whether a token is live, and what it stands for (RFC 7662)."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Final

from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request

from django_ciam_token.caller import Caller
from django_ciam_token.concealed import Concealed
from django_ciam_token.conf import ciam_settings
from django_ciam_token.crypto.refresh_token_string import GenuineToken
from django_ciam_token.database.local_time import timestamp
from django_ciam_token.database.retry import retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import InvalidGrant, InvalidToken
from django_ciam_token.grants import require
from django_ciam_token.models import Client
from django_ciam_token.sessions.rows import ClientReading, SessionReading, find_session
from django_ciam_token.sessions.user import user_name
from django_ciam_token.sessions.verdict import Verdict, judge
from django_ciam_token.tokens import access_tokens
from django_ciam_token.tokens.access_tokens import VerifiedAccessToken
from django_ciam_token.tokens.claims import subject_identifier
from django_ciam_token.tokens.recognition import recognise
from django_ciam_token.views.base import EndpointView
from django_ciam_token.views.rendering import CONTENT_TYPE, NO_STORE, JSONRenderer

_REPEATED_CLAIMS: Final = ("exp", "iat", "nbf", "sub", "aud", "iss", "jti", "sid")
# RFC 7662 §2.2: nothing else is said about a token that is not live, not even why.
INACTIVE: Final[dict[str, Any]] = {"active": False}


class IntrospectionView(EndpointView):
    """The introspection endpoint, for confidential clients only."""

    http_method_names = ["post"]

    def post(self, request: Request) -> HttpResponse:
        """Say whether a token is live."""
        now = timezone.now()
        parameters = self.form(request)
        caller = Caller.of(request._request)
        token = _recognised(Concealed(require(parameters, "token")), now=now)
        # RFC 7662 §2.1: without authentication anybody could scan for live tokens.
        reading = self.authenticate_client(
            request,
            parameters,
            caller=caller,
            now=now,
            confidential=True,
            session_id=None if token is None else token.session_id,
            jti=token.jti if isinstance(token, VerifiedAccessToken) else None,
        )
        # Not a `Response`, as at the token endpoint, which has the reason.
        body = JSONRenderer().render(introspect(token, asking=reading, now=now))
        headers = {"Content-Type": CONTENT_TYPE, "Content-Length": str(len(body)), **NO_STORE}
        return HttpResponse(body, headers=headers)


def _recognised(token: Concealed, *, now: datetime) -> GenuineToken | VerifiedAccessToken | None:
    try:
        return recognise(token, now=now)
    except InvalidToken:
        return None


def introspect(
    token: GenuineToken | VerifiedAccessToken | None, *, asking: ClientReading, now: datetime
) -> dict[str, Any]:
    """Return the members of the answer for a token of either kind.

    Args:
        token: what was recognised as a refresh token or an access token; None if it is neither.
        asking: the client that asks, with what was read of the token if that is one of its own. It sees other
            clients' tokens as not live, unless it ``may_introspect``.
        now: the current time.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    if token is None:
        return INACTIVE
    if isinstance(token, GenuineToken):
        return _introspect_refresh_token(token, asking=asking, now=now)
    return _introspect_access_token(token, asking=asking, now=now)


def _introspect_access_token(
    verified: VerifiedAccessToken, *, asking: ClientReading, now: datetime
) -> dict[str, Any]:
    try:
        access_tokens.require_unexpired(verified, now=now, leeway=ciam_settings.RESOURCE_LEEWAY)
        if not _may_ask(asking.client, verified.client_id):
            return INACTIVE
        live = access_tokens.require_live(verified, already_read=asking.access_token)
    except InvalidToken:
        return INACTIVE
    kept = {name: value for name, value in verified.claims.items() if name in _REPEATED_CLAIMS}
    return {
        "active": True,
        "scope": " ".join(verified.scope),
        "client_id": verified.client_id,
        **_username(live.user),
        "token_type": "Bearer",
        **kept,
    }


def _introspect_refresh_token(
    presented: GenuineToken, *, asking: ClientReading, now: datetime
) -> dict[str, Any]:
    reading, owner = asking.session, asking.client
    if reading is None or reading.is_stale:
        reading = find_session(presented.session_id)
        if reading is None:
            return INACTIVE
        found = _owner(reading)
        if found is None or not _may_ask(asking.client, found.client_id):
            return INACTIVE
        owner = found
    session = reading.session
    if not _is_current(reading, presented, owner=owner, now=now):
        return INACTIVE
    since = reading.since_rotation
    issued_at = math.floor(
        timestamp(session.issued_at) if since is None else now.timestamp() - since.total_seconds()
    )
    return {
        "active": True,
        "scope": session.scope,
        "client_id": owner.client_id,
        **_username(session.user),
        "token_type": "refresh_token",
        "exp": math.floor(timestamp(session.ends_at(owner))),
        "iat": issued_at,
        "nbf": issued_at,
        "sub": subject_identifier(session.user, client=owner),
        "aud": owner.client_id,
        "iss": ciam_settings.ISSUER,
        "jti": f"{session.pk}.{session.generation}",
        "sid": str(session.pk),
    }


def _owner(reading: SessionReading) -> Client | None:
    """Return the session's client, read from the database that is written to: a replica may lag behind."""
    using = write_database(Client)
    clients = Client.objects.using(using).filter(pk=reading.session.client_id)
    return retry(lambda _: clients.first(), using=using)


def _is_current(reading: SessionReading, presented: GenuineToken, *, owner: Client, now: datetime) -> bool:
    """Tell whether a refresh with this token would rotate; a predecessor only replays, so it is not live."""
    if not owner.is_active or not owner.refresh_tokens_enabled:
        return False
    try:
        return judge(reading, presented, client=owner, now=now) is Verdict.ROTATE
    except InvalidGrant:
        return False


def _may_ask(client: Client, owner: str) -> bool:
    return client.may_introspect or client.client_id == owner


def _username(user: AbstractBaseUser | None) -> dict[str, str]:
    return {} if user is None else {"username": user_name(user)}
