"""The example project, served by gunicorn on one or more hosts, and its operator."""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.faults.processes import Process, free_ports, listens

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a site is set up for a fault."""

    hosts: int = 2
    workers: int = 2
    threads: int = 1
    reloads: bool = False
    """Whether a host reads its settings again on reload; otherwise it forks workers, which is faster."""
    database: Mapping[str, Any] = field(default_factory=dict)
    """Settings of DATABASES["default"] besides OPTIONS."""
    options: Mapping[str, Any] = field(default_factory=dict)
    ciam_token: Mapping[str, Any] = field(default_factory=dict)
    urls: Sequence[str] = ()
    """Addresses to use in place of the database's own."""
    clocks: Sequence[str] = ()
    """The clock of each host, as `tests.faults.wsgi` reads it."""
    crash_after_commit: float = 0
    """The share of its rotations in which a worker dies between COMMIT and the answer."""
    copies: int = 1
    """The number of hosts to which a request is sent at once."""
    copied: float = 1.0
    """The share of the requests sent in copies; the others go to one host."""
    proxied: bool = False
    """Whether answers go through the proxy that loses some of them."""


class Site:
    """Hosts with one database behind them."""

    settings = "tests.faults.settings"
    operations = "tests.faults.operations"

    def __init__(self, folder: Path, urls: Sequence[str], plan: Plan) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.plan = plan
        self.secrets = folder / "secrets.json"
        self.set_secrets(secrets.token_urlsafe(50))
        chosen = {
            "secrets": str(self.secrets),
            "database": dict(plan.database),
            "options": dict(plan.options),
            "ciam_token": dict(plan.ciam_token),
        }
        self.environment = {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "example_project")]),
            "DJANGO_SETTINGS_MODULE": self.settings,
            "DATABASE_URL": urls[0],
            "CIAM_ISSUER": "https://id.example.com",
            "DEBUG": "0",
            "FAULTS": json.dumps(chosen),
        }
        self._operator: subprocess.Popen[str] | None = None
        self.hosts = [
            Host(self, number, port, url)
            for number, (port, url) in enumerate(zip(free_ports(len(urls)), urls, strict=True))
        ]

    @property
    def ports(self) -> list[int]:
        return [host.port for host in self.hosts]

    def set_secrets(self, *values: str) -> None:
        """Write SECRET_KEY and its fallbacks; a host reads them when it starts or reloads."""
        new = self.secrets.with_suffix(".new")
        new.write_text(json.dumps(values))
        new.replace(self.secrets)

    def start(self) -> None:
        for host in self.hosts:
            host.process.start()
        for host in self.hosts:
            host.process.wait_until(lambda host=host: listens(host.port))

    def stop(self) -> None:
        for host in self.hosts:
            host.process.end(signal.SIGQUIT)
        if self._operator is not None:
            self._operator.communicate(timeout=30)

    def manage(self, *arguments: str) -> str:
        """Run one of the commands that the package gives to operators."""
        finished = subprocess.run(
            [sys.executable, "example_project/manage.py", *arguments],
            cwd=ROOT,
            env=os.environ | self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert finished.returncode == 0, finished.stderr
        return finished.stdout

    def operate(self, command: str) -> Any:
        """Run a command of the operator's module."""
        if self._operator is None:
            log = self.folder / "operator.log"
            with log.open("w") as errors:
                self._operator = subprocess.Popen(
                    [sys.executable, "-m", self.operations],
                    cwd=ROOT,
                    env=os.environ | self.environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
        assert self._operator.stdin is not None
        assert self._operator.stdout is not None
        self._operator.stdin.write(command + "\n")
        self._operator.stdin.flush()
        answer = self._operator.stdout.readline()
        assert answer, (self.folder / "operator.log").read_text()
        return json.loads(answer)

    def refusals(self) -> Counter[str]:
        """Return the errors with which the database refused attempts, from the package's log."""
        refused = re.compile(r"The database refused attempt \d+ of \d+: (.+)")
        found: Counter[str] = Counter()
        for host in self.hosts:
            found.update(refused.findall(host.process.log.read_text(errors="replace")))
        return found

    def surprises(self) -> Counter[str]:
        """Return the unexpected internal errors in the package's log."""
        logs = [host.process.log.read_text(errors="replace") for host in self.hosts]
        return Counter(line for log in logs for line in log.splitlines() if "Internal error at" in line)


class Host:
    """One gunicorn with its workers."""

    def __init__(self, site: Site, number: int, port: int, url: str) -> None:
        plan = site.plan
        self.port = port
        self.clock = site.folder / f"clock-{number}"
        environment = site.environment | {"DATABASE_URL": url}
        environment["FAULTS_CRASH_AFTER_COMMIT"] = str(plan.crash_after_commit)
        if plan.clocks:
            self.set_clock(plan.clocks[number])
            environment["FAULTS_CLOCK"] = str(self.clock)
        kind = ["--worker-class", "gthread", "--threads", str(plan.threads)] if plan.threads > 1 else []
        self.process = Process(
            [
                *(sys.executable, "-m", "gunicorn", "tests.faults.wsgi:application", "--no-control-socket"),
                *("--bind", f"127.0.0.1:{port}", "--workers", str(plan.workers), *kind),
                *("--log-level", "warning", "--worker-tmp-dir", "/dev/shm", "--graceful-timeout", "20"),
                *([] if plan.reloads else ["--preload"]),
            ],
            log=site.folder / f"host-{number}.log",
            cwd=ROOT,
            environment=environment,
        )

    def set_clock(self, time: str) -> None:
        new = self.clock.with_suffix(".new")
        new.write_text(time)
        new.replace(self.clock)

    def workers(self) -> list[int]:
        """Return the process ids of the current workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def kill_a_worker(self, rng: random.Random) -> None:
        if workers := self.workers():
            # It may have ended a moment ago: other faults kill workers, too.
            with suppress(ProcessLookupError):
                os.kill(rng.choice(workers), signal.SIGKILL)

    def reload(self) -> None:
        """Start new workers with new settings; the old ones finish their work and end."""
        self.process.send(signal.SIGHUP)
