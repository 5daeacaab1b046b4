"""Issuing authorization codes (RFC 6749 §4.1.2)."""

from __future__ import annotations

import logging
from datetime import datetime

from django.contrib.auth.base_user import AbstractBaseUser

from django_ciam_token.caller import Caller
from django_ciam_token.concealed import Concealed
from django_ciam_token.crypto import authorization_code_string, site_keys
from django_ciam_token.crypto.authorization_code_string import Binding
from django_ciam_token.keys import key_set
from django_ciam_token.models import Client
from django_ciam_token.sessions.creation import new_code_session, save_new
from django_ciam_token.tokens.first_tokens import require_allowed

logger = logging.getLogger("django_ciam_token")


def issue_code(
    *,
    client: Client,
    user: AbstractBaseUser,
    scope: tuple[str, ...],
    auth_time: datetime,
    redirect_uri: str,
    code_challenge: str | None,
    nonce: str | None,
    caller: Caller,
    now: datetime,
) -> Concealed:
    """Begin a session that is only a code so far, and return the code; one INSERT.

    The request must have been judged before: the redirect URI is one of the client's, the scope within what
    it is allowed, and the user is the one who is asking.

    Args:
        client: who may exchange the code.
        user: who signed in.
        scope: what was authorized.
        auth_time: when the user proved who they are.
        redirect_uri: as it was sent.
        code_challenge: of method S256; None if none was sent.
        nonce: for the id_token, within `authorization_code_string.LONGEST_NONCE`; None if none was sent.
        caller: where the request came from.
        now: the present.

    Raises:
        UnauthorizedClient: the client is switched off, or is a machine.
        InvalidGrant: the user is disabled, or the user or the client was deleted a moment ago.
        TemporarilyUnavailable: the database refused, or the site has the wrong secrets: no other process
            would know the code.
    """
    require_allowed(client, user)
    key_set.current().require_right_secrets(now)
    session, first = new_code_session(
        client=client, user=user, scope=scope, auth_time=auth_time, caller=caller, now=now
    )
    save_new(session)
    fields = {"client_id": client.client_id, "session_id": str(session.pk)}
    logger.info("Code issued to %s", client.client_id, extra={"event": "code_issued", **fields})
    binding = Binding(client_id=client.client_id, redirect_uri=redirect_uri, code_challenge=code_challenge)
    return Concealed(
        authorization_code_string.encode(first, binding=binding, nonce=nonce, key=site_keys.code_keys()[0])
    )
