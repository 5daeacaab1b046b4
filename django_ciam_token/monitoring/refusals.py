"""The last refused refreshes of each session, so that an operator can say why somebody was logged out.

Only refusals write, and only those of a token that this service has issued. What is noted is bounded three
times: by slots for each session, and in each process by an allowance for each session and one for all. No
answer waits for it, and none fails by it.
"""

from __future__ import annotations

import logging
import uuid
from typing import Any, Final

from django.db import Error, IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from django_ciam_token.caller import Caller
from django_ciam_token.conf import ciam_settings
from django_ciam_token.database.patience import Pause, impatient
from django_ciam_token.database.retry import UNAVAILABLE, mend
from django_ciam_token.database.routing import write_database
from django_ciam_token.database.tenants import tenant_key
from django_ciam_token.models import Client, RefreshRefusal, RefreshToken
from django_ciam_token.monitoring.allowance import Allowance

logger = logging.getLogger("django_ciam_token")

KEPT: Final = 10
"""Refusals of a session: the first, and those that were seen last."""
_of_session: Final = Allowance(at_once=KEPT, every=60.0)
# When many sessions end at once, each of their applications asks once more.
_in_all: Final = Allowance(at_once=300, every=0.5)
_PAUSE_AFTER_REFUSAL: Final = 5.0
_refused: Final = Pause(_PAUSE_AFTER_REFUSAL)


def forget() -> None:
    """Begin anew, as after a fork."""
    for memory in (_of_session, _in_all):
        memory.forget()
    _refused.end()


def note_refusal(
    *, session_id: uuid.UUID, client: Client | None, reason: str, caller: Caller, **_: Any
) -> None:
    """Note a refused refresh, if the setting ``AUDIT_TRAIL`` is on; a receiver of `refresh_refused`."""
    if not ciam_settings.AUDIT_TRAIL or not _refused.is_over():
        return
    using = write_database(RefreshRefusal)
    if not (_of_session.take(session_id) and _in_all.take(tenant_key(using))):
        return
    now = timezone.now()
    refusal = RefreshRefusal(
        session_id=session_id,
        reason=reason[:64],
        first_at=now,
        last_at=now,
        client_id="" if client is None else client.client_id,
        address=caller.address,
        user_agent=caller.user_agent,
    )
    _try_to_write(refusal, using=using)


def _try_to_write(refusal: RefreshRefusal, *, using: str) -> None:
    try:
        for _ in range(2):
            with impatient(using):
                if _write(refusal, using=using):
                    return
    except UNAVAILABLE as error:
        _refused.begin()
        mend(using, error)
        logger.warning(
            "Session %s: the refusal of a refresh could not be noted: %s",
            refusal.session_id,
            type(error).__name__,
            extra={"event": "refusal_not_noted", "session_id": str(refusal.session_id)},
        )
    except Error as error:
        # The sender of the signal logs this error. It must not affect the statements that follow.
        mend(using, error)
        raise


def _write(refusal: RefreshRefusal, *, using: str) -> bool:
    """Write a refusal; False if another request took its slot, so that the slots must be read again."""
    user_ids = _user_of(refusal.session_id)
    if not user_ids:
        return True  # Of a session that is gone nothing is noted: nobody would see it.
    refusal.user_id = "" if user_ids[0] is None else str(user_ids[0])[:64]
    rows = RefreshRefusal.objects.using(using).filter(session_id=refusal.session_id)
    known = {row.slot: row for row in rows.order_by("slot")[:KEPT]}
    same = [row for row in known.values() if _kind(row) == _kind(refusal)]
    if same:
        rows.filter(pk=same[0].pk).update(last_at=refusal.last_at, number=F("number") + 1)
        return True
    free = [slot for slot in range(KEPT) if slot not in known]
    if free:
        return _insert(refusal, free[0], using=using)
    oldest = min((row for row in known.values() if row.slot), key=lambda row: (row.last_at, row.pk))
    # If another request has just used this row, its refusal is as new as this one, and stays.
    rows.filter(pk=oldest.pk, last_at=oldest.last_at).update(**_columns(refusal))
    return True


def _user_of(session_id: uuid.UUID) -> list[Any]:
    """Return the key of the user of a session in a list, which is empty if there is no such session."""
    sessions = RefreshToken.objects.using(write_database(RefreshToken)).filter(pk=session_id)
    return list(sessions.values_list("user_id", flat=True))


def _insert(refusal: RefreshRefusal, slot: int, *, using: str) -> bool:
    refusal.slot, refusal.pk = slot, None
    try:
        with transaction.atomic(using=using):
            refusal.save(using=using, force_insert=True)
    except IntegrityError:
        return False
    return True


def _kind(refusal: RefreshRefusal) -> tuple[Any, ...]:
    """Return what two refusals must have in common to be counted in one row."""
    return refusal.reason, refusal.client_id, refusal.address, refusal.user_agent


def _columns(refusal: RefreshRefusal) -> dict[str, Any]:
    names = ("reason", "first_at", "last_at", "number", "client_id", "user_id", "address", "user_agent")
    return {name: getattr(refusal, name) for name in names}
