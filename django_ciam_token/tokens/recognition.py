"""Which kind of token a string is: the one place that tries them all."""

from __future__ import annotations

import uuid
from datetime import datetime
from functools import partial

from django.utils import timezone

from django_ciam_token.concealed import Concealed
from django_ciam_token.conf import ciam_settings
from django_ciam_token.crypto import jose, refresh_token_string, site_keys
from django_ciam_token.crypto.refresh_token_string import GenuineToken, NotGenuine, WrongMAC
from django_ciam_token.errors import InvalidToken
from django_ciam_token.keys import key_set
from django_ciam_token.tokens import access_tokens, foreign
from django_ciam_token.tokens.access_tokens import VerifiedAccessToken


def recognise(token: Concealed, *, now: datetime) -> GenuineToken | VerifiedAccessToken:
    """Tell from a token itself what it is; nothing is judged but that this service issued it.

    Returns:
        A `GenuineToken` for a refresh token of any generation, also for one of another package; a
        `VerifiedAccessToken` for an access token.

    Raises:
        InvalidToken: it is neither, or not of this service.
        TemporarilyUnavailable: the signing keys can't be read, or the site has the wrong secrets.
    """
    try:
        return token.lend(partial(refresh_token_string.authenticate, keys=site_keys.token_keys()))
    except WrongMAC:
        key_set.current().require_right_secrets(now)
        raise InvalidToken(reason="not_genuine") from None
    except NotGenuine:
        return _access_token_or_foreign(token, now=now)


def _access_token_or_foreign(token: Concealed, *, now: datetime) -> GenuineToken | VerifiedAccessToken:
    try:
        return access_tokens.verify(token, now=now)
    except InvalidToken:
        # A token that has not been refreshed here yet must also sign its user out.
        presented = foreign.resolve(token, now=now)
        if presented is None:
            raise
        return presented


def claims_to_be_ours(token: Concealed) -> bool:
    """Tell whether a token says that this service has issued it, true or not.

    A JWT whose ``iss`` is ours says so, however broken it is otherwise, and so does a refresh token.
    """
    if token.reveal().startswith(refresh_token_string.PREFIX):
        return True
    issuer, ours = token.lend(jose.unverified_issuer), ciam_settings.ISSUER
    return bool(issuer == ours or (isinstance(issuer, list) and ours in issuer))


def session_of_token(token: str | Concealed) -> uuid.UUID | None:
    """Return the id of the session that a token was issued in, without judging whether either is live.

    Args:
        token: a refresh token, however old, or an access token.

    Returns:
        None if it is an access token that belongs to no session.

    Raises:
        InvalidToken: it is neither, or not of this service.
        TemporarilyUnavailable: the signing keys can't be read.
    """
    token = Concealed.of(token)
    return recognise(token, now=timezone.now()).session_id
