"""Runs commands in this process, against a real sandbox over real HTTP."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
import pytest
import typer
from typer.testing import CliRunner

from blockusers.cli.app import app
from blockusers.sandbox import Rules, Sandbox
from tests.support import until_it_waits

VARIABLES = (
    "PHONE_NUMBER_ID",
    "ACCESS_TOKEN",
    "APP_SECRET",
    "API_VERSION",
    "BASE_URL",
    "VERIFY_TOKEN",
)


PROGRAM = typer.main.get_command(app)
"""Built once: calling `app` builds all commands anew, which takes longer than most tests."""


def run_app(args: Sequence[object]) -> int:
    with pytest.raises(SystemExit) as caught:
        PROGRAM.main([str(arg) for arg in args], prog_name="blockusers")
    return int(str(caught.value.code))


@attrs.frozen
class Ran:
    code: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()


class Command(Protocol):
    def __call__(self, *args: object, stdin: str | bytes = "", **env: str | None) -> Ran: ...


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command without any credentials."""
    for name in (
        "BLOCKUSERS_DEBUG",
        "BLOCKUSERS_HASH_KEY",
        "BLOCKUSERS_STORE",
        "FORCE_COLOR",
        "NO_COLOR",
    ):
        monkeypatch.delenv(name, raising=False)

    def run(*args: object, stdin: str | bytes = "", **env: str | None) -> Ran:
        none = dict.fromkeys((f"WHATSAPP_{name}" for name in VARIABLES), None)
        settings = {**none, "COLUMNS": "80", **env}
        with CliRunner().isolation(input=stdin, env=settings) as (stdout, stderr, _):
            code = run_app(args)
            sys.stdout.flush()
            sys.stderr.flush()
            return Ran(code, stdout.getvalue().decode(), stderr.getvalue().decode())

    return run


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Rules(window=None)) as sandbox:
        yield sandbox


@pytest.fixture
def environment(sandbox: Sandbox) -> dict[str, str]:
    return {f"WHATSAPP_{name.upper()}": str(value) for name, value in sandbox.credentials.items()}


@pytest.fixture
def command(bare: Command, environment: dict[str, str]) -> Command:
    """Run a command with the credentials of the sandbox."""

    def run(*args: object, stdin: str | bytes = "", **env: str | None) -> Ran:
        return bare(*args, stdin=stdin, **{**environment, **env})

    return run


# A pseudo-terminal, with somebody in front of it.


@attrs.define
class Person:
    """Reads what a terminal shows, and presses keys when it shows something and waits."""

    screen: int
    keys: list[tuple[str, bytes | Callable[[], object]]]
    """What to wait for, and what is pressed then, or done."""
    thread: str = "self/task"
    """The folder in `/proc` of who reads the keys."""
    shown: str = ""

    def sit(self) -> None:
        """Read until the terminal is closed."""
        while chunk := self._read():
            self.shown += chunk
            while self.keys and self.keys[0][0] in self.shown:
                until_it_waits(self.thread)
                _, press = self.keys.pop(0)
                if isinstance(press, bytes):
                    os.write(self.screen, press)
                else:
                    press()

    def _read(self) -> str:
        try:
            return os.read(self.screen, 65_536).decode(errors="replace")
        except OSError:  # Linux tells so that nobody has the other end any more
            return ""


def open_terminal(columns: int = 80) -> tuple[int, int]:
    """Return the person's and the program's end of a terminal."""
    person, program = pty.openpty()
    fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return person, program


@pytest.fixture
def at_terminal(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Run a command in this process, with stdin and stderr at a terminal, or stderr in a *log*.

    With *whole* stdout is at the terminal, too; what that shows is in `stderr`.  Nothing presses
    Ctrl-C for a process that is not alone there: that is a signal here.
    """

    def run(
        *args: object,
        keys: list[Any] = [],  # noqa: B006
        log: Path | None = None,
        whole: bool = False,
        **env: str,
    ) -> Ran:
        for name in ("BLOCKUSERS_DEBUG", "FORCE_COLOR", "NO_COLOR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {**environment, "COLUMNS": "80", "TERM": "xterm", **env}.items():
            monkeypatch.setenv(name, value)
        mine, its = open_terminal()
        person = Person(mine, list(keys))
        sitting = threading.Thread(target=person.sit)
        sitting.start()
        stdout = io.StringIO()
        with (
            os.fdopen(its) as stdin,
            os.fdopen(os.dup(its), "w") as terminal,
            log.open("w") if log else os.fdopen(os.dup(its), "w") as stderr,
            monkeypatch.context() as patch,
        ):
            patch.setattr(sys, "stdin", stdin)
            patch.setattr(sys, "stdout", terminal if whole else stdout)
            patch.setattr(sys, "stderr", stderr)
            code = run_app(args)
        sitting.join()
        os.close(mine)
        assert not person.keys, person.shown
        return Ran(code, stdout.getvalue(), person.shown)

    return run


AT_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "blockusers", *sys.argv[1:]])
"""


@pytest.fixture
def real_terminal(environment: dict[str, str]) -> Callable[..., Ran]:
    """Run a command in a process of its own, which owns its terminal: all three streams."""

    def run(*args: object, keys: list[Any] = [], **env: str) -> Ran:  # noqa: B006
        mine, its = open_terminal()
        settings = {**os.environ, **environment, "TERM": "xterm", **env}
        settings.pop("COLUMNS", None)
        with subprocess.Popen(
            [sys.executable, "-c", AT_TERMINAL, *map(str, args)],
            stdin=its,
            stdout=its,
            stderr=its,
            env=settings,
            start_new_session=True,
        ) as running:
            os.close(its)
            person = Person(mine, list(keys), str(running.pid))
            person.sit()
            code = running.wait(60)
        os.close(mine)
        assert not person.keys, person.shown
        return Ran(code, person.shown, "")

    return run


@pytest.fixture
def to_nobody(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a command whose stdout is a pipe that nobody reads any more; return its exit code."""

    def run(*args: object) -> int:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as stdout, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stdout)
            return run_app(args)

    return run
