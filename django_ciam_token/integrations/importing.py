"""Bringing over what another package has issued: its clients, and its live refresh tokens as sessions.

Everything may be repeated and interrupted, and both systems may serve meanwhile. Tokens are read by their
keys in batches, and each batch is a short transaction: memory does not grow with their number.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, Protocol

from django.db import transaction
from django.utils import timezone

from django_ciam_token.clients.importing import ForeignClient, ImportedClient, import_client
from django_ciam_token.database.batches import fitting_batch_size
from django_ciam_token.database.retry import in_key_order, read_rows, retry
from django_ciam_token.database.routing import write_database
from django_ciam_token.keys import key_set
from django_ciam_token.models import Client, ForeignToken, RefreshToken
from django_ciam_token.sessions.adoption import FIRST_GENERATION, adopt, extend
from django_ciam_token.sessions.foreign import ForeignFormat, LiveToken

# Larger ones take more memory, and no less time.
BATCH_SIZE: Final = 500
_MOST_REMARKS: Final = 1_000


class Source(ForeignFormat, Protocol):
    """A package to import from."""

    def problem(self) -> str:
        """Say why nothing can be imported; empty if it can."""

    def scopes(self) -> Iterable[str]:
        """Return the names of all scopes that it grants."""

    def clients(self) -> Iterator[ForeignClient]:
        """Return its clients."""

    def live_tokens(
        self, *, batch_size: int, client_id: str | None, since: datetime | None
    ) -> Iterator[Sequence[LiveToken]]:
        """Return its live refresh tokens in batches, in the order of their keys.

        Args:
            batch_size: of how many rows.
            client_id: only those of this client.
            since: only those issued since then.
        """

    def still_live(self, references: Collection[str]) -> Mapping[str, LiveToken]:
        """Return those of some tokens that are live now, by their references."""


@dataclass
class Summary:
    """What was imported, and what was left out and why."""

    clients_imported: int = 0
    clients_known: int = 0
    clients_left_out: int = 0
    remarks: list[str] = field(default_factory=list)
    """About clients, each beginning with a client_id."""
    tokens_imported: int = 0
    tokens_known: int = 0
    """Imported before, or used here already."""
    tokens_left_out: Counter[str] = field(default_factory=Counter)
    """By the reason."""
    tokens_shortened: int = 0
    """Of those imported: their sessions end earlier than in the other system, by ``SESSION_LIFETIME``."""
    sessions_dropped: int = 0
    """Imported before and not used here, but rotated or revoked in the other system since."""

    def members(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**vars(self), "tokens_left_out": dict(self.tokens_left_out)}


@dataclass(frozen=True, kw_only=True)
class Import:
    """One run."""

    name: str
    source: Source
    client_id: str | None = None
    """Only this client and its tokens."""
    since: datetime | None = None
    """Only tokens issued since then."""
    dry_run: bool = False
    batch_size: int = BATCH_SIZE
    on_progress: Callable[[Summary], None] = lambda summary: None
    summary: Summary = field(default_factory=Summary)
    """What was done so far, also after an error."""

    def run(self) -> Summary:
        """Import the clients, then their tokens; then drop what the other system has ended since.

        Raises:
            WrongSecrets: this process has other secrets than the active key was encrypted with. Sessions
                would keep another hash of the password than those that serve them expect. Nothing was done.
            TemporarilyUnavailable: the database refused; what was done before stays done.
        """
        key_set.require_right_secrets()
        began_at, clients = timezone.now(), self._clients()
        using = write_database(RefreshToken)
        known = ForeignToken.objects.using(using).filter(format=self.name).values_list("pk", flat=True)
        is_first = not read_rows(known[:1])
        size = fitting_batch_size(self.batch_size, using=using)
        batches = self.source.live_tokens(batch_size=size, client_id=self.client_id, since=self.since)
        for tokens in batches:
            self._tokens(tokens, clients)
            self.on_progress(self.summary)
        # What was imported just now needs no second look.
        earlier = () if is_first else _unused(self.name, size, before=began_at, using=using)
        for sessions in earlier:
            if sessions:
                self._drop_ended(sessions, using=using)
            self.on_progress(self.summary)
        return self.summary

    def _clients(self) -> dict[str, Client]:
        imported = {}
        for foreign in self.source.clients():
            if self.client_id in (None, foreign.client_id):
                outcome = import_client(foreign, dry_run=self.dry_run)
                self._count(foreign, outcome)
                if outcome.client is not None:
                    imported[foreign.client_id] = outcome.client
        here = read_rows(Client.objects.using(write_database(Client)).all())
        return {**imported, **{client.client_id: client for client in here}}

    def _count(self, foreign: ForeignClient, outcome: ImportedClient) -> None:
        summary = self.summary
        if outcome.is_new:
            summary.clients_imported += 1
        elif outcome.client is not None:
            summary.clients_known += 1
        else:
            summary.clients_left_out += 1
        told = "left out: " if outcome.client is None else ""
        summary.remarks += [f"{foreign.client_id}: {told}{remark}" for remark in outcome.remarks]
        del summary.remarks[_MOST_REMARKS:]

    def _tokens(self, tokens: Sequence[LiveToken], clients: Mapping[str, Client]) -> None:
        summary = self.summary
        done = adopt(tokens, name=self.name, clients=clients, now=timezone.now(), dry_run=self.dry_run)
        summary.tokens_imported += len(done.made)
        summary.tokens_left_out += done.left_out
        summary.tokens_known += len(tokens) - len(done.made) - done.left_out.total()
        summary.tokens_shortened += done.shortened

    def _drop_ended(self, known: Mapping[str, RefreshToken], *, using: str) -> None:
        live = self.source.still_live(known)
        ended = [session.pk for reference, session in known.items() if reference not in live]
        self.summary.sessions_dropped += len(ended)
        if self.dry_run:
            return
        if ended:
            retry(lambda _: _delete_unused(ended, using=using), using=using)
        extend((known[reference], token) for reference, token in live.items())


def forget(name: str) -> int:
    """Forget the tokens of a package whose tokens are no longer accepted; return how many there were.

    The sessions that they have become stay.

    Raises:
        TemporarilyUnavailable: the database refused; the same call again forgets the rest.
    """
    using = write_database(ForeignToken)
    rows = ForeignToken.objects.using(using)
    size, forgotten = fitting_batch_size(BATCH_SIZE, using=using), 0
    for known in _known(name, size, using=using):
        batch = rows.filter(pk__in=[row[0] for row in known])
        forgotten += retry(lambda _, batch=batch: batch.delete()[0], using=using)  # type: ignore[misc]
    return forgotten


def _known(name: str, size: int, *, using: str) -> Iterator[list[tuple[uuid.UUID, uuid.UUID, str]]]:
    """Yield what is known of the tokens of a package: their keys, their sessions and their references.

    The format is compared here. As a condition, it would have PostgreSQL read and sort the whole table for
    each batch, until it has analyzed a table that has just been filled.
    """
    rows = ForeignToken.objects.using(using).values_list("pk", "session_id", "reference", "format")
    for read in in_key_order(rows, size, key=itemgetter(0)):
        known = [row[:3] for row in read if row[3] == name]
        if known:
            yield known


def _unused(name: str, size: int, *, before: datetime, using: str) -> Iterator[dict[str, RefreshToken]]:
    """Return the sessions that were imported before and not used yet, by their tokens' references."""
    for read in _known(name, size, using=using):
        unused = RefreshToken.objects.using(using).filter(
            pk__in=[row[1] for row in read],
            generation=FIRST_GENERATION,
            revoked_at=None,
            issued_at__lt=before,
        )
        sessions = {session.pk: session for session in read_rows(unused)}
        yield {reference: sessions[key] for _, key, reference in read if reference and key in sessions}


def _delete_unused(keys: Collection[uuid.UUID], *, using: str) -> None:
    """Delete sessions that nothing was ever issued from; what is known of their tokens stays."""
    with transaction.atomic(using=using):
        rows = RefreshToken.objects.using(using).filter(
            pk__in=keys, generation=FIRST_GENERATION, revoked_at=None
        )
        rows.delete()
