"""The audit trail: records what the signals report, if the site wants it.

It listens to the signals like any receiver of a host site, so the grant knows nothing about it. An event is
written after the change that it describes was committed. If the trail can't be written, requests are still
answered.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from django.dispatch import Signal

from django_ciam_token import signals
from django_ciam_token.caller import NOBODY, Caller
from django_ciam_token.conf import ciam_settings
from django_ciam_token.database.forks import after_fork
from django_ciam_token.database.routing import write_database
from django_ciam_token.database.tenants import tenant_key
from django_ciam_token.models import Client, EventType, RefreshToken, SecurityEvent
from django_ciam_token.monitoring import refusals
from django_ciam_token.monitoring.allowance import Allowance
from django_ciam_token.monitoring.event_writer import EventWriter
from django_ciam_token.monitoring.refresh_counter import count_refresh

logger = logging.getLogger("django_ciam_token")

# The trail is kept for years, and some events can be caused by anyone. What is over these limits is only
# logged. They are kept in the process, because the cache may be unavailable.
_failures: Final = Allowance(at_once=300, every=6.0)
# For each session: its holder can replay a token, or get and revoke as many access tokens as they like.
_of_session: Final = Allowance(at_once=20, every=180.0)
_left_out_is_logged: Final = Allowance(at_once=1, every=60.0)
writer: Final = EventWriter()


class _Replays(NamedTuple):
    """The replays of a session that were recorded."""

    generation: int
    networks: frozenset[str]


_SESSIONS_REMEMBERED: Final = 10_000
_NETWORKS_REMEMBERED: Final = 20
# The most recent sessions are at the end.
_replays: Final[OrderedDict[uuid.UUID, _Replays]] = OrderedDict()
_lock = threading.Lock()


def connect() -> None:
    """Listen to every signal that is an event. An ordinary refresh is not one: it is only counted."""
    receivers: dict[Signal, Callable[..., None]] = {
        signals.tokens_issued: _issued,
        signals.tokens_refreshed: _refreshed,
        signals.tokens_replayed: _replayed,
        signals.reuse_detected: _reused,
        signals.refresh_refused: refusals.note_refusal,
        signals.sessions_revoked: _sessions_revoked,
        signals.access_token_revoked: _access_token_revoked,
        signals.client_authentication_failed: _client_authentication_failed,
        signals.signing_key_rotated: _key_rotated,
        signals.client_secret_rotated: _secret_rotated,
        signals.client_secret_retired: _secret_retired,
        signals.client_changed: _client_changed,
        signals.consent_given: _consent_given,
        signals.rows_exported: _rows_exported,
        signals.consent_withdrawn: _consent_withdrawn,
    }
    for signal, receiver in receivers.items():
        signal.connect(receiver, dispatch_uid="django_ciam_token.monitoring.audit_trail")


def forget() -> None:
    """Begin anew, as after a fork: what the parent remembers, it records itself."""
    global _lock
    # After a fork a thread that does not exist here may hold the parent's.
    _lock = threading.Lock()
    _replays.clear()
    for memory in (_failures, _of_session, _left_out_is_logged, writer):
        memory.forget()
    refusals.forget()


after_fork(forget)


def record(*events: SecurityEvent) -> None:
    """Add rows, if the setting ``AUDIT_TRAIL`` is on."""
    if ciam_settings.AUDIT_TRAIL:
        writer.add(events)


def record_issued_within(session: RefreshToken, *, client: Client, caller: Caller, using: str) -> None:
    """Record that first tokens were issued, at the end of the open transaction that begins the session.

    Raises:
        LostRace: as `EventWriter.join` does.
        DatabaseError: the same.
    """
    writer.join(event_of(EventType.ISSUED, session=session, client=client, caller=caller), using=using)


def may_record_within(using: str) -> bool:
    """Tell whether an event may be recorded within a transaction that is going to be opened on a database."""
    return bool(ciam_settings.AUDIT_TRAIL) and writer.may_join(using)


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
    detail: dict[str, Any] | None = None,
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
        user_agent=caller.user_agent,
        detail=detail,
    )


def _issued(
    *, session: RefreshToken | None, client: Client, user: Any, caller: Caller, is_recorded: bool, **_: Any
) -> None:
    # A machine asks again whenever its token has expired. Its requests write nothing; the log has them.
    is_for_itself = session is None and user is None
    if is_recorded or is_for_itself:
        return
    user_id = None if user is None else user.pk
    record(event_of(EventType.ISSUED, session=session, client=client, user_id=user_id, caller=caller))


def _refreshed(**_: Any) -> None:
    count_refresh()
    writer.write_kept()


def _replayed(*, session: RefreshToken, client: Client, caller: Caller, **_: Any) -> None:
    if _is_first_replay(session, caller.network) and _of_session.take(session.pk):
        record(event_of(EventType.REPLAYED, session=session, client=client, caller=caller))


def _is_first_replay(session: RefreshToken, network: str) -> bool:
    """Tell whether this process has not yet recorded a replay of this generation from this network.

    One row says as much as many. A replay from somewhere else may be a thief's, and is recorded as well.
    """
    with _lock:
        known = _replays.pop(session.pk, None)
        if known is None or known.generation != session.generation:
            known = _Replays(session.generation, frozenset())
        new = {network} if len(known.networks) < _NETWORKS_REMEMBERED else set()
        _replays[session.pk] = _Replays(session.generation, known.networks | new)
        if len(_replays) > _SESSIONS_REMEMBERED:
            _replays.popitem(last=False)
    return network not in known.networks


def _reused(*, session: RefreshToken, client: Client, caller: Caller, **_: Any) -> None:
    event = event_of(EventType.REUSE_DETECTED, session=session, client=client, caller=caller)
    # It is why the session ended, and is signalled after that.
    event.at = session.revoked_at or event.at
    record(event)


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
    # Without a session there is nothing to count by, and each such revocation is a row of its own anyway.
    if session_id is None or _of_session.take(session_id):
        reason = "access_token"
        record(
            event_of(EventType.REVOKED, session_id=session_id, client=client, reason=reason, caller=caller)
        )


def _client_authentication_failed(*, client_id: str | None, reason: str, caller: Caller, **_: Any) -> None:
    tenant = tenant_key(write_database(SecurityEvent))
    if _failures.take(tenant):
        event = EventType.CLIENT_AUTHENTICATION_FAILED
        record(event_of(event, client_id=client_id or "", reason=reason, caller=caller))
    elif _left_out_is_logged.take(tenant):
        logger.warning(
            "So many clients fail to authenticate that the audit trail does not get all of it",
            extra={"event": "failures_not_recorded"},
        )


def _key_rotated(*, kid: str, actor: str, caller: Caller, **_: Any) -> None:
    record(event_of(EventType.KEY_ROTATED, reason=kid, actor=actor, caller=caller))


def _secret_rotated(*, client: Client, actor: str, caller: Caller, **_: Any) -> None:
    record(event_of(EventType.SECRET_ROTATED, client=client, actor=actor, caller=caller))


def _rows_exported(*, model: str, query: str, actor: str, caller: Caller, **_: Any) -> None:
    # Not what was looked for: that may be a person, who could not be erased, or a secret in the wrong field.
    names = sorted({name for name, _value in parse_qsl(query, keep_blank_values=True)})
    reason = f"{model} by {', '.join(names)}" if names else model
    record(event_of(EventType.EXPORTED, reason=reason, actor=actor, caller=caller))


def _secret_retired(*, client: Client, last_four: str, actor: str, caller: Caller, **_: Any) -> None:
    event, reason = EventType.SECRET_RETIRED, f"…{last_four}"
    record(event_of(event, client=client, reason=reason, actor=actor, caller=caller))


def _client_changed(
    *, client: Client, action: str, changes: dict[str, Any], actor: str, caller: Caller, **_: Any
) -> None:
    # Of a change the list of events shows which fields, and the page of one also the values.
    reason = ", ".join(changes) if action == "changed" else action
    event = EventType.CLIENT_CHANGED
    record(event_of(event, client=client, reason=reason, actor=actor, caller=caller, detail=changes))


def _consent_withdrawn(
    *, client: Client, user: Any, scope: tuple[str, ...], actor: str, caller: Caller, **_: Any
) -> None:
    event, reason = EventType.CONSENT_WITHDRAWN, " ".join(scope)
    record(event_of(event, client=client, user_id=user.pk, reason=reason, actor=actor, caller=caller))


def _consent_given(*, client: Client, user: Any, scope: tuple[str, ...], caller: Caller, **_: Any) -> None:
    event, reason = EventType.CONSENT_GIVEN, " ".join(scope)
    record(event_of(event, client=client, user_id=user.pk, reason=reason, caller=caller))
