"""The service `blockusers guard` as a process of its own, to be measured, killed and starved."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final, Self

from blockusers.sandbox import Credentials

APP_SECRET: Final = "0123456789abcdef0123456789abcdef"
_UNLIMITED: Final = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class Service:
    """Starts and ends `blockusers guard` on a store; it always listens on the same port."""

    def __init__(self, store: Path, credentials: Credentials) -> None:
        self.store = store
        self._port = _free_port()
        self._environment = os.environ | {
            "WHATSAPP_APP_SECRET": APP_SECRET,
            "WHATSAPP_VERIFY_TOKEN": "of the benchmark",
            **{f"WHATSAPP_{name.upper()}": str(value) for name, value in credentials.items()},
        }
        self._process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Where webhooks go."""
        return f"http://127.0.0.1:{self._port}/webhook"

    def start(self, *, wait: bool = True) -> Self:
        """Start it, and wait until it listens."""
        command = ["guard", "--port", str(self._port), "--store", str(self.store)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "blockusers", *command],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if not wait else subprocess.DEVNULL,
        )
        while wait and not self._listens():
            if self._process.poll() is not None:
                raise SystemExit("guard: `blockusers guard` did not start")
            time.sleep(0.05)
        return self

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it as its user would."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)

    def last_words(self) -> tuple[int, str]:
        """Wait until a process that cannot start has ended; return its status and its message."""
        _, said = self._process.communicate(timeout=30)
        return self._process.returncode, said.decode()

    def limit_files(self, size: int | None) -> None:
        """Let every write behind this size of a file fail, as on a full disk; None lets it pass."""
        limit = _UNLIMITED if size is None else (size, resource.RLIM_INFINITY)
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, limit)

    @property
    def memory(self) -> int:
        """The most memory that it has taken, in bytes."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        return next(
            int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")
        )

    @property
    def cpu(self) -> float:
        """The CPU seconds that it has used."""
        return cpu_of(self._process.pid)

    def _listens(self) -> bool:
        try:
            with urllib.request.urlopen(self.url.replace("webhook", "healthz"), timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False


def cpu_of(process: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").split()
    return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
