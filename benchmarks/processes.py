"""Sites that answer in processes of their own (`benchmarks.in_process`), and take turns."""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.databases import PostgreSQL
from benchmarks.servers import ROOT, Server, environment_of


class Process:
    """A site that waits for orders."""

    def __init__(
        self, stack: ExitStack, databases: PostgreSQL, server: Server, module: str, sessions: int = 0
    ) -> None:
        name = f"benchmark_{module}_{server.name}_{sessions}"
        databases.create(name)
        stack.callback(databases.drop, name)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.in_process", server.site, module, str(sessions)],
            cwd=ROOT,
            env=environment_of(server, databases.url(name), folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(self._end)
        self.label = server.label
        self.queries: Mapping[str, int] = self._answer()
        self.measured: dict[str, list[dict[str, float]]] = defaultdict(list)

    def measure(self, name: str, requests: int) -> None:
        """Let it answer so many requests."""
        assert self._process.stdin is not None
        print(json.dumps([name, requests]), file=self._process.stdin, flush=True)
        self.measured[name].append(self._answer())

    def median(self, name: str, figure: str) -> float:
        """Return the median over the rounds, in seconds for a request."""
        return statistics.median(run[figure] for run in self.measured[name])

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a site ended with {self._process.wait()}")
        return json.loads(line)

    def _end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def take_turns(turns: list[tuple[Process, str]], *, rounds: int, requests: int) -> None:
    """Measure each in another order each round."""
    for number in range(rounds):
        for site, name in random.sample(turns, len(turns)):
            site.measure(name, requests)
        print(f"  round {number + 1} of {rounds}", flush=True)


def quotient(ours: list[dict[str, float]], theirs: list[dict[str, float]], figure: str) -> str:
    """Divide round by round; return the median and the range of the middle half of the rounds."""
    quotients = sorted(a[figure] / b[figure] for a, b in zip(ours, theirs, strict=True))
    aside = len(quotients) // 4
    median = statistics.median(quotients)
    return f"{median:.2f} ({quotients[aside]:.2f} to {quotients[-1 - aside]:.2f})"
