"""Errors that the invariants must find: each takes one of the precautions out of the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from django.db import Error, transaction
from django.db.models import QuerySet

from django_ciam_token.database.clock import DatabaseNow
from django_ciam_token.grants import rotating
from django_ciam_token.models import RefreshToken
from django_ciam_token.sessions import revocation, rotation, rows


def _write(using: str, session_id: Any, changes: dict[str, Any], **condition: Any) -> bool:
    row = RefreshToken.objects.using(using).filter(pk=session_id, **condition)
    return row.update(rotated_at=DatabaseNow(), **changes) == 1


def _without_condition(
    using: str, *, session_id: Any, expected: int, judged_auth_hash: str, **changes: Any
) -> bool:
    return _write(using, session_id, changes)


def _check_before_write(
    using: str, *, session_id: Any, expected: int, judged_auth_hash: str, **changes: Any
) -> bool:
    found = RefreshToken.objects.using(using).filter(pk=session_id, generation=expected, revoked_at=None)
    return found.exists() and _write(using, session_id, changes)


def _also_if_revoked(
    using: str, *, session_id: Any, expected: int, judged_auth_hash: str, **changes: Any
) -> bool:
    return _write(using, session_id, changes, generation=expected)


class _AnswersBeforeCommit:
    """A transaction whose COMMIT nobody looks at."""

    @staticmethod
    @contextmanager
    def atomic(using: str) -> Iterator[None]:
        try:
            with transaction.atomic(using=using):
                yield
        except Error:
            transaction.get_connection(using).close()


def _reads_once(self: Any) -> Any:
    reading = self.request.session
    return reading if reading is not None else rows.read_session(self.presented.session_id, using=self.using)


def _update_of_all(real: Any) -> Any:
    def filter_(self: Any, *conditions: Any, **named: Any) -> Any:
        if named == {"revoked_at": None}:
            named = {}
        return real(self, *conditions, **named)

    return filter_


DEFECTS = {
    "the UPDATE has no condition": (rotation, "rotate_row", _without_condition),
    "checked before it is written": (rotation, "rotate_row", _check_before_write),
    "a rotation does not look at the revocation": (rotation, "rotate_row", _also_if_revoked),
    "answered before the COMMIT": (rotation, "transaction", _AnswersBeforeCommit),
    "judged without a second reading": (rotating.RotatingRequest, "_read", _reads_once),
    "after an uncertain COMMIT the rotation is not recognised": (rotation, "has_rotated", lambda *_: False),
    "a revocation ends what has ended": (QuerySet, "filter", _update_of_all(QuerySet.filter)),
    "a reuse is answered, and nothing ends": (rotating, "revoke_session", lambda *_, **__: False),
    "the end of a session is not reported": (revocation.signals, "send_revoked", lambda *_, **__: None),
}


@contextmanager
def seeded(name: str) -> Iterator[None]:
    with patch.object(*DEFECTS[name]):
        yield
