"""Erasing what the audit trail says of a person, as privacy law may ask for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from django.db import transaction
from django.db.models import Q, QuerySet

from django_ciam_token.database.batches import fitting_batch_size
from django_ciam_token.database.retry import in_key_order, read_rows, retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.models import RefreshRefusal, SecurityEvent

_NOBODY: Final = Q(pk__in=())


def erase_person(
    *,
    user_key: str,
    username: str = "",
    batch_size: int = 10_000,
    dry_run: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> int:
    """Take a person out of the audit trail and the refused refreshes; return how many events there were.

    The events stay, without user, address and actor; refused refreshes are removed. Neither table has an
    index by user, so all of it is read, in batches by the primary key. Each batch is a short transaction, and
    the same call again does the rest.

    Args:
        user_key: the primary key of the user, as text; the user may be deleted already.
        username: the name by which the person is recorded as the operator of something; none if empty.
        batch_size: how many events are looked at in one transaction.
        dry_run: only count.
        on_progress: called after each batch with the number erased so far.

    Raises:
        ValueError: there is no key, or the batch is empty.
        TemporarilyUnavailable: the database refused; earlier batches are done.
    """
    if not user_key:
        raise ValueError("Say whose events: user_key is empty.")
    using = write_database(SecurityEvent)
    size = fitting_batch_size(batch_size, using=using)
    # As the trail records them, cut to the columns' lengths.
    about, by = Q(user_id=user_key[:64]), Q(actor=username[:150]) if username else _NOBODY
    events = SecurityEvent.objects.using(using).order_by("pk")
    if not dry_run:
        _remove_refusals(user_key[:64], size=size)
    erased, last = 0, 0
    while keys := read_rows(events.filter(pk__gt=last).values_list("pk", flat=True)[:size]):
        batch = events.order_by().filter(pk__range=(keys[0], keys[-1]))
        erase = partial(_erase, batch=batch, about=about, by=by, dry_run=dry_run)
        erased += retry(erase, using=using)
        last = keys[-1]
        if on_progress is not None:
            on_progress(erased)
    return erased


def _erase(_attempt: int, batch: QuerySet[SecurityEvent], about: Q, by: Q, *, dry_run: bool) -> int:
    # An event may name one person as its user and another as its actor.
    with transaction.atomic(using=batch.db):
        number = batch.filter(about | by).count()
        if dry_run:
            return number
        batch.filter(by).update(actor="")
        batch.filter(about).update(user_id="", address=None, user_agent="")
    return number


def _remove_refusals(user_id: str, *, size: int) -> None:
    using = write_database(RefreshRefusal)
    refusals = RefreshRefusal.objects.using(using)
    for keys in in_key_order(refusals.values_list("pk", flat=True), size, key=lambda pk: pk):
        batch = refusals.filter(user_id=user_id, pk__range=(keys[0], keys[-1]))
        retry(partial(_remove, rows=batch), using=using)


def _remove(_attempt: int, rows: QuerySet[RefreshRefusal]) -> None:
    rows.delete()
