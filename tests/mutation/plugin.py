"""Loaded by pytest: notes how long each test takes, and ends a run in which one takes far too long."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

TIMED_OUT: Final = 70
"""The exit status of a run that was ended."""
SECONDS: Final = "MUTATION_SECONDS"
"""In the environment: a file for what each test takes."""
KNOWN: Final = "MUTATION_KNOWN_SECONDS"
"""In the environment: a file with what each test takes without a mutant."""

_taken: dict[str, float] = {}
_known: dict[str, float] = {}
_failed: set[str] = set()


def pytest_configure() -> None:
    """Read what tests usually take."""
    if KNOWN in os.environ:
        _known.update(json.loads(Path(os.environ[KNOWN]).read_text()))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Measure a test with its fixtures; if it takes ten times as long as usual, end the process."""
    begun_at = time.monotonic()
    if item.nodeid in _known:
        signal.signal(signal.SIGALRM, _end)
        signal.setitimer(signal.ITIMER_REAL, 5 + 10 * _known[item.nodeid])
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        _taken[item.nodeid] = round(time.monotonic() - begun_at, 4)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember which tests fail by themselves: they can tell nothing about a mutant."""
    if report.failed:
        _failed.add(report.nodeid)


def pytest_sessionfinish() -> None:
    """Write what the tests took."""
    if SECONDS in os.environ:
        Path(os.environ[SECONDS]).write_text(
            json.dumps({test: taken for test, taken in _taken.items() if test not in _failed})
        )


def _end(*_: Any) -> None:
    os._exit(TIMED_OUT)
