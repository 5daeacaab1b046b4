"""A copy of the project, in which mutants are put in place and tests run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import Final

from tests.mutation import plugin
from tests.mutation.forking import run_pytest
from tests.mutation.mutants import Mutant

_COPIED: Final = shutil.ignore_patterns(".*", "__pycache__", "*.sqlite3", "node_modules", "build", "dist")
# In addition to what the tests themselves take.
_START: Final = 60.0


class Outcome(Enum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    TIMED_OUT = "timed out"
    """The tests noticed by not coming to an end."""
    NOT_REACHED = "not reached"
    """No test runs it."""
    EQUIVALENT = "equivalent"
    """It is in the list of those that no test can or should notice."""


class Stage:
    """The copy.

    Args:
        root: of the project.
        folder: for the copy and for what is recorded; it is kept between runs.
        arguments: for pytest.
        database: whether the tests need one; it is made once, and every run begins with a copy of it.
    """

    def __init__(self, root: Path, folder: Path, *, arguments: Sequence[str], database: bool) -> None:
        self.project = folder / "project"
        self.folder = folder
        shutil.rmtree(self.project, ignore_errors=True)
        # What is in the working tree, committed or not.
        shutil.copytree(root, self.project, ignore=_COPIED)
        self.arguments = [
            *arguments,
            "-p",
            "tests.mutation.plugin",
            "-p",
            "no:cacheprovider",
            "--assert=plain",
            "-q",
        ]
        self.database = folder / "database.sqlite3" if database else None
        if self.database is not None:
            self.arguments += ["--ds=tests.mutation.settings", "--reuse-db"]

    @property
    def coverage(self) -> Path:
        """Which test reaches which line."""
        return self.folder / "coverage"

    @property
    def seconds(self) -> Path:
        """What each test takes."""
        return self.folder / "seconds.json"

    def make_database(self) -> None:
        """Make the database that every run begins with, by a test that needs one."""
        if self.database is None:
            return
        self._remove_database()
        test = "tests/test_models.py"
        status = self._pytest([test, "--create-db"], seconds=600)
        if status != 0:
            raise SystemExit(f"{test} fails without any mutant: see {self.folder / 'pytest.log'}")
        shutil.copy(self.database, self.folder / "empty.sqlite3")

    def record(self, tests: Sequence[str], *, package: str) -> None:
        """Run all tests once, and record which lines each reaches and how long it takes."""
        cov = [f"--cov={package}", "--cov-context=test", "--cov-report="]
        environ = {
            "COVERAGE_FILE": str(self.coverage),
            "COVERAGE_CORE": "ctrace",
            plugin.SECONDS: str(self.seconds),
        }
        self.coverage.unlink(missing_ok=True)
        # Some may fail, on a busy machine for instance: they are left out.
        if self._pytest([*tests, *cov], seconds=7200, environ=environ) not in {0, 1}:
            raise SystemExit(f"the tests can't be run: see {self.folder / 'pytest.log'}")

    def try_out(self, mutant: Mutant, tests: Sequence[str], *, seconds: float) -> Outcome:
        """Put a mutant in place, run tests until one fails, and take it away again.

        Args:
            mutant: the mutant.
            tests: their names, in this order.
            seconds: what they take without a mutant.
        """
        file = self.project / mutant.path
        original = file.read_bytes()
        chosen = self.folder / "tests.txt"
        chosen.write_text("\n".join(tests))
        self._replace(file, mutant.applied_to(original))
        try:
            status = self._pytest(
                ["-x", f"@{chosen}"],
                seconds=_START + 3 * seconds,
                environ={plugin.KNOWN: str(self.seconds)},
            )
        finally:
            self._replace(file, original)
        if status in {None, plugin.TIMED_OUT}:
            return Outcome.TIMED_OUT
        return Outcome.SURVIVED if status == 0 else Outcome.KILLED

    @staticmethod
    def _replace(file: Path, text: bytes) -> None:
        file.write_bytes(text)
        # Compiled code is taken for current if the size and the second of the last change agree.
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            compiled.unlink()

    def _pytest(
        self, arguments: Iterable[str], *, seconds: float, environ: dict[str, str] | None = None
    ) -> int | None:
        """Run pytest; return its exit status, or None if it had to be ended."""
        self._fresh_database()
        path = os.pathsep.join([str(self.project), str(self.project / "example_project")])
        environ = {**os.environ, "PYTHONPATH": path, **(environ or {})}
        if self.database is not None:
            environ["CIAM_MUTATION_DATABASE"] = str(self.database)
        return run_pytest(
            [*self.arguments, *arguments],
            folder=self.project,
            environ=environ,
            log=self.folder / "pytest.log",
            seconds=seconds,
        )

    def _fresh_database(self) -> None:
        empty = self.folder / "empty.sqlite3"
        if self.database is not None and empty.exists():
            self._remove_database()
            shutil.copy(empty, self.database)

    def _remove_database(self) -> None:
        for file in self.folder.glob("database.sqlite3*"):
            file.unlink()
