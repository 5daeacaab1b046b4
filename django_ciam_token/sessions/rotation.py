"""Rotating a session: prepared without the database, carried out by one conditional UPDATE."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from django.db import transaction

from django_ciam_token.caller import Caller
from django_ciam_token.crypto import refresh_token_string
from django_ciam_token.crypto.refresh_token_string import GenuineToken, TokenKey
from django_ciam_token.database.clock import DatabaseNow
from django_ciam_token.database.retry import best_effort
from django_ciam_token.models import Client, RefreshToken
from django_ciam_token.sessions.auth_hash import session_auth_hash
from django_ciam_token.sessions.creation import next_expiry
from django_ciam_token.sessions.rows import rotate_row

# Seconds. Longer waits are worth a statement, so that the grace period begins when the rotation has happened.
_PATIENCE: Final = 1.0


@dataclass(frozen=True)
class Rotation:
    """A rotation that was prepared: repeating it with the same nonce leads to the same row."""

    nonce: bytes = field(repr=False)
    successor: GenuineToken


def prepare_rotation(presented: GenuineToken, *, key: TokenKey) -> Rotation:
    """Draw the nonce of a rotation and compute the successor."""
    nonce = refresh_token_string.new_nonce()
    return Rotation(nonce=nonce, successor=refresh_token_string.successor(presented, nonce=nonce, key=key))


def rotate(
    session: RefreshToken,
    rotation: Rotation,
    *,
    client: Client,
    caller: Caller,
    now: datetime,
    using: str,
    record: Callable[[], object] | None = None,
) -> bool:
    """Carry out a rotation; False if another request rotated or revoked the session in between.

    ``record`` is called at the end of the transaction, and what it writes shares the fate of the rotation.
    """
    changes: dict[str, Any] = {
        "generation": rotation.successor.generation,
        "secret_digest": refresh_token_string.digest(rotation.successor.secret),
        "nonce": rotation.nonce,
        # Anew, so that a session outlives the secret, or the format, that its old hash was made with.
        "session_auth_hash": session_auth_hash(session.user),
        "expires_at": next_expiry(client, issued_at=session.issued_at, now=now),
        "last_address": caller.address,
        "last_user_agent": caller.user_agent,
    }
    patience = _patience_for(client)
    begun_at = time.monotonic()
    with transaction.atomic(using=using):
        if not rotate_row(
            using,
            session_id=session.pk,
            expected=session.generation,
            judged_auth_hash=session.session_auth_hash,
            **changes,
        ):
            return False
        if time.monotonic() - begun_at > patience:
            # It waited for a lock, and the database reads its clock when a statement begins.
            _restart_grace_period(session, rotation.successor.generation, using=using)
        written_at = time.monotonic()
        if record is not None:
            record()
    # What signals hand to the site is the session as it is now.
    for name, value in {**changes, "rotated_at": now}.items():
        setattr(session, name, value)
    if time.monotonic() - written_at > patience:
        renew_grace_period(session, using=using)
    return True


def _patience_for(client: Client) -> float:
    """Return how many seconds of a client's grace period may pass while its rotation is written."""
    grace_period = client.effective_grace_period
    return min(_PATIENCE, grace_period.total_seconds() / 10) if grace_period else math.inf


def renew_grace_period(session: RefreshToken, *, using: str) -> None:
    """Let the grace period of a session's last rotation begin now: the client could not be answered earlier.

    Does nothing if the session was rotated or revoked since. If the database refuses, that is logged, and the
    rotation is answered all the same.
    """
    message = "Session %s: its grace period could not be renewed: %s"
    event, session_id = "grace_period_not_renewed", str(session.pk)
    restart = partial(_restart_grace_period, session, session.generation, using=using)
    best_effort(restart, message, session.pk, using=using, event=event, session_id=session_id)


def _restart_grace_period(session: RefreshToken, generation: int, *, using: str) -> None:
    row = RefreshToken.objects.using(using).filter(pk=session.pk, generation=generation, revoked_at=None)
    row.update(rotated_at=DatabaseNow())


def has_rotated(session: RefreshToken, rotation: Rotation) -> bool:
    """Tell whether the row is as this very rotation left it: its COMMIT succeeded after all."""
    return bytes(session.nonce) == rotation.nonce
