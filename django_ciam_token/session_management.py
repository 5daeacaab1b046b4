"""Many sessions at once: what there is of a user or a client, and ending it.

A refresh is ever under way somewhere, so every UPDATE repeats the conditions that its rows were chosen by.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connections, transaction
from django.db.models import DateTimeField, ExpressionWrapper, Prefetch, Q, QuerySet
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from django_ciam_token import access_tokens, keyring, signals, token_string
from django_ciam_token.callers import NOBODY, Caller
from django_ciam_token.models import Client, RefreshToken, RevocationReason, SessionState
from django_ciam_token.reading import since_rotation
from django_ciam_token.sessions import database
from django_ciam_token.transactions import DatabaseNow, retry

logger = logging.getLogger("django_ciam_token")

BATCH_SIZE: Final = 10_000
_IDS_LOGGED: Final = 200
_LISTED_AT_ONCE: Final = 1_000
# Parameters of a statement beside the ids; SQLite limits their number.
_OTHER_PARAMETERS: Final = 50
# A refresh that was let in just before its session expired, or on a host whose clock is behind, is about
# to extend it; whoever ends all sessions means that one as well, and its access tokens.
_REFRESH_UNDER_WAY: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class SessionInfo:
    """What users and operators may see of a session."""

    session_id: uuid.UUID
    client_id: str
    client_name: str
    user: str | None
    """A user name; None for a machine."""
    scope: tuple[str, ...]
    started_at: datetime
    last_refreshed_at: datetime | None
    expires_at: datetime
    """The end if it is not refreshed again."""
    address: str | None
    user_agent: str

    @classmethod
    def of(cls, session: RefreshToken, *, since_rotation: timedelta | None, now: datetime) -> SessionInfo:
        """Take it from a row, and from how long ago it was refreshed by the database's clock."""
        return cls(
            session_id=session.pk,
            client_id=session.client.client_id,
            client_name=session.client.name,
            user=None if session.user is None else session.user.get_username(),
            scope=session.scopes,
            started_at=session.issued_at,
            last_refreshed_at=None if since_rotation is None else now - since_rotation,
            expires_at=session.end(session.client),
            address=session.last_address,
            user_agent=session.last_user_agent,
        )


def select_sessions(
    *,
    user: AbstractBaseUser | None = None,
    client: Client | None = None,
    session_id: uuid.UUID | None = None,
    except_session: uuid.UUID | None = None,
    issued_before: datetime | None = None,
    idle_since: datetime | None = None,
    expired_lately: bool = False,
) -> QuerySet[RefreshToken]:
    """Return the live sessions that meet every criterion given; all live sessions without any.

    Live is what is neither revoked nor expired. The next refresh may still be refused for another cause,
    such as a disabled user.

    Args:
        user: whose they are.
        client: whom they were issued to.
        session_id: the one with this id.
        except_session: not the one with this id.
        issued_before: begun before then.
        idle_since: neither begun nor refreshed since then.
        expired_lately: also those that expired so lately that `revoke_sessions` would end them as well.

    Raises:
        TemporarilyUnavailable: the database refused to say what is lately.
    """
    now = timezone.now()
    ended_before = _too_long_ago(now) if expired_lately else now
    sessions = RefreshToken.objects.using(database()).filter(_live_at(ended_before))
    criteria = _criteria(
        user=user,
        client=client,
        session_id=session_id,
        except_session=except_session,
        issued_before=issued_before,
        idle_since=idle_since,
    )
    return sessions.filter(*criteria)


def list_sessions(
    *, user: AbstractBaseUser | None = None, client: Client | None = None, limit: int = 100
) -> list[SessionInfo]:
    """Return the live sessions of a user, of a client or of all, newest first.

    Args:
        user: whose they are.
        client: whom they were issued to.
        limit: how many at most.

    Raises:
        TemporarilyUnavailable: the database refused.
    """
    # The key ascends with time; an order by any column would have to sort all sessions of a client.
    live = select_sessions(user=user, client=client).select_related("client", "user")
    rest = live.annotate(since_rotation=since_rotation()).order_by("-pk")
    listed: list[SessionInfo] = []
    size = limit
    while True:
        rows, now = retry(partial(list[Any], rest[:size]), using=database()), timezone.now()
        listed += [
            SessionInfo.of(session, since_rotation=session.since_rotation, now=now)
            for session in rows
            # What the database can't tell: SESSION_LIFETIME may have been shortened since the last refresh.
            if session.state(now) is SessionState.LIVE
        ]
        if len(rows) < size or len(listed) >= limit:
            return listed[:limit]
        rest, size = rest.filter(pk__lt=rows[-1].pk), max(limit, _LISTED_AT_ONCE)


@sensitive_variables()
def session_of_token(token: str) -> uuid.UUID | None:
    """Return the id of the session that a token was issued in, without judging whether either is live.

    Args:
        token: a refresh token, however old, or an access token.

    Returns:
        None if it is an access token that belongs to no session.

    Raises:
        InvalidToken: it is neither, or not of this service.
        TemporarilyUnavailable: the signing keys can't be read.
    """
    try:
        return token_string.authenticate(token, keyring.token_keys()).family
    except token_string.NotGenuine:
        return access_tokens.verify(token, now=timezone.now()).session_id


def revoke_sessions(
    sessions: QuerySet[RefreshToken] | None = None,
    *,
    reason: RevocationReason,
    user: AbstractBaseUser | None = None,
    client: Client | None = None,
    session_id: uuid.UUID | None = None,
    except_session: uuid.UUID | None = None,
    issued_before: datetime | None = None,
    idle_since: datetime | None = None,
    everything: bool = False,
    actor: str = "",
    caller: Caller = NOBODY,
    batch_size: int = BATCH_SIZE,
    max_seconds: float | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """End for good the live sessions that meet every criterion given; return how many this call ended.

    So lately expired ones that an access token of theirs may still be good are ended and counted as well.

    Each batch is a short transaction of its own: after an error the batches before it stay done, and the
    same call again ends the rest. Within a transaction of the caller they are all part of that one.

    Args:
        sessions: where to choose from; all if None.
        reason: why, for users and operators.
        user: whose they are.
        client: whom they were issued to.
        session_id: the one with this id.
        except_session: not the one with this id, so that a user can sign out all other devices.
        issued_before: begun before then.
        idle_since: neither begun nor refreshed since then.
        everything: end all sessions there are; must be said, lest a user who is None ended them.
        actor: who did it, if it was a person: a user name.
        caller: from where the request came.
        batch_size: how many are ended in one transaction.
        max_seconds: stop after the batch that takes it past this; the same call again ends the rest.
        on_progress: called after each batch with the number ended so far.

    Raises:
        ValueError: there is no criterion and ``everything`` was not asked for, or the batch is empty.
        TemporarilyUnavailable: the database refused; earlier batches are done.
    """
    is_narrowed = sessions is not None or any(
        value is not None for value in (user, client, session_id, issued_before, idle_since)
    )
    if not is_narrowed and not everything:
        raise ValueError("Say which sessions to end, or everything=True.")
    # What is logged is enough to do the same again, should a failover undo it.
    given = {
        "user": None if user is None else user.get_username(),
        "client_id": None if client is None else client.client_id,
        "session_id": session_id,
        "except_session": except_session,
        "issued_before": issued_before,
        "idle_since": idle_since,
        "everything": everything or None,
    }
    which = {name: str(value) for name, value in given.items() if value is not None}
    using = database()
    chosen = RefreshToken.objects.all() if sessions is None else sessions
    ended_before = _too_long_ago(timezone.now())

    def select() -> QuerySet[RefreshToken]:
        # Anew for each statement: what time it was on the database's clock is said as an age.
        criteria = _criteria(
            user=user,
            client=client,
            session_id=session_id,
            except_session=except_session,
            issued_before=issued_before,
            idle_since=idle_since,
        )
        return chosen.using(using).filter(_live_at(ended_before), *criteria)

    until = None if max_seconds is None else time.monotonic() + max_seconds
    ended, last = 0, None
    # What was chosen otherwise is logged by its ids, as many as fit a line.
    size = fitting_batch_size(batch_size if sessions is None else min(batch_size, _IDS_LOGGED), using=using)
    while True:
        # Not the whole range between two keys: it may be millions of rows for one that is chosen.
        batch = retry(partial(_first_keys, select, size, after=last), using=using)
        if batch:
            ids = {} if sessions is None else {"session_ids": [str(key) for key in batch]}
            ended += _revoke_batch(
                select, batch, reason=reason, actor=actor, caller=caller, log_fields={**which, **ids}
            )
            if on_progress is not None:
                on_progress(ended)
        if len(batch) < size or (until is not None and time.monotonic() >= until):
            return ended
        last = batch[-1]


def _first_keys(
    select: Callable[[], QuerySet[RefreshToken]], number: int, *, after: uuid.UUID | None
) -> list[uuid.UUID]:
    rest = select() if after is None else select().filter(pk__gt=after)
    return list(rest.order_by("pk").values_list("pk", flat=True)[:number])


def _revoke_batch(
    select: Callable[[], QuerySet[RefreshToken]],
    batch: list[uuid.UUID],
    *,
    reason: RevocationReason,
    actor: str,
    caller: Caller,
    log_fields: Mapping[str, str | list[str]],
) -> int:
    """End those of a batch that are still live, and tell who listens of each."""
    using = database()
    now = timezone.now()
    is_heard = signals.is_revocation_heard(RefreshToken)
    ours = {"revoked_at": now, "revoked_reason": reason}
    attempts = 0

    def write() -> tuple[int, list[RefreshToken]]:
        nonlocal attempts
        attempts += 1
        with transaction.atomic(using=using):
            ended = select().order_by().filter(pk__in=batch).update(**ours)
            if attempts == 1 and not is_heard:
                return ended, []
            # The instant tells which rows are ours and not those of another revocation, also after a
            # COMMIT whose outcome is unknown: they count and are told of once.
            rows = RefreshToken.objects.using(using).filter(pk__in=batch, **ours)
            # From here, not from a replica that the router may name for reading.
            users = get_user_model()._base_manager.using(using)
            clients = Client.objects.using(using)
            told = list(rows.prefetch_related(Prefetch("client", clients), Prefetch("user", users)))
        return len(told), told

    ended, told = retry(write, using=using)
    if ended:
        fields = {"reason": str(reason), "actor": actor, "sessions": ended, **log_fields}
        logger.info("%d sessions revoked: %s", ended, reason, extra={"event": "revoked", **fields})
    signals.send_revoked(
        told, sender=RefreshToken, using=using, reason=str(reason), actor=actor, caller=caller
    )
    return ended


def fitting_batch_size(wanted: int, *, using: str) -> int:
    """Return a batch size of which the database takes all ids in one statement.

    Raises:
        ValueError: less than one is wanted.
    """
    if wanted < 1:
        raise ValueError("A batch has at least one row.")
    most = connections[using].features.max_query_params
    return wanted if most is None else min(wanted, most - _OTHER_PARAMETERS)


def _too_long_ago(now: datetime) -> datetime:
    """Return when what ended before has no access token left that is good."""
    return now - access_tokens.longest_lifetime() - _REFRESH_UNDER_WAY


def _live_at(now: datetime) -> Q:
    return Q(revoked_at=None, expires_at__gt=now)


def _not_refreshed_since(instant: datetime | None) -> Q:
    """Compare by the database's clock alone, which ``rotated_at`` was written by."""
    if instant is None:
        return Q()
    then = ExpressionWrapper(DatabaseNow() - (timezone.now() - instant), output_field=DateTimeField())
    return Q(rotated_at__lt=then)


def _criteria(
    *,
    user: AbstractBaseUser | None,
    client: Client | None,
    session_id: uuid.UUID | None,
    except_session: uuid.UUID | None,
    issued_before: datetime | None,
    idle_since: datetime | None,
) -> list[Q]:
    never_refreshed = Q(rotated_at=None, issued_at__lt=idle_since)
    given = [
        (user, Q(user=user)),
        (client, Q(client=client)),
        (session_id, Q(pk=session_id)),
        (except_session, ~Q(pk=except_session)),
        (issued_before, Q(issued_at__lt=issued_before)),
        (idle_since, _not_refreshed_since(idle_since) | never_refreshed),
    ]
    return [condition for value, condition in given if value is not None]
