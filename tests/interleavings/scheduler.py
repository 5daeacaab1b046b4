"""Lets operations go on in turn, one statement at a time, each in a thread with a connection of its own.

A worker stops before each statement, before BEGIN, COMMIT and ROLLBACK and before the return to autocommit.
Only one is let go at a time, and the next only after it stopped again, ended, or waits for a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from tests.interleavings import databases
from tests.interleavings.steps import EVERYTHING, Step
from tests.interleavings.workers import BLOCKED, IDLE, RUNNING, WAITING, Crash, Worker

_PATIENCE = 20.0
_LONGEST_PAUSE = 0.05

Choose = Callable[[dict[int, Step]], int]


class StuckError(Exception):
    """Nobody goes on and nobody waits for a lock: the scheduler has lost track."""


@dataclass
class Run:
    """What happened in one run."""

    trace: list[tuple[int, Step]] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)
    ended_at: dict[int, int] = field(default_factory=dict)
    """How long the trace was when an operation ended, by worker."""
    failed: dict[int, set[int]] = field(default_factory=dict)
    """The steps of each worker that did not succeed, by their numbers among its own."""
    blocked: int = 0
    crash: Crash | None = None
    has_crashed: bool = False

    def first_step_of(self, worker: int) -> int:
        return next((at for at, (number, _) in enumerate(self.trace) if number == worker), len(self.trace))


class Scheduler:
    """Workers, and who of them goes on."""

    def __init__(self, isolation: str, *, workers: int) -> None:
        self._changed = threading.Condition()
        self._were_waiting: set[int] = set()
        self._cutter = databases.Cutter()
        self.workers = [Worker(number, isolation, self._changed, self._cutter) for number in range(workers)]

    def close(self) -> None:
        for worker in self.workers:
            worker.stop()
        self._cutter.close()

    def run(self, tasks: Sequence[Callable[[], Any]], choose: Choose, crash: Crash | None = None) -> Run:
        """Carry out a task for each worker, in the order that is chosen."""
        run = Run(crash=crash)
        with self._changed:
            for worker, task in zip(self.workers, tasks, strict=True):
                worker.start(task, crash if crash is not None and crash.worker == worker.number else None)
            while True:
                self._settle(run)
                ready = self._ready(run)
                if not ready:
                    break
                chosen = choose(ready)
                run.trace.append((chosen, ready[chosen]))
                self.workers[chosen].let_go()
        run.results = [worker.result for worker in self.workers]
        run.failed = {worker.number: worker.failed for worker in self.workers}
        run.has_crashed = any(worker.has_crashed for worker in self.workers)
        return run

    def _ready(self, run: Run) -> dict[int, Step]:
        waiting = {w.number: w.step for w in self.workers if w.state == WAITING and w.step is not None}
        # SQLite: it would only ask again and again whether another one has ended its transaction.
        would_wait = {
            number
            for number, step in waiting.items()
            if connection.vendor == "sqlite"
            and (
                step.locks == EVERYTHING or (step.publishes and not self.workers[number].transaction.is_open)
            )
            and any(
                other.transaction.is_open and other.state != IDLE
                for other in self.workers
                if other.number != number
            )
        }
        if would_wait and would_wait != self._were_waiting:
            run.blocked += 1
        self._were_waiting = would_wait
        return {number: step for number, step in waiting.items() if number not in would_wait}

    def _settle(self, run: Run) -> None:
        """Wait until each worker has stopped, ended or waits for a lock of another one."""
        # If it waited for a lock, it may have got it by what another one just did.
        for worker in self._in_state(BLOCKED):
            worker.state = RUNNING
        self._wait_for_signs()
        for worker in self._in_state(RUNNING):
            worker.state = BLOCKED
            run.blocked += 1
        for worker in self._in_state(IDLE):
            run.ended_at.setdefault(worker.number, len(run.trace))

    def _wait_for_signs(self) -> None:
        first = pause = databases.LOOKS_AFTER[connection.vendor]
        waited = 0.0
        blocked: set[int] = set()
        while running := self._in_state(RUNNING):
            unsettled = [worker for worker in running if worker.number not in blocked]
            # If all wait for each other, the database ends one of them.
            if not unsettled and self._in_state(WAITING):
                return
            if self._changed.wait(pause):
                pause = first
                continue
            waited += pause
            # A worker that opens a connection, or has no processor, takes a while without waiting for a lock.
            pause = min(2 * pause, _LONGEST_PAUSE)
            if waited > _PATIENCE:
                raise StuckError([(worker.state, worker.step) for worker in self.workers])
            blocked |= {
                worker.number for worker in unsettled if databases.is_waiting_for_lock(worker.session_number)
            }

    def _in_state(self, state: str) -> list[Worker]:
        return [worker for worker in self.workers if worker.state == state]
