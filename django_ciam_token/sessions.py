"""Sessions: begun once, rotated again and again, revoked at last.

Every write is one statement that names the state it expects, so that no other request can slip in
between a check and a write.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, cast

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import router, transaction
from django.db.models import QuerySet
from django.utils.crypto import constant_time_compare

from django_ciam_token import keyring, scopes, signals, token_string
from django_ciam_token.callers import NOBODY, Caller
from django_ciam_token.conf import ciam_settings
from django_ciam_token.errors import InvalidGrant
from django_ciam_token.models import Client, RefreshToken, RevocationReason
from django_ciam_token.reading import Reading, read_session
from django_ciam_token.statements import Slot, Update
from django_ciam_token.token_string import GenuineToken, TokenKey
from django_ciam_token.transactions import DatabaseNow, LostRace, retry

logger = logging.getLogger("django_ciam_token")


# How often to look for what a genuine token proves to exist.
READINGS_OF_A_LAGGING_NODE: Final = 3


class Verdict(Enum):
    """What to do with a genuine token of a live session."""

    ROTATE = "rotate"
    REPLAY = "replay"
    """The immediate predecessor, within the grace period: the answer was lost or two asked at once."""
    REUSE = "reuse"
    """Superseded: the client or a thief holds a copy (RFC 9700 §4.14.2)."""


@dataclass(frozen=True)
class Rotation:
    """A rotation that was prepared: repeating it with the same nonce leads to the same row."""

    nonce: bytes = field(repr=False)
    successor: GenuineToken
    session_auth_hash: str = field(repr=False)


def database() -> str:
    """Return the alias of the database that sessions are written to.

    Reads of the grant go there as well: a replica that lags behind would show a superseded generation.
    """
    return router.db_for_write(RefreshToken)


def new_session(
    *,
    client: Client,
    user: AbstractBaseUser | None,
    scope: tuple[str, ...],
    auth_time: datetime | None,
    caller: Caller,
    now: datetime,
) -> tuple[RefreshToken, str]:
    """Make a new session, not yet saved, and its first refresh token."""
    secret = token_string.new_secret()
    session = RefreshToken(
        client=client,
        user=cast("Any", user),
        scope=" ".join(scope),
        secret_digest=token_string.digest(secret),
        nonce=token_string.new_nonce(),
        session_auth_hash=session_auth_hash(user),
        auth_time=auth_time,
        issued_at=now,
        expires_at=_expiry(client, issued_at=now, now=now),
        last_address=caller.address,
        last_user_agent=caller.user_agent,
    )
    first = GenuineToken(family=session.pk, generation=session.generation, secret=secret)
    return session, token_string.encode(first, keyring.token_keys()[0])


def save_new(session: RefreshToken) -> None:
    """Insert a new session.

    A caller that rolls back a transaction around it has no session and must not hand out the token.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    using = database()
    attempts = 0

    def write() -> None:
        nonlocal attempts
        attempts += 1
        # After a COMMIT whose outcome is unknown the row may be there already, and can only be ours.
        if attempts > 1 and RefreshToken.objects.using(using).filter(pk=session.pk).exists():
            return
        with transaction.atomic(using=using):
            session.save(using=using, force_insert=True)

    retry(write, using=using)


def find(family: uuid.UUID) -> RefreshToken | None:
    """Read the session of a genuine token; None if it is gone.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    reading = find_reading(family)
    return None if reading is None else reading.session


def find_reading(family: uuid.UUID) -> Reading | None:
    """Read the session of a genuine token, more than once if it is not there.

    In a multi-primary cluster a session of a moment ago may not have reached the node that is asked.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    using = database()
    readings = 0

    def attempt() -> Reading | None:
        nonlocal readings
        readings += 1
        reading = read_session(family, using=using)
        if reading is None and readings < READINGS_OF_A_LAGGING_NODE:
            raise LostRace
        return reading

    return retry(attempt, using=using)


def judge(reading: Reading, presented: GenuineToken, *, client: Client, now: datetime) -> Verdict:
    """Decide about a genuine token; pure, so that every case can be tested without a database.

    Raises:
        InvalidGrant: it is refused and nothing is to be done about it.
    """
    session = reading.session
    # Presented by the wrong client it is refused, but must not burn the owner's session.
    if session.client_id != client.pk:
        raise InvalidGrant(reason="wrong_client", is_attempt=True)
    require_user_unchanged(session)
    _require_live(session, client=client, now=now)
    verdict = _judge_generation(reading, presented, grace_period=client.effective_grace_period)
    if verdict is not Verdict.REUSE and not scopes.is_within(session.scopes, client.scopes):
        raise InvalidGrant(reason="scope_withdrawn")
    return verdict


def prepare_rotation(session: RefreshToken, presented: GenuineToken, *, key: TokenKey) -> Rotation:
    """Draw the nonce of a rotation and compute the successor."""
    nonce = token_string.new_nonce()
    return Rotation(
        nonce=nonce,
        successor=token_string.successor(presented, nonce=nonce, key=key),
        # Anew, so that a session outlives the secret that its old hash was made with.
        session_auth_hash=session_auth_hash(session.user),
    )


def rotate(
    session: RefreshToken, rotation: Rotation, *, client: Client, caller: Caller, now: datetime, using: str
) -> bool:
    """Carry out a rotation; False if another request rotated or revoked the session in between."""
    changes: dict[str, Any] = {
        "generation": rotation.successor.generation,
        "secret_digest": token_string.digest(rotation.successor.secret),
        "nonce": rotation.nonce,
        "session_auth_hash": rotation.session_auth_hash,
        "expires_at": _expiry(client, issued_at=session.issued_at, now=now),
        "last_address": caller.address,
        "last_user_agent": caller.user_agent,
    }
    with transaction.atomic(using=using):
        rotated = _ROTATE.run(using, session_id=session.pk, expected=session.generation, **changes) == 1
    if rotated:
        # What signals hand to the site is the session as it is now.
        for name, value in {**changes, "rotated_at": now}.items():
            setattr(session, name, value)
    return rotated


def has_rotated(session: RefreshToken, rotation: Rotation) -> bool:
    """Tell whether the row is as this very rotation left it: its COMMIT succeeded after all."""
    return bytes(session.nonce) == rotation.nonce


def successor_again(session: RefreshToken, presented: GenuineToken) -> str | None:
    """Return the current token as the winner of the race got it, recomputed from its predecessor.

    None if it can't be: the presented secret was never this session's.
    """
    for key in keyring.token_keys():
        candidate = token_string.successor(presented, nonce=bytes(session.nonce), key=key)
        if token_string.matches(candidate.secret, bytes(session.secret_digest)):
            return token_string.encode(candidate, key)
    return None


def revoke(
    session: RefreshToken,
    *,
    reason: RevocationReason,
    now: datetime,
    actor: str = "",
    caller: Caller = NOBODY,
) -> bool:
    """End a session for good; False if it had been ended already.

    Args:
        session: the session.
        reason: why, for users and operators.
        now: the present.
        actor: who did it, if it was a person: a user name.
        caller: from where the request came.

    Raises:
        TemporarilyUnavailable: the database refused; the session may still be live.
    """
    using = database()
    row = RefreshToken.objects.using(using).filter(pk=session.pk)
    ours = {"revoked_at": now, "revoked_reason": reason}
    attempts = 0

    def write() -> bool:
        nonlocal attempts
        attempts += 1
        with transaction.atomic(using=using):
            if row.filter(revoked_at=None).update(**ours) == 1:
                return True
        # After a COMMIT whose outcome is unknown: was it this very revocation? It must be told of once.
        return attempts > 1 and row.filter(**ours).exists()

    revoked = retry(write, using=using)
    if revoked:
        session.revoked_at, session.revoked_reason = now, reason
        fields = {"session_id": str(session.pk), "reason": str(reason), "actor": actor}
        logger.info("Session %s revoked: %s", session.pk, reason, extra={"event": "revoked", **fields})
        signals.send_revoked(
            [session], sender=RefreshToken, using=using, reason=str(reason), actor=actor, caller=caller
        )
    return revoked


def session_auth_hash(user: AbstractBaseUser | None) -> str:
    """Return what changes when the user's password does; empty for a user model that has no such thing."""
    hash_of = getattr(user, "get_session_auth_hash", None)
    return "" if hash_of is None else _digest_of_hash(hash_of())


def require_user_active(session: RefreshToken) -> None:
    """Check that the session's user, if it has one, is there and active.

    Raises:
        InvalidGrant: it is not so.
    """
    user = session.user
    if session.user_id is None:
        return
    # Without foreign keys in the database (MyISAM, raw SQL) a deleted user leaves the row behind; that
    # must not turn a user's session into a machine's.
    if user is None:
        raise InvalidGrant(reason="user_deleted")
    if not getattr(user, "is_active", True):
        raise InvalidGrant(reason="user_disabled")


def require_user_unchanged(session: RefreshToken) -> None:
    """Check that the session's user, if it has one, is active and has the password of when it began.

    Raises:
        InvalidGrant: it is not so.
    """
    require_user_active(session)
    user = session.user
    if user is None or not ciam_settings.END_SESSIONS_ON_PASSWORD_CHANGE:
        return
    if constant_time_compare(session.session_auth_hash, session_auth_hash(user)):
        return
    # As django.contrib.auth does for its own sessions: SECRET_KEY is part of the hash.
    if hasattr(user, "get_session_auth_fallback_hash"):
        for older in user.get_session_auth_fallback_hash():
            if constant_time_compare(session.session_auth_hash, _digest_of_hash(older)):
                return
    raise InvalidGrant(reason="password_changed")


def _digest_of_hash(auth_hash: str) -> str:
    """Make what a user model returns fit the column, however long it is."""
    return hashlib.sha256(auth_hash.encode()).hexdigest()


def _require_live(session: RefreshToken, *, client: Client, now: datetime) -> None:
    if session.revoked_at is not None:
        raise InvalidGrant(reason="revoked")
    if session.end(client) <= now:
        raise InvalidGrant(reason="expired")


def _judge_generation(reading: Reading, presented: GenuineToken, *, grace_period: timedelta) -> Verdict:
    session = reading.session
    if presented.generation < session.generation - 1:
        return Verdict.REUSE
    if presented.generation == session.generation - 1 and successor_again(session, presented):
        # A clock that was set back makes an age negative: near zero it is as good as its opposite.
        since = reading.since_rotation
        return Verdict.REPLAY if since is not None and abs(since) < grace_period else Verdict.REUSE
    if presented.generation != session.generation or not token_string.matches(
        presented.secret, bytes(session.secret_digest)
    ):
        # Signed with our key but unknown to our database: a restored backup, or a stolen SECRET_KEY.
        logger.error(
            "Session %s: a refresh token that this database never issued. Was a backup restored, or "
            "a secret stolen?",
            session.pk,
            extra={"event": "refresh_token_not_issued_here", "session_id": str(session.pk)},
        )
        raise InvalidGrant(reason="never_issued", is_attempt=True)
    if session.generation >= token_string.LAST_GENERATION:
        raise InvalidGrant(reason="expired")
    return Verdict.ROTATE


def _expiry(client: Client, *, issued_at: datetime, now: datetime) -> datetime:
    """Return when a session ends that is used now and then never again."""
    idle = now + client.effective_refresh_token_lifetime
    lifetime = client.effective_session_lifetime
    return idle if lifetime is None else min(idle, issued_at + lifetime)


def _rows_to_rotate() -> tuple[QuerySet[Any], dict[str, Any]]:
    field = RefreshToken._meta.get_field
    rows = RefreshToken.objects.filter(
        pk=Slot("session_id", RefreshToken._meta.pk),
        generation=Slot("expected", field("generation")),
        revoked_at=None,
    )
    # None of these may be part of an index.
    converted = {name: Slot(name, field(name)) for name in ("generation", "expires_at")}
    as_they_are = {name: Slot(name) for name in _OF_THE_DRIVER}
    return rows, {"rotated_at": DatabaseNow(), **converted, **as_they_are}


# Strings and bytes, the address parsed by `Caller`: their fields would only look at them again.
_OF_THE_DRIVER: Final = ("secret_digest", "nonce", "session_auth_hash", "last_address", "last_user_agent")
_ROTATE: Final = Update(_rows_to_rotate)
