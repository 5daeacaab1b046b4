"""The servers of the comparison, and how one is prepared, started and stopped."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.measuring import children

ROOT: Final = Path(__file__).resolve().parents[1]
WORKERS: Final = 2
THREADS: Final = 4
_SECONDS_TO_START: Final = 60


@dataclass(frozen=True, kw_only=True)
class Server:
    """One row of the table."""

    name: str
    label: str
    site: str
    environment: Mapping[str, str] = field(default_factory=dict)
    needs_postgresql: bool = False

    @property
    def application(self) -> str:
        """The application that gunicorn serves."""
        return (
            "benchmarks.sites.floor.app:application"
            if self.site == "floor"
            else "benchmarks.wsgi:application"
        )


SERVERS: Final = (
    Server(name="ours", label="ours, RS256", site="ours"),
    Server(name="ours_es256", label="ours, ES256", site="ours", environment={"BENCHMARK_ALGORITHM": "ES256"}),
    Server(name="floor", label="floor", site="floor", needs_postgresql=True),
    Server(name="authlib", label="Authlib", site="authlib", environment={"AUTHLIB_INSECURE_TRANSPORT": "1"}),
    Server(name="simplejwt", label="simplejwt", site="simplejwt"),
    Server(
        name="allauth_md5", label="allauth idp, MD5", site="allauth", environment={"BENCHMARK_HASHER": "md5"}
    ),
    Server(
        name="toolkit_md5",
        label="oauth-toolkit, MD5",
        site="oauth_toolkit",
        environment={"BENCHMARK_HASHER": "md5"},
    ),
    Server(name="allauth", label="allauth idp", site="allauth"),
    Server(name="toolkit", label="oauth-toolkit", site="oauth_toolkit"),
)


@dataclass
class Running:
    """A running server with a database of its own."""

    server: Server
    process: subprocess.Popen[bytes]
    port: int
    target: Path
    database_url: str
    environment: Mapping[str, str]
    log: Path
    workers: frozenset[int] = frozenset()
    """The process ids of gunicorn's workers, which do not change unless something fails."""

    def described(self) -> dict[str, Any]:
        """Return what `benchmarks.seed` found out about it."""
        described: dict[str, Any] = json.loads(self.target.read_text())
        return described

    def load(self, *, connections: int, seconds: float) -> dict[str, Any]:
        """Run the load generator and return what it printed."""
        arguments = [str(self.port), str(self.target), str(connections), str(seconds)]
        printed = run("benchmarks.load", *arguments, environment=self.environment)
        result: dict[str, Any] = json.loads(printed)
        return result

    def stop(self) -> None:
        """End gunicorn and its workers."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def start(
    server: Server,
    *,
    database_url: str,
    folder: Path,
    chains: int,
    threads: bool = False,
    sessions: int = 0,
) -> Running:
    """Fill a server's empty database and start it.

    Args:
        server: the server.
        database_url: the URL of an existing, empty database.
        folder: where the key is kept, and what one run leaves for the next.
        chains: how many sessions to begin.
        threads: whether gunicorn runs threads (gthread) rather than one request at a time (sync).
        sessions: how many other sessions there are, if the server is ours.

    Raises:
        RuntimeError: it could not be prepared, or does not answer.
    """
    target = folder / f"{database_url.rpartition('/')[2]}.json"
    environment = environment_of(server, database_url, folder)
    run("benchmarks.seed", server.site, str(chains), str(target), str(sessions), environment=environment)
    port = _free_port()
    kind = ["--worker-class", "gthread", "--threads", str(THREADS)] if threads else []
    command = [sys.executable, "-m", "gunicorn", server.application, "--bind", f"127.0.0.1:{port}", *kind]
    log = folder / f"{server.name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--workers", str(WORKERS), "--log-level", "warning", "--no-control-socket"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )
    running = Running(server, process, port, target, database_url, environment, log)
    _wait(running)
    return running


def environment_of(server: Server, database_url: str, folder: Path) -> dict[str, str]:
    """Return what the processes of a server find in their environment."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": f"benchmarks.sites.{server.site}.settings",
        "DATABASE_URL": database_url,
        "BENCHMARK_RSA_KEY": str(_rsa_key(folder)),
        **server.environment,
    }


def run(module: str, *arguments: str, environment: Mapping[str, str]) -> str:
    """Run a module in the environment of a server and return what it printed.

    Raises:
        RuntimeError: it failed.
    """
    finished = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise RuntimeError(f"{module} {' '.join(arguments)}: {finished.stderr[-3000:]}")
    return finished.stdout


def _wait(running: Running) -> None:
    """Wait for the port and for all workers: the port is open before the first of them is forked."""
    until = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < until and running.process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", running.port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
            continue
        running.workers = frozenset(children(running.process.pid))
        if len(running.workers) == WORKERS:
            return
        time.sleep(0.1)
    raise RuntimeError(f"{running.server.name} does not answer")


def _rsa_key(folder: Path) -> Path:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path = folder / "rsa.pem"
    if not path.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port
