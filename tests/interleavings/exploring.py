"""All orders of the steps of two operations that can differ.

Depth first, without a state to go back to: each order is one run from the start. Where two steps turn out to
depend on each other, the other one is tried first as well, unless that would be like an order that was tried
(C. Flanagan and P. Godefroid, Dynamic Partial-Order Reduction for Model Checking Software, 2005; sleep sets).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.interleavings.scheduler import Choose, Run
from tests.interleavings.steps import Step


@dataclass
class _Node:
    ready: dict[int, Step]
    choice: int
    asleep: set[int]
    done: set[int] = field(default_factory=set)
    wanted: set[int] = field(default_factory=set)
    """Who must go first here as well: something that it does later depends on what was done here."""

    @property
    def step(self) -> Step:
        return self.ready[self.choice]

    def next_choice(self) -> int | None:
        left = (self.wanted & self.ready.keys()) - self.asleep - self.done - {self.choice}
        return min(left, default=None)


class Explorer:
    """Goes through the orders of one group."""

    def __init__(self, *, readers_lock: bool, leaves_out: bool = True) -> None:
        """Go through orders.

        Args:
            readers_lock: whether a transaction may be refused because of what it has read.
            leaves_out: leave out orders that differ only in steps that can't affect each other.
        """
        self._readers_lock = readers_lock
        self._leaves_out = leaves_out
        self._path: list[_Node] = []
        self._depth = 0
        self.is_redundant = False
        """Whether the present run is like an earlier one."""
        self.is_done = False
        """Whether there are no more orders."""

    def runs(self, execute: Callable[[Choose], Run], *, at_most: int) -> Iterator[Run]:
        """Yield a run of each order; of those that turn out to be like an earlier one, none."""
        for _ in range(at_most):
            self._depth, self.is_redundant = 0, False
            run = execute(self._choose)
            if not self.is_redundant:
                yield run
            if not self._go_back():
                self.is_done = True
                return

    def _choose(self, ready: dict[int, Step]) -> int:
        if self.is_redundant:
            return min(ready)
        if self._depth < len(self._path):
            node = self._path[self._depth]
            if node.choice not in ready:
                # Something came out in another order than last time: a lock that another one got first.
                del self._path[self._depth :]
                return self._choose(ready)
        else:
            asleep = self._asleep(ready)
            awake = [number for number in ready if number not in asleep]
            if not awake:
                self.is_redundant = True
                return min(ready)
            node = _Node(ready, awake[0], asleep)
            if not self._leaves_out:
                node.wanted |= ready.keys()
            self._path.append(node)
        self._depth += 1
        return node.choice

    def _asleep(self, ready: dict[int, Step]) -> set[int]:
        if not self._path or not self._leaves_out:
            return set()
        before = self._path[-1]
        return {
            number
            for number in (before.asleep | before.done) & ready.keys()
            if number != before.choice
            and before.ready[number].is_independent_of(before.step, readers_lock=self._readers_lock)
        }

    def _note_races(self) -> None:
        for later, node in enumerate(self._path):
            for earlier in self._path[:later]:
                # Whoever had to wait there could not have gone first.
                could_be_first = earlier.choice != node.choice and node.choice in earlier.ready
                if could_be_first and not earlier.step.is_independent_of(
                    node.step, readers_lock=self._readers_lock
                ):
                    # Also where something between them depends on it: that may have had to wait, too.
                    earlier.wanted.add(node.choice)

    def _go_back(self) -> bool:
        del self._path[self._depth :]
        self._note_races()
        while self._path:
            node = self._path[-1]
            following = node.next_choice()
            if following is not None:
                node.done.add(node.choice)
                node.choice = following
                return True
            self._path.pop()
        return False


def following(choices: list[int]) -> Choose:
    """Repeat an order as far as it goes; after that, whoever began last goes on."""
    rest = iter(choices)

    def choose(ready: dict[int, Step]) -> int:
        wanted = next(rest, None)
        return wanted if wanted in ready else max(ready)

    return choose
