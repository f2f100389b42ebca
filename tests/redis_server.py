"""Starts a real redis-server for tests: fixtures `redis_url` (shared, empty) and `own_redis`.

Without redis-server the tests that need it are skipped, or fail if `TEST_REDIS=required`.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import pytest
import redis

_MISSING = "redis-server is not installed: apt-get install redis-server, or brew install redis"
_SILENT = ("--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning")
_PATIENCE = 20.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@attrs.define
class RedisServer:
    """A redis-server on loopback, which keeps nothing on disk unless *options* say so."""

    folder: Path
    options: Sequence[str] = ()
    port: int = attrs.field(factory=_free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self) -> redis.Redis:
        """Return a client that waits for each answer, for use as a context manager."""
        return redis.Redis.from_url(self.url, socket_timeout=_PATIENCE)

    def start(self) -> None:
        """Start it, on the same port if it ran before; return when it answers."""
        place = ("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder))
        command = ["redis-server", *place, *_SILENT, *self.options]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        ends = time.monotonic() + _PATIENCE
        while not _answers(self.port):
            assert self._process.poll() is None, f"redis-server ended: {' '.join(command)}"
            assert time.monotonic() < ends, "redis-server does not answer"
            time.sleep(0.005)

    def kill(self) -> None:
        """End it at once; what it kept is gone."""
        if self._process is not None:
            self.resume()
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Let it hang: connections stay open, and nothing is answered before `resume`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(1) in (b"+", b"-")  # `-` is one that wants a password
    except OSError:
        return False


def needs_redis() -> None:
    """Skip the test if redis-server is missing; fail it where it must be there, as in CI."""
    if shutil.which("redis-server") is None:
        end = pytest.fail if os.environ.get("TEST_REDIS") == "required" else pytest.skip
        end(_MISSING)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server for all tests of the session, which must leave it running and as it is set."""
    needs_redis()
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of a server that holds nothing."""
    with redis_server.client() as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server for one test, which may kill, pause and configure it."""
    needs_redis()
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()
