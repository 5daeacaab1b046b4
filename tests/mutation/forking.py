"""Runs pytest in a fork of this process, which has imported what takes long: seconds for each mutant."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

# None of them asks for settings.
_PRELOADED: Final = (
    "asyncio",
    "babel",
    "cryptography.fernet",
    "cryptography.hazmat.primitives.serialization",
    "django.contrib.auth.hashers",
    "django.core.management",
    "django.db.backends.sqlite3.base",
    "django.db.models",
    "django.forms",
    "django.template",
    "django.test",
    "django.urls",
    "factory",
    "faker",
    "jwt",
)
_LOOKS_EVERY: Final = 0.02


def run_pytest(
    arguments: Sequence[str],
    *,
    folder: Path,
    environ: Mapping[str, str],
    log: Path,
    seconds: float,
) -> int | None:
    """Run pytest, and end whatever it has started.

    Args:
        arguments: for pytest.
        folder: the working directory, from which the tests are imported.
        environ: the whole environment.
        log: the file for all output.
        seconds: after which it is ended.

    Returns:
        The exit status, or None if it had to be ended. A signal counts as a status.
    """
    _preload()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _be_pytest(arguments, folder=folder, environ=environ, log=log)
    status = _wait(child, until=time.monotonic() + seconds)
    with suppress(ProcessLookupError, PermissionError):
        # It leads a group of its own, with all that the tests have started.
        os.killpg(child, signal.SIGKILL)
    if status is None:
        os.waitpid(child, 0)
    return status


@cache
def _preload() -> None:
    for name in _PRELOADED:
        with suppress(ImportError):
            import_module(name)


def _be_pytest(arguments: Sequence[str], *, folder: Path, environ: Mapping[str, str], log: Path) -> None:
    status = 3
    try:
        os.setsid()
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environ)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        # The tests of that folder, not those that this process is one of.
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        sys.path[:0] = environ["PYTHONPATH"].split(os.pathsep)
        status = int(pytest.main(list(arguments)))
    except BaseException:  # noqa: BLE001 - whatever it is, it must not run on as the parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(child: int, *, until: float) -> int | None:
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(_LOOKS_EVERY)
    return None
