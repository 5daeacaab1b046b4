"""The example project with built-in faults: a worker that dies after the COMMIT, and a wrong clock."""

import os
import random
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from config.wsgi import application
from django.utils import timezone

from django_ciam_token.signals import tokens_refreshed

__all__ = ["application"]

_share = float(os.environ.get("FAULTS_CRASH_AFTER_COMMIT") or 0)
_clock = os.environ.get("FAULTS_CLOCK")
_true_now = timezone.now


def die(**arguments: Any) -> None:
    """Receive a signal that is sent after the COMMIT, and kill the worker before it answers."""
    if random.random() < _share:
        os.kill(os.getpid(), signal.SIGKILL)


def wrong_now() -> datetime:
    """Return the time by the clock file: an offset in seconds, or the instant at which it stopped."""
    clock = Path(str(_clock)).read_text()
    if clock.startswith(("+", "-")):
        return _true_now() + timedelta(seconds=float(clock))
    return datetime.fromisoformat(clock)


if _share:
    tokens_refreshed.connect(die, dispatch_uid="faults")
if _clock:
    timezone.now = wrong_now
