"""Judging access tokens that come back, at introspection and at the site's own views; and revoking one."""

from __future__ import annotations

import logging
import math
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from datetime import timezone as datetime_timezone
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import transaction

from django_ciam_token import scopes, signals
from django_ciam_token.caller import Caller
from django_ciam_token.concealed import Concealed
from django_ciam_token.conf import ciam_settings
from django_ciam_token.crypto import jose
from django_ciam_token.database.local_time import not_before, timestamp
from django_ciam_token.database.retry import retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.errors import InvalidGrant, InvalidToken
from django_ciam_token.keys import key_set
from django_ciam_token.models import ApplicationType, Client, RefreshToken, RevokedAccessToken
from django_ciam_token.sessions.liveness import (
    TokenOfSession,
    read_token_of_client,
    read_token_of_session,
)
from django_ciam_token.sessions.user import require_active, require_unchanged, user_with_key

logger = logging.getLogger("django_ciam_token")

# The clocks of the host that issues a token, and of the one that it is shown to a moment later.
_CLOCKS_DIFFER_BY: Final = timedelta(seconds=5)


@dataclass(frozen=True)
class VerifiedAccessToken:
    """The content of an access token whose signature, issuer and kind were checked, and nothing else."""

    claims: dict[str, Any] = field(repr=False)
    client_id: str
    jti: uuid.UUID
    session_id: uuid.UUID | None
    scope: tuple[str, ...]


@dataclass(frozen=True)
class LiveAccessToken:
    """An access token that is valid now, and who it acts for."""

    verified: VerifiedAccessToken
    client: Client
    user: AbstractBaseUser | None
    """None for a machine."""


def verify(token: Concealed, *, now: datetime) -> VerifiedAccessToken:
    """Check that this service signed an access token.

    Raises:
        InvalidToken: it did not, or it is an id_token (RFC 8725 §3.11).
        TemporarilyUnavailable: the keys can't be read.
    """
    try:
        signed = token.lend(jose.SignedText)
    except jose.NotVerified:
        raise InvalidToken(reason="not_verified") from None
    keys = key_set.knowing(signed.header.kid)
    try:
        key = keys.verifying_key(signed.header.kid, now)
        claims = jose.verify(signed, key=key, issuer=ciam_settings.ISSUER)
        if not _is_access_token(signed.header.typ, claims):
            raise InvalidToken(reason="not_an_access_token")
        return VerifiedAccessToken(
            claims=claims,
            client_id=str(claims.get("client_id", claims["aud"])),
            jti=uuid.UUID(claims["jti"]),
            session_id=uuid.UUID(claims["sid"]) if "sid" in claims else None,
            scope=_scope(claims["scope"]),
        )
    except (ValueError, TypeError, AttributeError, KeyError):
        raise InvalidToken(reason="not_verified") from None


def has_expired(token: VerifiedAccessToken, *, now: datetime, leeway: timedelta) -> bool:
    """Tell whether nobody accepts the token any more (RFC 7519 §4.1.4)."""
    return bool(token.claims["exp"] + leeway.total_seconds() <= now.timestamp())


def require_unexpired(token: VerifiedAccessToken, *, now: datetime, leeway: timedelta) -> None:
    """Check ``exp`` and ``nbf`` (RFC 7519 §4.1.4, §4.1.5).

    For ``nbf`` at least `_CLOCKS_DIFFER_BY` is allowed: a token that was just issued must be accepted by a
    host whose clock is a little behind. For ``exp`` only what the site allows.

    Raises:
        InvalidToken: it is too late, or too early.
    """
    if has_expired(token, now=now, leeway=leeway):
        raise InvalidToken(reason="expired")
    early = token.claims.get("nbf", token.claims["iat"]) - now.timestamp()
    if early > max(leeway, _CLOCKS_DIFFER_BY).total_seconds():
        raise InvalidToken(reason="not_yet_valid")


def require_live(
    token: VerifiedAccessToken, *, revocation: bool = True, already_read: TokenOfSession | None = None
) -> LiveAccessToken:
    """Check in one statement that nothing has ended the token: its own, its session's or its client's end.

    It goes by way of the session because nothing in the token is certain to name the user's row, nor to
    tell a machine from a user whose ``sub`` is chosen to look like one.

    Args:
        token: signed by this service, and not yet expired.
        revocation: whether it matters that the token or its session was revoked, the password changed, or
            the client's refresh tokens switched off. User, client and scope are checked in any case, and a
            token without a session is checked in full.
        already_read: what was read of this token with the client that asks; nothing is read then.

    Raises:
        InvalidToken: something has; the reason says what.
        TemporarilyUnavailable: the database refused.
    """
    if token.session_id is None:
        return _require_live_client(token)
    read = already_read or _read_by_session(token.session_id, token.jti)
    if read is None or read.client.client_id != token.client_id:
        raise InvalidToken(reason="unknown_session")
    if revocation and (read.token_revoked or read.session_revoked_at is not None):
        raise InvalidToken(reason="revoked")
    require_user = require_unchanged if revocation else require_active
    try:
        require_user(read)
    except InvalidGrant as error:
        raise InvalidToken(reason=error.reason) from None
    if revocation and read.has_refresh_token and not read.client.refresh_tokens_enabled:
        raise InvalidToken(reason="refresh_tokens_disabled")
    _require_client(read.client, token)
    return LiveAccessToken(verified=token, client=read.client, user=read.user)


def _read_by_session(session_id: uuid.UUID, jti: uuid.UUID) -> TokenOfSession | None:
    using = write_database(RefreshToken)
    return retry(lambda _: read_token_of_session(session_id, jti=jti, using=using), using=using)


def revoke(token: VerifiedAccessToken, *, client: Client, caller: Caller) -> None:
    """Remember the ``jti`` of an access token for as long as anyone would still accept the token.

    Raises:
        TemporarilyUnavailable: the database refused; the token may still be valid.
    """
    using = write_database(RevokedAccessToken)
    revoked = RevokedAccessToken(jti=token.jti, expires_at=_end_of(token))
    rows = RevokedAccessToken.objects.using(using)

    def write(attempt: int) -> bool:
        if rows.filter(pk=revoked.pk).exists():
            # After a COMMIT whose outcome is unknown it may be ours.
            return attempt > 1
        with transaction.atomic(using=using):
            # Revoked twice at once is revoked.
            rows.bulk_create([revoked], ignore_conflicts=True)
        return True

    # Reported once, however often it is asked for: otherwise anybody with a token could fill the audit trail.
    # If the first request was answered 503 although its COMMIT happened, it is not reported.
    if retry(write, using=using):
        _report_revocation(token, client=client, caller=caller, using=using)


def _report_revocation(token: VerifiedAccessToken, *, client: Client, caller: Caller, using: str) -> None:
    fields = {"jti": str(token.jti), "session_id": str(token.session_id or "")}
    logger.info(
        "Access token %s revoked by its application",
        token.jti,
        extra={"event": "revoked", "client_id": client.client_id, **fields},
    )
    signals.send_after_commit(
        signals.access_token_revoked,
        sender=RevokedAccessToken,
        using=using,
        jti=token.jti,
        session_id=token.session_id,
        client=client,
        caller=caller,
    )


def _end_of(token: VerifiedAccessToken) -> datetime:
    zone = datetime_timezone.utc if settings.USE_TZ else None
    return not_before(datetime.fromtimestamp(token.claims["exp"], tz=zone)) + ciam_settings.RESOURCE_LEEWAY


def _require_live_client(token: VerifiedAccessToken) -> LiveAccessToken:
    """Check a token without a session: of a client that has no refresh tokens."""
    using = write_database(Client)
    read = retry(lambda _: read_token_of_client(token.client_id, jti=token.jti, using=using), using=using)
    if read is None:
        raise InvalidToken(reason="unknown_client")
    client = read.client
    if read.token_revoked:
        raise InvalidToken(reason="revoked")
    _require_client(client, token)
    # A client that was deleted and made anew under the same client_id, or turned from one kind into the
    # other, must not inherit what was issued before. No leeway for clocks: a
    # script may delete and make a client within a second. What is refused wrongly is of its first seconds.
    if token.claims["iat"] < math.floor(timestamp(client.created_at)):
        raise InvalidToken(reason="older_than_client")
    acts_for_itself = token.claims["sub"] == client.client_id
    is_machine = client.application_type == ApplicationType.M2M
    if not (client.grants_client_credentials if acts_for_itself else not is_machine):
        raise InvalidToken(reason="wrong_kind_of_subject")
    user = None if acts_for_itself else _find_user(token.claims["sub"])
    return LiveAccessToken(verified=token, client=client, user=user)


def _find_user(sub: str) -> AbstractBaseUser:
    """Return the active user of a ``sub``; without a session nothing else names the user."""
    find = ciam_settings.USER_OF_SUBJECT
    if find is None and ciam_settings.SUBJECT is not None:
        # What the site calls alice might be bob's primary key.
        raise InvalidToken(reason="no_user_of_subject")
    try:
        user = user_with_key(sub) if find is None else find(sub)
    except (ValueError, ValidationError, ObjectDoesNotExist):
        user = None
    if user is None or not getattr(user, "is_active", True):
        raise InvalidToken(reason="unknown_user")
    return user


def _require_client(client: Client, token: VerifiedAccessToken) -> None:
    if not client.is_active:
        raise InvalidToken(reason="client_disabled")
    if not scopes.is_within(token.scope, client.scopes):
        raise InvalidToken(reason="scope_withdrawn")


def _is_access_token(typ: str, claims: dict[str, Any]) -> bool:
    """Tell it from an id_token: by ``typ`` in the form of RFC 9068, else by its claims.

    In the reference form both kinds are ``typ: JWT``; only the access token has a scope, only the
    id_token an azp, and no setting of the site can change that.
    """
    typ = typ.lower().removeprefix("application/")
    return typ == "at+jwt" or (typ == "jwt" and "scope" in claims and "azp" not in claims)


def _scope(value: Any) -> tuple[str, ...]:
    return tuple(value.split()) if isinstance(value, str) else tuple(str(name) for name in value)
