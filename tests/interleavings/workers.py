"""A thread that carries out one operation, and stops at each of its steps until it is let go."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from queue import SimpleQueue
from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created

from tests.interleavings import databases
from tests.interleavings.steps import Step, Transaction

IDLE, WAITING, RUNNING, BLOCKED = "idle", "waiting", "running", "blocked"
CUT_BEFORE, CUT_AFTER, DIED = "cut before", "cut after", "died after"
CRASHES = (CUT_BEFORE, CUT_AFTER, DIED)
_PATIENCE = 20.0


class DiedError(BaseException):
    """The process is gone: nothing after this line is carried out."""


@dataclass(frozen=True)
class Crash:
    """What happens at one of the boundaries of one operation."""

    worker: int
    number: int
    kind: str


class Worker:
    """A thread, its connection, and where it stopped."""

    def __init__(
        self, number: int, isolation: str, changed: threading.Condition, cutter: databases.Cutter
    ) -> None:
        self.number = number
        self.state = IDLE
        self.step: Step | None = None
        self.result: Any = None
        self.count = 0
        self.failed: set[int] = set()
        """Which of its steps did not succeed, by number."""
        self.crash: Crash | None = None
        self.has_crashed = self.is_dead = False
        self.transaction = Transaction(isolation)
        self.session_number: int | None = None
        self._is_watched = False
        self._cut_connection: Any = None
        self._cutter = cutter
        self._changed = changed
        self._go = threading.Semaphore(0)
        self._tasks: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def start(self, task: Callable[[], Any], crash: Crash | None) -> None:
        self.crash, self.count, self.has_crashed, self.is_dead = crash, 0, False, False
        self.failed = set()
        self.state = RUNNING
        self._tasks.put(task)

    def let_go(self) -> None:
        self.state = RUNNING
        self._go.release()

    def stop(self) -> None:
        self._tasks.put(None)
        self._thread.join(_PATIENCE)

    def _work(self) -> None:
        own: Any = connections["default"]
        self._watch(own)
        while (task := self._tasks.get()) is not None:
            own.ensure_connection()
            self.session_number = databases.session_number(own)
            self.transaction.finish()
            self._is_watched = True
            try:
                self.result = task()
            except DiedError:
                self.result = None
            except BaseException as error:  # noqa: BLE001 - it is judged by the main thread
                self.result = error
            self._is_watched = False
            if self.has_crashed:
                self._throw_away(own)
            self._arrive(IDLE)
        own.close()

    def _throw_away(self, own: Any) -> None:
        own.in_atomic_block = own.needs_rollback = own.closed_in_transaction = False
        own.savepoint_ids, own.run_on_commit = [], []
        own.close()

    def _arrive(self, state: str) -> None:
        with self._changed:
            self.state = state
            self._changed.notify_all()

    def _watch(self, own: Any) -> None:
        def created(connection: Any, **_: Any) -> None:
            if connection is own:
                databases.prepare(own, self.transaction.isolation)

        self._created = created
        connection_created.connect(created)
        own.execute_wrappers.append(self._statement)
        own.connect = partial(self._unwatched, own.connect)
        own._commit = partial(self._end, own, "COMMIT", own._commit)
        own._rollback = partial(self._end, own, "ROLLBACK", own._rollback)
        own._set_autocommit = partial(self._autocommit, own, own._set_autocommit)
        if own.vendor == "postgresql":
            own.chunked_cursor = partial(self._cursor_of_server, own, own.chunked_cursor)

    def _unwatched(self, act: Callable[[], Any]) -> Any:
        was, self._is_watched = self._is_watched, False
        try:
            return act()
        finally:
            self._is_watched = was
            self.session_number = databases.session_number(connections["default"])

    def _statement(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        own = context["connection"]
        act = partial(execute, sql, params, many, context)
        result = self._boundary(own, self.transaction.step(str(sql)), act)
        if str(sql).startswith("BEGIN"):
            self.transaction.begin()
        return result

    def _cursor_of_server(self, own: Any, open_cursor: Callable[[], Any]) -> Any:
        # Its statements are DECLARE, FETCH and CLOSE, and a wrapper sees the first one only.
        cursor = open_cursor()
        fetch, close = cursor.fetchmany, cursor.close

        def fetchmany(size: int) -> Any:
            step = replace(self.step, text="FETCH") if self.step is not None else Step("FETCH")
            return self._boundary(own, step, partial(fetch, size))

        cursor.fetchmany = fetchmany
        cursor.close = partial(self._boundary, own, Step("CLOSE"), close)
        return cursor

    def _end(self, own: Any, text: str, act: Callable[[], Any]) -> Any:
        if own.connection is None:
            return act()
        try:
            return self._boundary(own, self.transaction.end(text), act)
        finally:
            # On SQLite a refused COMMIT leaves the transaction open, and others wait for its ROLLBACK.
            if not databases.is_in_transaction(own):
                self.transaction.finish()

    def _autocommit(self, own: Any, act: Callable[[bool], Any], autocommit: bool) -> Any:
        # To PostgreSQL the driver sends BEGIN with the first statement, and to SQLite it is one.
        result = self._boundary(own, Step("AUTOCOMMIT" if autocommit else "BEGIN"), partial(act, autocommit))
        if not autocommit:
            self.transaction.begin()
        return result

    def _boundary(self, own: Any, step: Step, act: Callable[[], Any]) -> Any:
        if not self._is_watched or (
            self._cut_connection is not None and own.connection is self._cut_connection
        ):
            return act()
        if self.is_dead:
            raise DiedError
        self.step = step
        self._arrive(WAITING)
        self._go.acquire()
        number, self.count = self.count, self.count + 1
        kind = self.crash.kind if self.crash is not None and self.crash.number == number else None
        self.failed.add(number)
        if kind == CUT_BEFORE:
            self._cut(own)
            if own.vendor == "sqlite":
                raise databases.lost()
        result = act()
        self.failed.discard(number)
        self.transaction.note(step)
        if kind in (CUT_AFTER, DIED):
            self._cut(own)
            if kind == DIED:
                self.is_dead = True
                raise DiedError
            databases.notice(own)
            raise databases.lost()
        return result

    def _cut(self, own: Any) -> None:
        self.has_crashed = True
        if own.vendor != "sqlite":
            self._cut_connection = own.connection
        self._is_watched, was = False, self._is_watched
        self._cutter.cut(own)
        self._is_watched = was
