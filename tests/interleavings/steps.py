"""What a statement does to what others see, as far as that can be told from its text.

Two steps of different operations whose order can't make a difference are *independent*: of the two orders
only one is tried. In doubt they are dependent, which costs time and loses nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache

from django.apps import apps

EVERYTHING = frozenset({"*"})
# Rows are only added to them, and no operation looks at them.
_ONLY_WRITTEN = {"django_ciam_token_securityevent", "django_ciam_token_dailystatistics"}


@dataclass(frozen=True)
class Step:
    """One statement, or the end of a transaction."""

    text: str
    """The SQL; values are never part of it."""
    reads: frozenset[str] = frozenset()
    locks: frozenset[str] = frozenset()
    """Tables whose rows are locked, or changed in a way that nobody sees yet."""
    publishes: frozenset[str] = frozenset()
    """Tables whose changes are seen, or whose locks are released, from here on."""

    def is_independent_of(self, other: Step, *, readers_lock: bool) -> bool:
        if readers_lock and (_meet(self.locks, other.reads) or _meet(self.reads, other.locks)):
            return False
        mine, others = self.locks | self.publishes, other.locks | other.publishes
        return not (
            _meet(mine, others) or _meet(self.publishes, other.reads) or _meet(self.reads, other.publishes)
        )


def _meet(some: frozenset[str], others: frozenset[str]) -> bool:
    if not some or not others:
        return False
    return some == EVERYTHING or others == EVERYTHING or not some.isdisjoint(others)


@dataclass
class Transaction:
    """What a connection has touched in its present transaction."""

    isolation: str
    is_open: bool = False
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    has_begun: bool = field(default=False)

    def step(self, sql: str) -> Step:
        """Return what a statement does."""
        word = sql.split(None, 1)[0].upper()
        if word == "BEGIN":
            # SQLite: BEGIN IMMEDIATE takes the lock of the whole database.
            return Step(sql, locks=EVERYTHING)
        tables = _tables_in(sql) if self.isolation == "immediate" else _tables_in(sql) - _ONLY_WRITTEN
        reads, writes = tables, frozenset[str]()
        if word in ("INSERT", "UPDATE", "DELETE"):
            writes = frozenset(_first_table(sql)) & tables
            if word == "INSERT":
                writes |= {parent for table in writes for parent in _parents(table)}
        elif "FOR UPDATE" in sql:
            writes = tables
        if not self.is_open:
            return Step(sql, reads=reads, publishes=writes)
        if not self.has_begun and self.isolation in ("repeatable read", "serializable") and tables:
            # What the transaction sees is decided now.
            reads = EVERYTHING
        return Step(sql, reads=reads, locks=writes)

    def end(self, text: str) -> Step:
        """Return what COMMIT or ROLLBACK does."""
        if self.isolation == "immediate":
            return Step(text, publishes=EVERYTHING if self.is_open else frozenset())
        reads = self.reads if self.isolation == "serializable" else frozenset[str]()
        return Step(text, reads=reads, publishes=self.writes)

    def note(self, step: Step) -> None:
        """Remember a step that was carried out."""
        self.has_begun = self.has_begun or bool(step.reads or step.locks)
        self.reads |= step.reads
        self.writes |= step.locks

    def begin(self) -> None:
        self.is_open, self.has_begun, self.reads, self.writes = True, False, frozenset(), frozenset()

    def finish(self) -> None:
        self.is_open = False


@cache
def _names() -> dict[str, type]:
    return {model._meta.db_table: model for model in apps.get_models(include_auto_created=True)}


@cache
def _parents(table: str) -> frozenset[str]:
    fields = _names()[table]._meta.concrete_fields
    return frozenset(field.related_model._meta.db_table for field in fields if field.is_relation)


@cache
def _tables_in(sql: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", sql)) & _names().keys()


@cache
def _first_table(sql: str) -> list[str]:
    return [word for word in re.findall(r"\w+", sql) if word in _names()][:1]
