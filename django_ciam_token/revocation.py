"""Revocation by the application (RFC 7009)."""

from __future__ import annotations

import logging
from datetime import datetime
from datetime import timezone as datetime_timezone

from django.conf import settings
from django.db import router, transaction
from django.views.decorators.debug import sensitive_variables

from django_ciam_token import access_tokens, keyring, sessions, signals, token_string
from django_ciam_token.access_tokens import VerifiedAccessToken
from django_ciam_token.callers import Caller
from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import InvalidClient, InvalidToken
from django_ciam_token.models import Client, RevocationReason, RevokedAccessToken
from django_ciam_token.token_string import GenuineToken
from django_ciam_token.transactions import retry

logger = logging.getLogger("django_ciam_token")


@sensitive_variables()
def revoke_token(token: str, *, client: Client, caller: Caller, now: datetime) -> None:
    """Revoke a refresh token's session, or one access token; what is neither is no error (RFC 7009 §2.2).

    The kind is told from the token itself, so a wrong ``token_type_hint`` does no harm.

    Raises:
        InvalidClient: the token was issued to another client; nothing was revoked.
        TemporarilyUnavailable: the database refused; the token may still be good.
    """
    try:
        presented = token_string.authenticate(token, keyring.token_keys())
    except token_string.NotGenuine:
        _revoke_access_token(token, client=client, caller=caller, now=now)
    else:
        _revoke_session(presented, client=client, caller=caller, now=now)


def _revoke_session(presented: GenuineToken, *, client: Client, caller: Caller, now: datetime) -> None:
    """End the session of a refresh token, of whichever generation it is."""
    session = sessions.find(presented.family)
    if session is None:
        return
    if session.client_id != client.pk:
        raise InvalidClient(reason="token_of_another_client")
    # For whoever is told of it: reading it once more might find a replica that lags, or nothing.
    session.client = client
    sessions.revoke(session, reason=RevocationReason.CLIENT, now=now, caller=caller)


def _revoke_access_token(token: str, *, client: Client, caller: Caller, now: datetime) -> None:
    """Remember the jti of an access token for as long as anyone would still accept the token."""
    try:
        verified = access_tokens.verify(token, now=now)
    except InvalidToken:
        return
    # One that is not valid yet, by this host's clock, is going to be.
    if access_tokens.has_expired(verified, now=now, leeway=ciam_settings.RESOURCE_LEEWAY):
        return
    if verified.client_id != client.client_id:
        raise InvalidClient(reason="token_of_another_client")
    using = router.db_for_write(RevokedAccessToken)
    revoked = RevokedAccessToken(jti=verified.jti, expires_at=_end_of(verified))

    rows, attempts = RevokedAccessToken.objects.using(using), 0

    def write() -> bool:
        nonlocal attempts
        attempts += 1
        if rows.filter(pk=revoked.pk).exists():
            # After a COMMIT whose outcome is unknown it may be ours.
            return attempts > 1
        with transaction.atomic(using=using):
            # Revoked twice at once is revoked.
            rows.bulk_create([revoked], ignore_conflicts=True)
        return True

    # Told of once, however often it is asked for: otherwise anybody with a token could fill the audit trail.
    # If the first request ended with 503 although its COMMIT happened, it is not told of.
    if not retry(write, using=using):
        return
    fields = {"jti": str(verified.jti), "session_id": str(verified.session_id or "")}
    logger.info(
        "Access token %s revoked by its application",
        verified.jti,
        extra={"event": "revoked", "client_id": client.client_id, **fields},
    )
    signals.send_after_commit(
        signals.access_token_revoked,
        sender=RevokedAccessToken,
        using=using,
        jti=verified.jti,
        session_id=verified.session_id,
        client=client,
        caller=caller,
    )


def _end_of(token: VerifiedAccessToken) -> datetime:
    zone = datetime_timezone.utc if settings.USE_TZ else None
    return datetime.fromtimestamp(token.claims["exp"], tz=zone) + ciam_settings.RESOURCE_LEEWAY
