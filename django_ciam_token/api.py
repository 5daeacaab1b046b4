"""The Python interface for the host site: what its login views and management code call."""

from __future__ import annotations

import logging
from datetime import datetime

from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from django_ciam_token import scopes, sessions, signals
from django_ciam_token.callers import NOBODY, Caller
from django_ciam_token.clients import create_client, import_client_secret, rotate_client_secret
from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import InvalidGrant, InvalidRequest, InvalidScope, UnauthorizedClient
from django_ciam_token.models import ApplicationType, Client, RefreshToken, RevocationReason
from django_ciam_token.purging import PurgeResult, purge
from django_ciam_token.session_management import SessionInfo, list_sessions, revoke_sessions
from django_ciam_token.signing_keys import rotate as rotate_signing_key
from django_ciam_token.tokens import IssuedTokens, Subject, sign_tokens

logger = logging.getLogger("django_ciam_token")

__all__ = [
    "PurgeResult",
    "RevocationReason",
    "SessionInfo",
    "create_client",
    "import_client_secret",
    "issue_tokens",
    "list_sessions",
    "purge",
    "revoke_sessions",
    "rotate_client_secret",
    "rotate_signing_key",
]


@sensitive_variables()
def issue_tokens(
    *,
    client: Client,
    user: AbstractBaseUser | None = None,
    scope: str | None = None,
    auth_time: datetime | None = None,
    request: HttpRequest | None = None,
) -> dict[str, str | int]:
    """Begin a session and return exactly what the token endpoint would answer.

    Call it once the user has proved who they are. It neither authenticates the client nor the user.

    Args:
        client: who gets the tokens.
        user: who signed in; None for a machine-to-machine client, which acts for itself.
        scope: names separated by spaces; all that the client is allowed if None.
        auth_time: when the user proved who they are; now if None.
        request: where the session's address and user agent are taken from, if given.

    Raises:
        InvalidRequest: a user is missing, or one was given for a machine.
        InvalidScope: the scope is malformed, or wider than the client is allowed.
        UnauthorizedClient: the client is switched off.
        InvalidGrant: the user is disabled, or the setting ``ISSUANCE_POLICY`` says no.
        ServerError: there is no usable signing key.
        TemporarilyUnavailable: the database refused.
    """
    now = timezone.now()
    granted = _require_allowed(client, user, scope)
    if user is not None and auth_time is None:
        auth_time = now
    session, refresh_token = None, None
    caller = NOBODY if request is None else Caller.of(request)
    if client.refresh_tokens_enabled:
        session, refresh_token = sessions.new_session(
            client=client,
            user=user,
            scope=granted,
            auth_time=auth_time,
            caller=caller,
            now=now,
        )
    subject = Subject(
        client=client,
        user=user,
        scope=granted,
        session_id=session.pk if session else None,
        auth_time=auth_time,
    )
    # Signed before it is saved: what can fail leaves no session behind.
    tokens = IssuedTokens(signed=sign_tokens(subject, now=now), refresh_token=refresh_token)
    if session is not None:
        sessions.save_new(session)
    fields = {"client_id": client.client_id, "session_id": str(session.pk) if session else ""}
    logger.info("First tokens issued to %s", client.client_id, extra={"event": "issued", **fields})
    signals.send_after_commit(
        signals.tokens_issued,
        sender=RefreshToken,
        using=sessions.database(),
        session=session,
        client=client,
        user=user,
        caller=caller,
    )
    return tokens.members(timezone.now())


def _require_allowed(client: Client, user: AbstractBaseUser | None, scope: str | None) -> tuple[str, ...]:
    is_machine = client.application_type == ApplicationType.M2M
    if is_machine and user is not None:
        raise InvalidRequest("a machine-to-machine application has no user; leave it out")
    if not is_machine and user is None:
        raise InvalidRequest("this application signs users in; name the user")
    if not client.is_active:
        raise UnauthorizedClient("this application is switched off", reason="client_disabled")
    if user is not None and not getattr(user, "is_active", True):
        raise InvalidGrant(reason="user_disabled")
    try:
        granted = scopes.narrow(client.scopes, scope or None)
    except InvalidScope:
        allowed = " ".join(client.scopes)
        raise InvalidScope(
            f"this application may be granted: {allowed}", reason="scope_not_allowed"
        ) from None
    policy = ciam_settings.ISSUANCE_POLICY
    if policy is not None and not policy(user=user, client=client, scope=granted):
        raise InvalidGrant(reason="policy")
    return granted
