"""Ending sessions for good: one, or all that meet some criteria.

Some refresh is always in progress, so every UPDATE repeats the conditions by which its rows were chosen.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Prefetch, QuerySet
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.caller import NOBODY, Caller
from django_ciam_token.database.batches import fitting_batch_size
from django_ciam_token.database.retry import retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import Client, RefreshToken, RevocationReason
from django_ciam_token.sessions.criteria import SessionCriteria, live_sessions, oldest_relevant_end

logger = logging.getLogger("django_ciam_token")

BATCH_SIZE: Final = 10_000
_IDS_LOGGED: Final = 200


@dataclass(frozen=True)
class _Revocation:
    """Why sessions are ended and by whom; what the log, the signals and the rows say of it."""

    reason: RevocationReason
    actor: str
    caller: Caller

    def send(self, ended: list[RefreshToken], *, using: str) -> None:
        """Signal the sessions that were ended: each of them, and all at once."""
        reason = str(self.reason)
        signals.send_revoked(
            ended, sender=RefreshToken, using=using, reason=reason, actor=self.actor, caller=self.caller
        )


def revoke_session(
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
        caller: where the request came from.

    Raises:
        TemporarilyUnavailable: the database refused; the session may still be live.
    """
    using = write_database(RefreshToken)
    row = RefreshToken.objects.using(using).filter(pk=session.pk)
    ours = {"revoked_at": now, "revoked_reason": reason}

    def write(attempt: int) -> bool:
        with transaction.atomic(using=using):
            if row.filter(revoked_at=None).update(**ours) == 1:
                return True
        # After a COMMIT whose outcome is unknown: was it this very revocation? It must be reported once.
        return attempt > 1 and row.filter(**ours).exists()

    revoked = retry(write, using=using)
    if revoked:
        session.revoked_at, session.revoked_reason = now, reason
        fields = {"session_id": str(session.pk), "reason": str(reason), "actor": actor}
        logger.info("Session %s revoked: %s", session.pk, reason, extra={"event": "revoked", **fields})
        _Revocation(reason, actor, caller).send([session], using=using)
    return revoked


def revoke_sessions(
    criteria: SessionCriteria,
    *,
    reason: RevocationReason,
    everything: bool = False,
    actor: str = "",
    caller: Caller = NOBODY,
    batch_size: int = BATCH_SIZE,
    max_seconds: float | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """End for good the live sessions that meet every criterion given; return how many this call ended.

    Sessions that expired so recently that an access token of theirs may still be valid are ended and counted
    as well.

    Each batch is a short transaction of its own: after an error the batches before it stay done, and the
    same call again ends the rest. Within a transaction of the caller they are all part of that one.

    Args:
        criteria: which sessions.
        reason: why, for users and operators.
        everything: end all sessions there are; must be passed explicitly, so that ``user=None`` by mistake
            does not end them all.
        actor: who did it, if it was a person: a user name.
        caller: where the request came from.
        batch_size: how many are ended in one transaction.
        max_seconds: stop after the batch that takes it past this; the same call again ends the rest.
        on_progress: called after each batch with the number ended so far.

    Raises:
        ValueError: there is no criterion and ``everything`` was not asked for, or the batch is empty.
        TemporarilyUnavailable: the database refused; earlier batches are done.
    """
    if not criteria.is_narrow and not everything:
        raise ValueError("Say which sessions to end, or everything=True.")
    using = write_database(RefreshToken)
    revocation = _Revocation(reason, actor, caller)
    ended_before = oldest_relevant_end(timezone.now())

    def select() -> QuerySet[RefreshToken]:
        # Anew for each statement: the time by the database's clock is given as an age.
        return live_sessions(criteria, ended_before=ended_before)

    log_fields = criteria.described() | ({"everything": "True"} if everything else {})
    # What a query of the caller's own chose is logged by the ids, as many as fit a line.
    by_id = criteria.among is not None
    size = fitting_batch_size(min(batch_size, _IDS_LOGGED) if by_id else batch_size, using=using)
    until = None if max_seconds is None else time.monotonic() + max_seconds
    ended, last = 0, None
    while True:
        # Not the whole range between two keys: it may be millions of rows for one that is chosen.
        batch = _first_keys(select, size, after=last, using=using)
        if batch:
            ids = {"session_ids": [str(key) for key in batch]} if by_id else {}
            ended += _revoke_batch(select, batch, revocation, log_fields={**log_fields, **ids})
            if on_progress is not None:
                on_progress(ended)
        if len(batch) < size or (until is not None and time.monotonic() >= until):
            return ended
        last = batch[-1]


def _first_keys(
    select: Callable[[], QuerySet[RefreshToken]], number: int, *, after: uuid.UUID | None, using: str
) -> list[uuid.UUID]:
    def read(_: int) -> list[uuid.UUID]:
        rest = select() if after is None else select().filter(pk__gt=after)
        return list(rest.order_by("pk").values_list("pk", flat=True)[:number])

    return retry(read, using=using)


def _revoke_batch(
    select: Callable[[], QuerySet[RefreshToken]],
    batch: list[uuid.UUID],
    revocation: _Revocation,
    *,
    log_fields: Mapping[str, str | list[str]],
) -> int:
    """End those of a batch that are still live, and signal each; return how many."""
    using = write_database(RefreshToken)
    is_heard = signals.is_revocation_heard(RefreshToken)
    ours = {"revoked_at": timezone.now(), "revoked_reason": revocation.reason}

    def write(attempt: int) -> tuple[int, list[RefreshToken]]:
        with transaction.atomic(using=using):
            ended = select().order_by().filter(pk__in=batch).update(**ours)
            if attempt == 1 and not is_heard:
                return ended, []
            # The instant tells which rows are ours and not those of another revocation, also after a
            # COMMIT whose outcome is unknown: they are counted and reported once.
            rows = RefreshToken.objects.using(using).filter(pk__in=batch, **ours)
            # From here, not from a replica that the router may name for reading.
            users = get_user_model()._base_manager.using(using)
            clients = Client.objects.using(using)
            found = list(rows.prefetch_related(Prefetch("client", clients), Prefetch("user", users)))
        return len(found), found

    ended, found = retry(write, using=using)
    if ended:
        fields = {
            "reason": str(revocation.reason),
            "actor": revocation.actor,
            "sessions": ended,
            **log_fields,
        }
        logger.info("%d sessions revoked: %s", ended, revocation.reason, extra={"event": "revoked", **fields})
    revocation.send(found, using=using)
    return ended
