"""What was signalled in a run, by session and by the operation in whose thread it was."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.dispatch import Signal

from django_ciam_token import signals

HEARD = {
    "refreshed": signals.tokens_refreshed,
    "replayed": signals.tokens_replayed,
    "reuse": signals.reuse_detected,
    "revoked": signals.session_revoked,
    "issued": signals.tokens_issued,
}


class Reports:
    """How often each event was signalled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.counted: Counter[tuple[str, Any]] = Counter()

    def begin(self) -> None:
        self.counted = Counter()

    def receive(self, *, signal: Signal, session: Any = None, **_: Any) -> None:
        [name] = [name for name, heard in HEARD.items() if heard is signal]
        with self._lock:
            self.counted[name, None if session is None else session.pk] += 1


@contextmanager
def heard() -> Iterator[Reports]:
    reports = Reports()
    for signal in HEARD.values():
        signal.connect(reports.receive, dispatch_uid="interleavings")
    try:
        yield reports
    finally:
        for signal in HEARD.values():
            signal.disconnect(dispatch_uid="interleavings")
