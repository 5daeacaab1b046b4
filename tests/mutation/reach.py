"""Which tests reach a line, in the order in which they are likely to notice a defect there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path, PurePosixPath

from coverage import CoverageData

from tests.mutation.mutants import Mutant

Tests = frozenset[str]


class Reach:
    """What coverage recorded about one run of all tests.

    Args:
        lines: the tests that reached each line of each file; the empty name stands for an import.
        seconds: what each test took.
    """

    def __init__(self, lines: Mapping[str, Mapping[int, Tests]], seconds: Mapping[str, float]) -> None:
        self.lines = lines
        self.seconds = seconds

    @classmethod
    def recorded(cls, coverage: Path, seconds: Path, *, root: Path) -> Reach:
        """Read it from coverage's database, which has a context for each test, and from the plugin's file."""
        data = CoverageData(str(coverage))
        data.read()
        lines = {}
        for name in data.measured_files():
            path = Path(name).relative_to(root).as_posix()
            contexts = data.contexts_by_lineno(name)
            lines[path] = {line: frozenset(map(_test, found)) for line, found in contexts.items()}
        return cls(lines, json.loads(seconds.read_text()))

    def tests_for(self, mutant: Mutant) -> list[str]:
        """Return the tests that reach the mutant, the nearest and fastest first.

        What runs at import is reached by every test that uses something of the file.
        """
        lines = self.lines.get(mutant.path, {})
        first, last = mutant.lines
        reached: set[str] = set().union(*(lines.get(line, frozenset()) for line in range(first, last + 1)))
        if "" in reached:
            reached |= self._of_functions(mutant.path)
        known = reached & self.seconds.keys()
        return sorted(known, key=lambda test: (not _is_near(test, mutant.path), self.seconds[test], test))

    @cache  # noqa: B019 - there is one for each run
    def _of_functions(self, path: str) -> Tests:
        return frozenset().union(*self.lines.get(path, {}).values())

    def within(self, tests: Iterable[str], seconds: float) -> list[str]:
        """Return the first of some tests, for as long as they take together."""
        chosen = []
        for test in tests:
            seconds -= self.seconds[test]
            if seconds < 0 and chosen:
                break
            chosen.append(test)
        return chosen


def _test(context: str) -> str:
    """Return the test of a context such as ``tests/test_x.py::test_y|run``."""
    return context.rpartition("|")[0]


def _is_near(test: str, path: str) -> bool:
    """Tell whether it is in the module of tests of the file."""
    stem = PurePosixPath(path).stem
    name = PurePosixPath(path).parent.name if stem == "__init__" else stem
    return PurePosixPath(test.partition("::")[0]).stem == f"test_{name}"
