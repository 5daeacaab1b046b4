"""Processes that the harness starts on free loopback ports, and stops by process id."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

SECONDS_TO_START = 60
_PORTS = range(15_000, 32_000)


class NotThere(Exception):
    """A program that the harness needs is missing or does not start."""


def program(name: str, *folders: str) -> str:
    """Find a program of the system. A missing program is an error: no fault is skipped for it."""
    path = os.pathsep.join([*folders, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise NotThere(f"there is no {name}; `.ci/run` names the Debian packages that are needed")
    return found


def free_ports(count: int) -> list[int]:
    """Return different ports on which nothing listens.

    They are below those that the kernel gives to outgoing connections, because such a connection could take a
    port before the server does.
    """
    ports: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        if len(ports) == count:
            return ports
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.append(port)
    raise NotThere("No free ports on 127.0.0.1")


def wait_until(is_so: Callable[[], bool], what: str, *, seconds: float = SECONDS_TO_START) -> None:
    """Wait for something, but not forever."""
    give_up_at = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > give_up_at:
            raise NotThere(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)


def listens(port: int) -> bool:
    """Tell whether something accepts connections on a port of this host."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def unprivileged(name: str) -> dict[str, object]:
    """Return arguments that, if we are root, run a server as another user: some refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    account = pwd.getpwnam(name)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def give_to(name: str, folder: Path) -> None:
    """Give a folder and its contents to the user that its server runs as."""
    if identity := unprivileged(name):
        for path in (folder, *folder.rglob("*")):
            os.chown(path, identity["user"], identity["group"], follow_symlinks=False)  # type: ignore[arg-type]


class Process:
    """A process that can be started again and again. Its output is appended to a file."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        account: str | None = None,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.command = list(command)
        self.log = log
        self._account = account
        self._cwd = cwd
        self._environment = dict(os.environ) | dict(environment or {})
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._popen is not None
        return self._popen.pid

    def is_running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def start(self, *arguments: str) -> None:
        """Start it, this time with additional `arguments`."""
        assert not self.is_running()
        identity = unprivileged(self._account) if self._account else {}
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(  # type: ignore[call-overload]
                [*self.command, *arguments],
                cwd=self._cwd,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **identity,
            )

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait for a sign of life; if the process ends first, raise with the end of its output."""

        def is_so_or_over() -> bool:
            if not self.is_running():
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])
                raise NotThere(f"{self.command[0]} ended:\n{tail}")
            return is_so()

        wait_until(is_so_or_over, self.command[0])

    def send(self, number: signal.Signals) -> None:
        if self.is_running():
            os.kill(self.pid, number)

    def end(self, number: signal.Signals = signal.SIGTERM, *, seconds: float = 30) -> None:
        """Signal it and wait for its end; kill it if it does not react."""
        if self._popen is None:
            return
        self.send(number)
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self._popen.wait(seconds)
