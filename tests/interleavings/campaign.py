"""Goes through groups of operations: every order, and then a crash at every boundary."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import combinations_with_replacement

from django.db import connection

from tests.interleavings import databases, invariants
from tests.interleavings.exploring import Explorer, following
from tests.interleavings.operations import JUST_NOW, OPERATIONS, Operation, fit_together
from tests.interleavings.outcomes import outcome
from tests.interleavings.reports import Reports, heard
from tests.interleavings.scheduler import Choose, Run, Scheduler
from tests.interleavings.workers import CRASHES, Crash
from tests.interleavings.world import Template, as_own, surroundings

_REPORTED_EVERY = 25
"""Groups."""

Group = tuple[Operation, ...]
"""Operations that happen at once; a pair if nothing else is said."""


@dataclass
class Counts:
    """What was tried, and what was found."""

    groups: int = 0
    interleavings: int = 0
    crashes: int = 0
    possible_crashes: int = 0
    """How many there are: after each beginning of an order, at its last step, in each way."""
    blocked: int = 0
    cut_short: int = 0
    """Groups that have more orders than were tried."""
    violations: int = 0
    found: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass(frozen=True)
class Size:
    """How much of each group is tried."""

    orders: int
    crashes: int
    seed: int = 1


def all_groups(operations: Sequence[Operation] = OPERATIONS, *, size: int = 2) -> list[Group]:
    groups = combinations_with_replacement(operations, size)
    return [group for group in groups if fit_together(group)]


def sample(groups: Sequence[Group], number: int, *, seed: int) -> list[Group]:
    """Return so many groups, the same ones for the same seed."""
    return random.Random(seed).sample(groups, min(number, len(groups)))


class Campaign:
    """Runs groups of one size at one level of isolation; use it as a context."""

    def __init__(self, isolation: str, *, size: int = 2) -> None:
        self._isolation = isolation
        self._size = size

    def __enter__(self) -> Campaign:
        logging.disable(logging.CRITICAL)
        self._surroundings, self._heard = surroundings(), heard()
        self._surroundings.__enter__()
        self._reports: Reports = self._heard.__enter__()
        connection.ensure_connection()
        databases.prepare(connection, databases.LEVELS[connection.vendor][0])
        self._template = Template()
        self._scheduler = Scheduler(self._isolation, workers=self._size)
        return self

    def __exit__(self, *_: object) -> None:
        self._scheduler.close()
        self._template.close()
        self._heard.__exit__(None, None, None)
        self._surroundings.__exit__(None, None, None)
        logging.disable(logging.NOTSET)

    def try_all(
        self,
        groups: Iterable[Group],
        size: Size,
        *,
        seconds: float = float("inf"),
        report: Callable[[str], None] = print,
    ) -> Counts:
        """Try groups until the time is over; at least one."""
        total, until = Counts(), time.monotonic() + seconds
        for group in groups:
            if total.groups and time.monotonic() > until:
                break
            counts = self.try_group(group, size)
            if counts.violations:
                names = " | ".join(operation.name for operation in group)
                report(f"{names}: {dict(counts.found)} {counts.examples[:2]}")
            total.add(counts)
            if total.groups % _REPORTED_EVERY == 0:
                report(f"{total.groups} groups, {total.interleavings} orders, {total.crashes} crashes")
        return total

    def try_group(self, group: Group, size: Size) -> Counts:
        """Try all orders, then crashes."""
        counts = Counts(groups=1)
        pessimistic = self._isolation == "serializable"
        places: dict[tuple[tuple[int, ...], int], Crash] = {}
        explorer = Explorer(readers_lock=pessimistic)

        def execute(choose: Choose) -> Run:
            return self._run(group, counts, choose, is_like_another=lambda: explorer.is_redundant)

        for run in explorer.runs(execute, at_most=size.orders):
            counts.interleavings += 1
            choices = [worker for worker, _ in run.trace]
            for place in _places(choices):
                places.setdefault(*place)
        counts.cut_short = int(not explorer.is_done)
        tries = [
            (prefix, replace(crash, kind=kind)) for (prefix, _), crash in places.items() for kind in CRASHES
        ]
        counts.possible_crashes = len(tries)
        for prefix, crash in _in_order(tries, seed=size.seed)[: size.crashes]:
            counts.crashes += 1
            self._run(group, counts, following(list(prefix)), crash)
        return counts

    def outcomes(self, group: Group, *, leaves_out: bool) -> Counter[str]:
        """Return how all orders of a group end, and how many end in that way."""
        found = Counter[str]()
        explorer = Explorer(readers_lock=self._isolation == "serializable", leaves_out=leaves_out)

        def execute(choose: Choose) -> Run:
            return self._run(
                group, Counts(), choose, is_like_another=lambda: explorer.is_redundant, found=found
            )

        for _ in explorer.runs(execute, at_most=1_000_000):
            pass
        return found

    def _run(
        self,
        group: Group,
        counts: Counts,
        choose: Choose,
        crash: Crash | None = None,
        is_like_another: Callable[[], bool] = lambda: False,
        found: Counter[str] | None = None,
    ) -> Run:
        rotated_ago = next((op.rotated_ago for op in group if op.rotated_ago is not None), JUST_NOW)
        world = self._template.restored(rotated_ago=rotated_ago)
        self._reports.begin()
        handler = self._template.handler
        tasks = [partial(operation.act, as_own(world), handler) for operation in group]
        run = self._scheduler.run(tasks, choose, crash)
        if is_like_another():
            return run
        counts.blocked += run.blocked
        facts = invariants.gather(world, group, run, self._reports.counted, handler, self._isolation)
        if found is not None:
            found[outcome(facts)] += 1
        for name, text in invariants.violations(facts):
            counts.violations += 1
            counts.found[name] += 1
            order = "".join(str(worker) for worker, _ in run.trace)
            counts.examples.append(
                f"{name}: {text} [{connection.vendor} {self._isolation} {order} {crash or ''}]"
            )
        return run


def _in_order(
    tries: list[tuple[tuple[int, ...], Crash]], *, seed: int
) -> list[tuple[tuple[int, ...], Crash]]:
    """Put first those of which each step of each operation has one of each kind, whatever the order."""
    shuffled = random.Random(seed).sample(tries, len(tries))
    number_of = Counter[Crash]()
    rank = {}
    for one in shuffled:
        rank[one] = number_of[one[1]]
        number_of[one[1]] += 1
    return sorted(shuffled, key=rank.__getitem__)


def _places(choices: list[int]) -> Iterator[tuple[tuple[tuple[int, ...], int], Crash]]:
    """Where one order can break: after which steps, and before or after which step of which operation."""
    numbers = Counter[int]()
    for at, worker in enumerate(choices):
        yield (tuple(choices[: at + 1]), worker), Crash(worker, numbers[worker], "")
        numbers[worker] += 1
