"""First tokens: beginning a session and signing for it, as every way of signing in does."""

from __future__ import annotations

import logging
from datetime import datetime

from django.contrib.auth.base_user import AbstractBaseUser

from django_ciam_token import scopes, signals
from django_ciam_token.caller import Caller
from django_ciam_token.crypto import site_keys
from django_ciam_token.crypto.refresh_token_string import encode
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import InvalidGrant, InvalidRequest, InvalidScope, UnauthorizedClient
from django_ciam_token.models import ApplicationType, Client, RefreshToken
from django_ciam_token.sessions.creation import new_session, save_new
from django_ciam_token.tokens.claims import Subject
from django_ciam_token.tokens.issuing import IssuedTokens, sign_tokens

logger = logging.getLogger("django_ciam_token")


def issue_first_tokens(
    *,
    client: Client,
    user: AbstractBaseUser | None,
    scope: str | tuple[str, ...] | None,
    auth_time: datetime | None,
    caller: Caller,
    now: datetime,
) -> IssuedTokens:
    """Begin a session, if the client may refresh, and return its first tokens.

    Neither the client nor the user is authenticated here.

    Args:
        client: who gets the tokens.
        user: who signed in; None for a machine-to-machine client, which acts for itself.
        scope: names separated by spaces; all that the client is allowed if None. A tuple was judged before,
            and is granted as it is: an empty one is no scope, not all of them.
        auth_time: when the user proved who they are; now if None.
        caller: where the request came from.
        now: the present.

    Raises:
        InvalidRequest: a user is missing, or one was given for a machine.
        InvalidScope: the scope is malformed, or wider than the client is allowed.
        UnauthorizedClient: the client is switched off.
        InvalidGrant: the user is disabled or was deleted, or the setting ``ISSUANCE_POLICY`` says no.
        ServerError: there is no usable signing key.
        TemporarilyUnavailable: the database refused.
    """
    require_allowed(client, user)
    granted = scope if isinstance(scope, tuple) else _narrow(client, scope)
    if user is not None and auth_time is None:
        auth_time = now
    session, first = None, None
    if client.refresh_tokens_enabled:
        session, first = new_session(
            client=client, user=user, scope=granted, auth_time=auth_time, caller=caller, now=now
        )
    session_id = None if session is None else session.pk
    subject = Subject(client=client, user=user, scope=granted, session_id=session_id, auth_time=auth_time)
    # Signed before it is saved: what can fail leaves no session behind.
    tokens = IssuedTokens(
        signed=sign_tokens(subject, now=now),
        refresh_token=None if first is None else encode(first, site_keys.token_keys()[0]),
    )
    if session is not None:
        save_new(session)
    report_issued(session, client=client, user=user, caller=caller)
    return tokens


def report_issued(
    session: RefreshToken | None,
    *,
    client: Client,
    user: AbstractBaseUser | None,
    caller: Caller,
    is_recorded: bool = False,
) -> None:
    """Log that first tokens were issued, and send the signal once that is committed.

    Args:
        session: what began, if anything did.
        client: who got the tokens.
        user: who signed in, if anybody did.
        caller: where the request came from.
        is_recorded: whether the audit trail has it already.
    """
    fields = {"client_id": client.client_id, "session_id": str(session.pk) if session else ""}
    logger.info("First tokens issued to %s", client.client_id, extra={"event": "issued", **fields})
    signals.send_after_commit(
        signals.tokens_issued,
        sender=RefreshToken,
        using=write_database(RefreshToken),
        session=session,
        client=client,
        user=user,
        caller=caller,
        is_recorded=is_recorded,
    )


def require_allowed(client: Client, user: AbstractBaseUser | None) -> None:
    """Check that the client may get tokens for this user, or for itself.

    Raises:
        InvalidRequest: a user is missing, or one was given for a machine.
        UnauthorizedClient: the client is switched off.
        InvalidGrant: the user is disabled.
    """
    is_machine = client.application_type == ApplicationType.M2M
    if is_machine and user is not None:
        raise InvalidRequest("a machine-to-machine application has no user; leave it out")
    if user is None and not client.grants_client_credentials:
        raise InvalidRequest("this application signs users in; name the user")
    if not client.is_active:
        raise UnauthorizedClient("this application is switched off", reason="client_disabled")
    if user is not None and not getattr(user, "is_active", True):
        raise InvalidGrant(reason="user_disabled")


def _narrow(client: Client, scope: str | None) -> tuple[str, ...]:
    try:
        return scopes.narrow(client.scopes, scope or None)
    except InvalidScope:
        allowed = " ".join(client.scopes)
        raise InvalidScope(
            f"this application may be granted: {allowed}", reason="scope_not_allowed"
        ) from None
