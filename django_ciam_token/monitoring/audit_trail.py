"""The audit trail: records what the signals report, if the site wants it.

It listens to the signals like any receiver of a host site, so the grant knows nothing about it. An event is
written after the change that it describes was committed. If the trail can't be written, requests are still
answered.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from django.db import transaction
from django.dispatch import Signal

from django_ciam_token import signals
from django_ciam_token.caller import NOBODY, Caller
from django_ciam_token.conf import ciam_settings
from django_ciam_token.database.forks import after_fork
from django_ciam_token.database.retry import UNAVAILABLE, mend
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import Client, EventType, RefreshToken, SecurityEvent
from django_ciam_token.monitoring.refresh_counter import count_refresh

_SESSIONS_REMEMBERED: Final = 10_000
# For each session, the generation whose replay was recorded last; the most recent sessions are at the end.
_replays: Final[OrderedDict[uuid.UUID, int]] = OrderedDict()
_lock = threading.Lock()


def connect() -> None:
    """Listen to every signal that is an event. An ordinary refresh is not one: it is only counted."""
    receivers: dict[Signal, Callable[..., None]] = {
        signals.tokens_issued: _issued,
        signals.tokens_refreshed: count_refresh,
        signals.tokens_replayed: _replayed,
        signals.reuse_detected: _reused,
        signals.sessions_revoked: _sessions_revoked,
        signals.access_token_revoked: _access_token_revoked,
        signals.client_authentication_failed: _client_authentication_failed,
        signals.signing_key_rotated: _key_rotated,
        signals.client_secret_rotated: _secret_rotated,
    }
    for signal, receiver in receivers.items():
        signal.connect(receiver, dispatch_uid="django_ciam_token.monitoring.audit_trail")


def _forget() -> None:
    global _lock
    # After a fork a thread that does not exist here may hold the parent's.
    _lock = threading.Lock()
    _replays.clear()


after_fork(_forget)


def record(*events: SecurityEvent) -> None:
    """Add rows, if the setting ``AUDIT_TRAIL`` is on."""
    if ciam_settings.AUDIT_TRAIL:
        using = write_database(SecurityEvent)
        # If the database of the trail has a transaction open, a failure here must not break that transaction.
        try:
            with transaction.atomic(using=using):
                SecurityEvent.objects.using(using).bulk_create(events, batch_size=1_000)
        except UNAVAILABLE:
            # The sender of the signal logs this error. It must not affect the statements that follow.
            mend(using)
            raise


def event_of(
    event: EventType,
    *,
    session: RefreshToken | None = None,
    session_id: uuid.UUID | None = None,
    client: Client | None = None,
    client_id: str = "",
    user_id: Any = None,
    reason: str = "",
    actor: str = "",
    caller: Caller = NOBODY,
) -> SecurityEvent:
    """Return a row that is not saved yet; a session supplies its user, and its client unless one is given."""
    if session is not None:
        session_id, user_id, client = session.pk, session.user_id, client or session.client
    return SecurityEvent(
        event=event,
        client_id=client.client_id if client is not None else client_id,
        user_id="" if user_id is None else str(user_id)[:64],
        session_id=session_id,
        reason=reason[:64],
        actor=str(actor)[:150],
        address=caller.address,
    )


def _issued(*, session: RefreshToken | None, client: Client, user: Any, caller: Caller, **_: Any) -> None:
    user_id = None if user is None else user.pk
    record(event_of(EventType.ISSUED, session=session, client=client, user_id=user_id, caller=caller))


def _replayed(*, session: RefreshToken, client: Client, caller: Caller, **_: Any) -> None:
    if _is_first_replay(session):
        record(event_of(EventType.REPLAYED, session=session, client=client, caller=caller))


def _is_first_replay(session: RefreshToken) -> bool:
    """Tell whether this process has not yet recorded a replay of this generation.

    One row says as much as many. If each replay were recorded, anyone who has a token could fill the table.
    """
    with _lock:
        known = _replays.pop(session.pk, None)
        _replays[session.pk] = session.generation
        if len(_replays) > _SESSIONS_REMEMBERED:
            _replays.popitem(last=False)
    return known != session.generation


def _reused(*, session: RefreshToken, client: Client, caller: Caller, **_: Any) -> None:
    record(event_of(EventType.REUSE_DETECTED, session=session, client=client, caller=caller))


def _sessions_revoked(
    *, sessions: list[RefreshToken], reason: str, actor: str, caller: Caller, **_: Any
) -> None:
    record(
        *(
            event_of(EventType.REVOKED, session=session, reason=reason, actor=actor, caller=caller)
            for session in sessions
        )
    )


def _access_token_revoked(*, session_id: uuid.UUID | None, client: Client, caller: Caller, **_: Any) -> None:
    reason = "access_token"
    record(event_of(EventType.REVOKED, session_id=session_id, client=client, reason=reason, caller=caller))


def _client_authentication_failed(*, client_id: str | None, reason: str, caller: Caller, **_: Any) -> None:
    event = EventType.CLIENT_AUTHENTICATION_FAILED
    record(event_of(event, client_id=client_id or "", reason=reason, caller=caller))


def _key_rotated(*, kid: str, actor: str, caller: Caller, **_: Any) -> None:
    record(event_of(EventType.KEY_ROTATED, reason=kid, actor=actor, caller=caller))


def _secret_rotated(*, client: Client, actor: str, caller: Caller, **_: Any) -> None:
    record(event_of(EventType.SECRET_ROTATED, client=client, actor=actor, caller=caller))
