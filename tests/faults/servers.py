"""The databases that the harness runs: PostgreSQL, pgbouncer, MariaDB, Galera with three nodes, SQLite."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.faults.processes import Process, free_ports, give_to, listens, program, unprivileged

NAME = "ciam"
USER = "site"


class Database:
    """A database, with an address for each host of the site."""

    name: str
    nodes = 1
    options: dict[str, Any] = {}
    """The OPTIONS of Django's connections."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        # Servers that do not run as root must be able to enter the folder.
        folder.chmod(0o755)

    def url(self, node: int = 0) -> str:
        raise NotImplementedError

    def start(self) -> None:
        """Start with a new, empty database."""

    def kill(self, node: int = 0) -> None:
        """Kill a node without warning: everything uncommitted is lost."""

    def revive(self, node: int = 0) -> None:
        """Start a killed node again."""

    def stop(self) -> None:
        """Stop everything; this is harmless if parts of it have ended already."""


class SQLite(Database):
    name = "sqlite"

    def url(self, node: int = 0) -> str:
        return f"sqlite:///{self.folder / 'db.sqlite3'}"


class PostgreSQL(Database):
    name = "postgresql"
    # As docs/explanation/performance.md advises.
    options = {"server_side_binding": True, "prepare_threshold": 5}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        [self.port] = free_ports(1)
        folders = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
        self._initdb = program("initdb", *folders)
        self.data = folder / "data"
        self.process = Process(
            [
                program("postgres", *folders),
                *("-D", str(self.data), "-p", str(self.port), "-k", str(self.data)),
                *("-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"),
                # By default PostgreSQL looks for a deadlock after a second: too late for these clients.
                *("-c", "deadlock_timeout=50ms"),
            ],
            log=folder / "server.log",
            account="postgres",
        )

    def url(self, node: int = 0) -> str:
        return self.url_of(NAME)

    def url_of(self, database: str, port: int | None = None) -> str:
        return f"postgres://{USER}@127.0.0.1:{port or self.port}/{database}"

    def start(self) -> None:
        self.data.mkdir(exist_ok=True)
        give_to("postgres", self.data)
        subprocess.run(
            [self._initdb, "-D", str(self.data), "-A", "trust", "-U", USER, "-E", "UTF8", "--no-locale"],
            check=True,
            capture_output=True,
            **unprivileged("postgres"),  # type: ignore[call-overload]
        )
        self.revive()
        self.execute(f"CREATE DATABASE {NAME}", database="postgres")

    def execute(self, statement: str, *, database: str = NAME) -> None:
        import psycopg

        with psycopg.connect(self.url_of(database), autocommit=True) as connection:
            connection.execute(statement)

    def kill(self, node: int = 0) -> None:
        # SIGQUIT: an immediate shutdown, without a checkpoint; the next start recovers from the WAL.
        self.process.end(signal.SIGQUIT)

    def revive(self, node: int = 0) -> None:
        import psycopg

        def answers() -> bool:
            with suppress(psycopg.Error), psycopg.connect(self.url_of("postgres"), connect_timeout=2):
                return True
            return False

        self.process.start()
        self.process.wait_until(answers)

    def stop(self) -> None:
        self.process.end(signal.SIGINT)


class PgBouncer:
    """Transaction pooling between a site and PostgreSQL."""

    def __init__(self, postgresql: PostgreSQL, *, pool_size: int) -> None:
        self.postgresql = postgresql
        [self.port] = free_ports(1)
        configuration = postgresql.folder / f"pgbouncer-{self.port}.ini"
        configuration.write_text(
            "[databases]\n"
            f"{NAME} = host=127.0.0.1 port={postgresql.port} dbname={NAME} user={USER}\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\n"
            f"default_pool_size = {pool_size}\nmax_client_conn = 500\n"
        )
        log = postgresql.folder / "pgbouncer.log"
        self.process = Process([program("pgbouncer"), "-q", str(configuration)], log=log, account="postgres")

    @property
    def url(self) -> str:
        return self.postgresql.url_of(NAME, self.port)

    def start(self) -> None:
        self.process.start()
        self.process.wait_until(lambda: listens(self.port))


class MariaDB(Database):
    name = "mariadb"
    options = {"connect_timeout": 5, "isolation_level": "read committed"}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = MariaDBServer(folder)

    def url(self, node: int = 0) -> str:
        return self.server.url

    def start(self) -> None:
        self.server.install()
        self.server.start()
        self.server.create_database()

    def kill(self, node: int = 0) -> None:
        self.server.process.end(signal.SIGKILL)

    def revive(self, node: int = 0) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.process.end()


class MariaDBServer:
    """One ``mariadbd`` that does not read the system's configuration."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.socket = folder / "server.sock"
        [self.port] = free_ports(1)
        self.process = Process(
            [
                *(program("mariadbd"), "--no-defaults", f"--datadir={self.data}"),
                *(f"--socket={self.socket}", f"--pid-file={folder / 'server.pid'}"),
                *("--bind-address=127.0.0.1", f"--port={self.port}", "--skip-name-resolve"),
                *("--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M"),
                *options,
            ],
            log=folder / "server.log",
            account="mysql",
        )

    @property
    def url(self) -> str:
        return f"mysql://{USER}@127.0.0.1:{self.port}/{NAME}"

    def install(self) -> None:
        give_to("mysql", self.folder)
        subprocess.run(
            [
                *(program("mariadb-install-db"), "--no-defaults", f"--datadir={self.data}"),
                *("--auth-root-authentication-method=normal", "--skip-test-db"),
            ],
            check=True,
            capture_output=True,
            **unprivileged("mysql"),  # type: ignore[call-overload]
        )

    @contextmanager
    def cursor(self) -> Iterator[Any]:
        """Return a cursor of the administrator, who may write even in read-only mode."""
        import MySQLdb

        connection = MySQLdb.connect(unix_socket=str(self.socket), user="root", autocommit=True)
        with closing(connection), closing(connection.cursor()) as cursor:
            yield cursor

    def execute(self, *statements: str) -> None:
        with self.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def answers(self) -> bool:
        import MySQLdb

        with suppress(MySQLdb.Error), self.cursor() as cursor:
            cursor.execute("SELECT 1")
            return True
        return False

    def start(self, *arguments: str) -> None:
        self.process.start(*arguments)
        self.process.wait_until(self.answers)

    def create_database(self) -> None:
        self.execute(
            f"CREATE DATABASE {NAME} CHARACTER SET utf8mb4",
            f"CREATE USER {USER}@'%'",
            f"GRANT ALL ON {NAME}.* TO {USER}@'%'",
        )


class Galera(Database):
    """Three nodes that all accept writes. A conflict between two of them shows only at COMMIT."""

    name = "galera"
    nodes = 3
    # As docs/how-to/databases.md advises: no node is read before it has applied all earlier rotations.
    options = {**MariaDB.options, "init_command": "SET SESSION wsrep_sync_wait=1"}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        provider = "/usr/lib/galera/libgalera_smm.so"
        if not Path(provider).exists():
            program("galera-4's libgalera_smm.so")
        program("rsync")
        groups = [free_ports(3) for _ in range(self.nodes)]
        members = ",".join(f"127.0.0.1:{gmcast}" for gmcast, _, _ in groups)
        self.servers = []
        for number, (gmcast, ist, sst) in enumerate(groups):
            home = folder / f"node-{number}"
            home.mkdir()
            self.servers.append(
                MariaDBServer(
                    home,
                    *("--wsrep-on=ON", f"--wsrep-provider={provider}", "--binlog-format=ROW"),
                    *("--innodb-autoinc-lock-mode=2", "--default-storage-engine=InnoDB"),
                    *(f"--wsrep-cluster-name={NAME}", f"--wsrep-cluster-address=gcomm://{members}"),
                    *(f"--wsrep-node-name=node-{number}", f"--wsrep-node-address=127.0.0.1:{gmcast}"),
                    *("--wsrep-sst-method=rsync", f"--wsrep-sst-receive-address=127.0.0.1:{sst}"),
                    f"--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:{gmcast};"
                    f"ist.recv_addr=127.0.0.1:{ist};gcache.size=32M;"
                    # Shorter than by default, but long enough that on a busy machine no node declares another
                    # dead: a cluster without a majority answers nobody for longer than clients wait.
                    "evs.keepalive_period=PT0.5S;evs.suspect_timeout=PT3S;evs.inactive_timeout=PT8S",
                )
            )

    def url(self, node: int = 0) -> str:
        return self.servers[node].url

    def start(self) -> None:
        first, *others = self.servers
        first.install()
        for server in others:
            shutil.copytree(first.data, server.data)
            give_to("mysql", server.folder)
        first.start("--wsrep-new-cluster")
        # It answers before it takes statements.
        first.process.wait_until(lambda: self._is_synced(first))
        first.create_database()
        for server in others:
            self._join(server)

    def kill(self, node: int = 0) -> None:
        self.servers[node].process.end(signal.SIGKILL)

    def revive(self, node: int = 0) -> None:
        server = self.servers[node]
        # A node that is back before the others have noticed its absence confuses all three for up to half a
        # minute, so a supervisor waits.
        others = [other for other in self.servers if other.process.is_running()]
        for other in others:
            other.process.wait_until(lambda server=other: self._has_members(server, len(others)))
        # A node that reports its last position gets only what it missed, not the whole database.
        log = server.folder / "recovery.log"
        command = [*server.process.command, "--wsrep-recover", f"--log-error={log}"]
        subprocess.run(command, check=False, capture_output=True, **unprivileged("mysql"))  # type: ignore[call-overload]
        positions = re.findall(r"Recovered position:\s*(\S+)", log.read_text(errors="replace"))
        self._join(server, *(f"--wsrep-start-position={position}" for position in positions[-1:]))
        # If the cluster lost another node before all are in sync, it would have no majority. So wait.
        for other in self.servers:
            other.process.wait_until(lambda server=other: self._is_synced(server))

    def stop(self) -> None:
        for server in reversed(self.servers):
            server.process.end()

    def _join(self, server: MariaDBServer, *arguments: str) -> None:
        server.process.start(*arguments)
        server.process.wait_until(lambda: self._is_synced(server))

    def _is_synced(self, server: MariaDBServer) -> bool:
        return self._status(server, "wsrep_local_state_comment") == "Synced"

    def _has_members(self, server: MariaDBServer, number: int) -> bool:
        """Tell whether a node is part of a majority with this number of members."""
        status = self._status(server, "wsrep_cluster_status")
        return status == "Primary" and self._status(server, "wsrep_cluster_size") == str(number)

    @staticmethod
    def _status(server: MariaDBServer, name: str) -> str | None:
        """Return a status variable of a node; None if it does not answer."""
        if not server.answers():
            return None
        with server.cursor() as cursor:
            cursor.execute(f"SHOW STATUS LIKE '{name}'")
            row = cursor.fetchone()
        return None if row is None else str(row[1])


DATABASES: dict[str, type[Database]] = {
    database.name: database for database in (PostgreSQL, MariaDB, Galera, SQLite)
}
