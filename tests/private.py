"""Servers that a test starts for itself, to stop, freeze and empty them as it likes.

    with private_redis() as redis:
        redis.freeze()

They take no part in what else runs on the machine, and nothing of them is left when the block ends, whatever
happened in it. To use one, see ``open_private_broker()`` of tests/workers.py and ``use_database()`` of
tests/databases.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TypeVar

from tests.server import HOST, Server, SilentPort, find_program, refused_port

__all__ = [
    "MariaDB",
    "Postgres",
    "RabbitMQ",
    "Redis",
    "SilentPort",
    "private_mariadb",
    "private_postgres",
    "private_rabbitmq",
    "private_redis",
    "refused_port",
]


class Redis(Server):
    """Redis that keeps its data through ``restart()``, unlike through ``kill()``."""

    name = "redis"
    programs = ("redis-server",)

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @property
    def command(self) -> list[str]:
        options = {"port": self.port, "bind": HOST, "dir": self.folder, "save": "3600 1", "appendonly": "no"}
        # It would refuse to write when it can't fork; these data are worth nothing.
        options["stop-writes-on-bgsave-error"] = "no"
        return [
            str(find_program("redis-server")),
            *(part for key, value in options.items() for part in (f"--{key}", str(value))),
        ]

    def is_up(self) -> bool:
        return self._ask(b"PING\r\n", lambda answer: answer.startswith(b"+PONG"))

    def empty(self) -> None:
        assert self._ask(b"FLUSHALL\r\n", lambda answer: answer.startswith(b"+OK"))


class RabbitMQ(Server):
    """RabbitMQ, a node by itself, with a port mapper of its own."""

    name = "rabbitmq"
    programs = ("rabbitmq-server", "rabbitmqctl", "epmd")

    def __init__(self) -> None:
        super().__init__()
        self.mapper_port, self.peer_port = refused_port(), refused_port()
        self.mapper: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.port}//"

    @property
    def command(self) -> list[str]:
        return [str(find_program("rabbitmq-server"))]

    @property
    def environ(self) -> Mapping[str, str]:
        return {
            # Where the secret that its programs share is.
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self.mapper_port),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_FLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_NODENAME": f"private_{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.peer_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "logs"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self.folder / "advanced"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "environ"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            # Without a shell around it, which would outlive the kill.
            "RUNNING_UNDER_SYSTEMD": "1",
        }

    def prepare(self) -> None:
        (self.folder / "environ").touch()
        (self.folder / "plugins").write_text("[].")

    def start(self) -> None:
        if not self.mapper:
            # The node would start one that stays for ever.
            self.mapper = self.spawn([str(find_program("epmd")), "-port", str(self.mapper_port), "-address", HOST])
        super().start()

    def is_up(self) -> bool:
        # A client of another version is told the server's own.
        return self._ask(b"AMQP\0\0\0\0", lambda answer: answer.startswith(b"AMQP"))

    def empty(self) -> None:
        """Delete the messages of all queues; those that were handed to a consumer aren't in one."""
        self.run("rabbitmqctl", "eval", "[rabbit_amqqueue:purge(Q) || Q <- rabbit_amqqueue:list()].")

    def remove(self) -> None:
        self.kill()
        if self.mapper:
            self.mapper.kill()
            self.mapper.wait()
        super().remove()


class Postgres(Server):
    """PostgreSQL with a superuser ``postgres`` that needs no password."""

    name = "postgres"
    programs = ("initdb", "postgres", "psql", "pg_isready")
    # "Fast": sessions are ended rather than waited for.
    ending = signal.SIGINT
    user = "postgres"

    @property
    def settings(self) -> dict[str, str]:
        """What of an entry of DATABASES says where it is."""
        return {"HOST": HOST, "PORT": str(self.port), "USER": "postgres", "PASSWORD": ""}

    @property
    def command(self) -> list[str]:
        options = {"port": self.port, "listen_addresses": HOST, "unix_socket_directories": self.folder}
        # What isn't on the disk when the machine itself goes down is no loss here.
        options |= {"fsync": "off", "max_connections": 200}
        return [
            *(str(find_program("postgres")), "-D", str(self.folder / "data")),
            *(part for key, value in options.items() for part in ("-c", f"{key}={value}")),
        ]

    def prepare(self) -> None:
        self.run(
            "initdb",
            "-D",
            str(self.folder / "data"),
            "-U",
            "postgres",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        )

    def is_up(self) -> bool:
        with suppress(subprocess.CalledProcessError):
            self.run("pg_isready", "--quiet", "--timeout=1", f"--host={HOST}", f"--port={self.port}")
            return True
        return False

    def query(self, sql: str, database: str = "postgres") -> str:
        """Return what psql prints, unaligned."""
        where = (f"--host={HOST}", f"--port={self.port}", "--username=postgres", f"--dbname={database}")
        return self.run(
            "psql", *where, "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", f"--command={sql}"
        ).strip()

    def terminate_connections(self, limit: int | None = None) -> int:
        """End the sessions of clients, ``limit`` of them by chance, and return how many."""
        chosen = f"ORDER BY random() LIMIT {'ALL' if limit is None else limit}"
        return int(
            self.query(
                "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity"
                f" WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' {chosen}) AS chosen"
            )
        )

    def empty(self) -> None:
        """Drop every database but its own."""
        names = self.query("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'")
        for name in names.split():
            self.query(f'DROP DATABASE "{name}" WITH (FORCE)')


class MariaDB(Server):
    """MariaDB with a user ``root`` that needs no password."""

    name = "mariadb"
    programs = ("mariadb-install-db", "mariadbd", "mariadb")

    @property
    def settings(self) -> dict[str, str]:
        """What of an entry of DATABASES says where it is."""
        return {"HOST": HOST, "PORT": str(self.port), "USER": "root", "PASSWORD": ""}

    @property
    def _files(self) -> list[str]:
        # It runs as root only when it is told to.
        account = [f"--user={os.environ.get('USER', 'root')}"] if os.geteuid() == 0 else []
        return ["--no-defaults", f"--datadir={self.folder / 'data'}", *account]

    @property
    def command(self) -> list[str]:
        options = {
            "port": self.port,
            "bind-address": HOST,
            "socket": self.folder / "socket",
            "pid-file": self.folder / "pid",
            "innodb-flush-log-at-trx-commit": 0,
            "innodb-buffer-pool-size": "64M",
            "max-connections": 200,
        }
        return [str(find_program("mariadbd")), *self._files, *(f"--{key}={value}" for key, value in options.items())]

    def prepare(self) -> None:
        self.run("mariadb-install-db", *self._files, "--auth-root-authentication-method=normal", "--skip-test-db")

    def is_up(self) -> bool:
        # The first packet of the handshake gives the version of the protocol, 10.
        return self._ask(b"", lambda answer: answer[4:5] == b"\n")

    def query(self, sql: str) -> str:
        """Return what its client prints, in columns."""
        where = ("--no-defaults", f"--host={HOST}", f"--port={self.port}", "--user=root", "--protocol=tcp")
        return self.run("mariadb", *where, "--batch", "--skip-column-names", f"--execute={sql}").strip()

    def terminate_connections(self, limit: int | None = None) -> int:
        """End the sessions of clients, ``limit`` of them by chance, and return how many."""
        ids = self.query(
            "SELECT id FROM information_schema.processlist WHERE id <> connection_id()"
            " AND user NOT IN ('system user', 'event_scheduler', 'unauthenticated user') ORDER BY rand()"
        ).split()[:limit]
        ended = 0
        for number in ids:
            # One may have gone by itself since.
            with suppress(subprocess.CalledProcessError):
                self.query(f"KILL {number}")
                ended += 1
        return ended

    def empty(self) -> None:
        """Drop every database but its own."""
        own = ("mysql", "sys", "information_schema", "performance_schema")
        for name in self.query("SHOW DATABASES").split():
            if name not in own:
                self.query(f"DROP DATABASE `{name}`")


Kind = TypeVar("Kind", bound=Server)


@contextmanager
def _running(server: Kind) -> Iterator[Kind]:
    try:
        server.prepare()
        server.start()
        yield server
    finally:
        server.remove()


def private_redis() -> AbstractContextManager[Redis]:
    """Run a Redis for the length of the block."""
    return _running(Redis())


def private_rabbitmq() -> AbstractContextManager[RabbitMQ]:
    """Run a RabbitMQ for the length of the block; it takes some seconds to start."""
    return _running(RabbitMQ())


def private_postgres() -> AbstractContextManager[Postgres]:
    """Run a PostgreSQL for the length of the block."""
    return _running(Postgres())


def private_mariadb() -> AbstractContextManager[MariaDB]:
    """Run a MariaDB for the length of the block."""
    return _running(MariaDB())
