"""A redis-server of the benchmark's own, on loopback, that keeps nothing on disk."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from typing import Final, Self

_OPTIONS: Final = ("--save", "", "--appendonly", "no", "--bind", "127.0.0.1")


class RedisServer:
    """Starts and kills redis-server; it always listens on the same port."""

    def __init__(self) -> None:
        if shutil.which("redis-server") is None:
            raise SystemExit("redis-server is missing: apt-get install redis-server")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port: int = listener.getsockname()[1]
        self._process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self._port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, empty, and wait until it listens."""
        command = ["redis-server", "--port", str(self._port), *_OPTIONS]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not self._listens():
            if self._process.poll() is not None:
                raise SystemExit("redis-server did not start")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it; it forgets everything."""
        self._process.kill()
        self._process.wait()

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
        except OSError:
            return False
        return True
