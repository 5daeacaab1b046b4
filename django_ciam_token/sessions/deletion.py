"""Reporting the sessions that end because their user or their client is deleted.

Django deletes the rows by their foreign key, in one statement. It would signal each row if somebody listened,
but then it would also load each of them, at every deletion. So the sessions that are still live are read just
before, and reported after the COMMIT. Until then 16 bytes and a reference are kept of each.
"""

from __future__ import annotations

import copy
import logging
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import connections, transaction
from django.db.models import Model, Prefetch, prefetch_related_objects
from django.db.models.signals import pre_delete
from django.utils import timezone

from django_ciam_token import signals
from django_ciam_token.caller import NOBODY
from django_ciam_token.database.batches import fitting_batch_size
from django_ciam_token.database.retry import retry
from django_ciam_token.models import Client, RefreshToken

logger = logging.getLogger("django_ciam_token")

USER_DELETED: Final = "user_deleted"
CLIENT_DELETED: Final = "client_deleted"
_BATCH_SIZE: Final = 1_000
_KEY_LENGTH: Final = 16


def report_deletions(model: type[Model]) -> None:
    """Report the sessions that end when a row of a model is deleted: of users, clients or their proxies.

    Rows of a model that inherits its table from another are deleted with rows of that other one.
    """
    if model._meta.concrete_model is get_user_model()._meta.concrete_model:
        pre_delete.connect(_before_user, sender=model, dispatch_uid=_UID)
    elif model._meta.concrete_model is Client:
        pre_delete.connect(_before_client, sender=model, dispatch_uid=_UID)


_UID: Final = "django_ciam_token.sessions.deletion"


@dataclass
class _Ended:
    """The sessions of one user, or of one client."""

    owner: str
    """``user`` or ``client``: what is deleted."""
    other: str
    """The other of these two."""
    instance: Model
    reason: str
    at: datetime
    keys: bytearray = field(default_factory=bytearray)
    others: list[Any] = field(default_factory=list)
    """For each session, the key of the other; None for a machine's, which has no user."""

    def read(self, *, using: str) -> None:
        """Find the sessions that are still live."""
        rows = RefreshToken.objects.using(using).filter(revoked_at=None, expires_at__gt=self.at)
        rows = rows.filter(**{self.owner: self.instance.pk})
        if connections[using].in_atomic_block:
            # A request that ends one of them meanwhile waits and finds it gone: the end is reported once.
            rows = rows.select_for_update()
        # Equal keys are one object: a user has a few clients.
        same: dict[Any, Any] = {}
        found = rows.values_list("pk", f"{self.other}_id").iterator(chunk_size=_BATCH_SIZE)
        # Django does not translate the driver's error if the connection breaks before the CLOSE of a cursor.
        with connections[using].wrap_database_errors:
            for key, other in found:
                self.keys += key.bytes
                self.others.append(same.setdefault(other, other))

    def batches(self, size: int) -> Iterator[list[RefreshToken]]:
        """Return the sessions, made anew, since their rows are gone."""
        for start in range(0, len(self.others), size):
            yield [self._session(place) for place in range(start, min(start + size, len(self.others)))]

    def _session(self, place: int) -> RefreshToken:
        key = uuid.UUID(bytes=bytes(self.keys[place * _KEY_LENGTH : (place + 1) * _KEY_LENGTH]))
        references = {self.owner: self.instance, f"{self.other}_id": self.others[place]}
        return RefreshToken(pk=key, revoked_at=self.at, revoked_reason=self.reason, **references)


def _before_user(*, instance: Model, using: str, **_: Any) -> None:
    _before_deletion("user", "client", instance, USER_DELETED, using=using)


def _before_client(*, instance: Model, using: str, **_: Any) -> None:
    _before_deletion("client", "user", instance, CLIENT_DELETED, using=using)


def _before_deletion(owner: str, other: str, instance: Model, reason: str, *, using: str) -> None:
    # A copy, because Django takes the primary key from what it has deleted.
    ended = _Ended(owner, other, copy.copy(instance), reason, at=timezone.now())
    ended.read(using=using)
    if ended.others:
        # If it fails, Django logs its name, which a `partial` does not have, and the deletion is done.
        def report() -> None:
            _report(ended, using=using)

        transaction.on_commit(report, using=using, robust=True)


def _report(ended: _Ended, *, using: str) -> None:
    number = len(ended.others)
    fields = {"event": "revoked", "reason": ended.reason, "actor": "", "sessions": number}
    name = ended.instance.client_id if isinstance(ended.instance, Client) else str(ended.instance.pk)
    owner = {"client_id" if ended.owner == "client" else "user_id": name}
    logger.info("%d sessions ended: %s", number, ended.reason, extra={**fields, **owner})
    model: type[Model] = Client if ended.other == "client" else get_user_model()
    others = Prefetch(ended.other, model._base_manager.using(using))
    for sessions in ended.batches(fitting_batch_size(_BATCH_SIZE, using=using)):
        _prefetch(sessions, others, using=using)
        signals.send_revoked(
            sessions, sender=RefreshToken, using=using, reason=ended.reason, actor="", caller=NOBODY
        )


def _prefetch(sessions: list[RefreshToken], others: Prefetch[Any], *, using: str) -> None:
    # The connection may break after the COMMIT of the deletion, and nobody reports these sessions later.
    retry(lambda _: prefetch_related_objects(sessions, others), using=using)
