"""How commands end: signals, closed pipes, errors, and what a shell sees of them."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from blockusers.cli import process
from blockusers.cli.process import (
    Interrupted,
    UsageError,
    describe,
    emit,
    error_boundary,
    error_object,
    printable,
)
from blockusers.cli.screen import ErrorConsole
from blockusers.sandbox import Rules, Sandbox, glitches
from blockusers.values.errors import AuthenticationError, ConnectionFailed
from tests.support import until_it_waits

if TYPE_CHECKING:
    from collections.abc import Callable

ANN, BEN = "+16505550001", "+447911123456"
PROGRAM = [sys.executable, "-m", "blockusers"]


class Signal(threading.Thread):
    """Sends this process a signal as soon as it is *ready*."""

    def __init__(self, number: int, ready: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._number = number
        self._ready = ready
        self.start()

    def run(self) -> None:
        while not self._ready():
            time.sleep(0.001)
        os.kill(os.getpid(), self._number)


def test_a_signal_that_comes_twice_is_one() -> None:
    """`timeout` sends two at a time, so what is left to do has its time all the same."""
    done = []

    async def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.001)
            done.append("what was left")

    with pytest.raises(typer.Exit), error_boundary(debug=False):
        process.run(work(), on_wait=lambda: None, patience=60)

    assert done == ["what was left"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_job_says_what_is_done(
    command: Any, sandbox: Sandbox, tmp_path: Path, number: int
) -> None:
    """At once: exit code 130, what is certain, what is not, and what is left."""
    users = [f"+1650556{n:04}" for n in range(6000)]
    path = tmp_path / "out.csv"
    sandbox.glitch(glitches.hang_before(), at=range(3, 100))
    path.touch()
    sent = Signal(number, lambda: len(path.read_bytes().splitlines()) > 2000)

    ran = command("block", "-f", "-", "-o", path, "--json", stdin="\n".join(users))

    sent.join()
    assert ran.code == 130
    assert "blocked 2,000 of 6,000 users" in ran.stderr
    assert "2,000 done, " in ran.stderr  # how many had left by then is chance
    assert "interrupted\nTo go on, run the same line again" in ran.stderr
    rows = path.read_text().splitlines()
    assert sum(",done," in row for row in rows) == 2000


def test_an_interruption_before_the_job_is_one_too(
    at_terminal: Any, sandbox: Sandbox, tmp_path: Path
) -> None:
    """While stdin is read, say; the journal is open already."""
    journal = tmp_path / "out.csv"
    lock = Path(f"{journal}.lock")
    sent = Signal(signal.SIGINT, lambda: lock.exists() and (until_it_waits(), True))
    ran = at_terminal("block", "--file", "-", "--output", journal)

    sent.join()
    assert ran.code == 130
    assert "Ctrl-D ends the list" in ran.stderr
    assert "blockusers: interrupted" in ran.stderr
    assert sandbox.requests == ()


def test_a_list_can_be_typed(at_terminal: Any, sandbox: Sandbox) -> None:
    """Ctrl-D ends it."""
    ran = at_terminal("block", "-f", "-", keys=[("Ctrl-D", f"{ANN}\n".encode()), (ANN, b"\x04")])

    assert ran.code == 0
    assert sandbox.blocklist() == {ANN[1:]}


def test_a_listing_can_be_interrupted(command: Any, sandbox: Sandbox) -> None:
    """It has nothing to report."""
    sandbox.glitch(glitches.hang_before())
    sent = Signal(signal.SIGINT, lambda: sandbox.requests)

    ran = command("list")

    sent.join()
    assert (ran.code, ran.stderr) == (130, "blockusers: interrupted\n")


def test_a_second_signal_cuts_nothing_short(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither while the work is being cancelled, nor while it is told how that ended."""
    told = list[str]()

    async def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(60)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.01)
            told.append("last words")

    def command() -> None:
        try:
            process.run(work())
        except Interrupted:
            os.kill(os.getpid(), signal.SIGINT)
            told.append("summary")
            raise

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(typer.Exit), error_boundary(debug=False):
        command()

    assert told == ["last words", "summary"]
    assert signal.getsignal(signal.SIGINT) is before
    assert capsys.readouterr().err == "blockusers: interrupted\n"


def test_runs_in_a_thread_too() -> None:
    """Where there are no signals."""
    ran = list[str]()

    async def work() -> None:
        ran.append("work")

    thread = threading.Thread(target=lambda: process.run(work()))
    thread.start()
    thread.join()

    assert ran == ["work"]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UsageError("say --file"), "say --file"),
        (OSError(28, "No space left on device"), "no space left on device"),
        (OSError(13, "Permission denied", "a.csv"), "a.csv: permission denied"),
        (ConnectionFailed("cannot reach it", errno=111), "cannot reach it"),
        (
            ValueError("bad +16505550001"),
            "internal error: ValueError: bad +1650…01; --debug shows where",
        ),
        (EOFError(), "internal error: EOFError; --debug shows where"),
    ],
)
def test_describes_errors_in_a_line(error: Exception, line: str) -> None:
    """What went wrong, and no number in it."""
    assert describe(error) == line


@pytest.mark.parametrize("debug", [True, False])
def test_shows_a_traceback_only_if_asked(
    capsys: pytest.CaptureFixture[str], *, debug: bool
) -> None:
    """Whether it is shown or not, the line and the code are the same."""
    with pytest.raises(typer.Exit) as caught, error_boundary(debug=debug):
        raise ValueError("odd")

    stderr = capsys.readouterr().err
    assert caught.value.exit_code == 3
    assert ("Traceback" in stderr) is debug
    assert stderr.endswith("blockusers: internal error: ValueError: odd; --debug shows where\n")


def test_debug_is_an_environment_variable_too(bare: Any) -> None:
    """For those who cannot change the line."""
    assert "Traceback" in bare("block", ANN, BLOCKUSERS_DEBUG="1").stderr
    assert "Traceback" not in bare("block", ANN).stderr


# Closed pipes.


@pytest.fixture
def closed_pipe() -> Any:
    """A stream whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        yield stream


def test_a_reader_may_leave(closed_pipe: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing to nobody ends the command in silence, and the last flush does not fail."""
    monkeypatch.setattr(sys, "stdout", closed_pipe)

    with pytest.raises(typer.Exit) as caught, error_boundary(debug=False):
        emit("for nobody")
    assert caught.value.exit_code == 0
    print("for nobody", flush=True)  # noqa: T201  # the pipe is what is tested


@pytest.mark.parametrize("command", ["list", "check"])
def test_nobody_reads_a_list(to_nobody: Any, sandbox: Sandbox, command: str) -> None:
    """A reader that closes the pipe, as in `… | head`, is no failure."""
    sandbox.block(ANN)

    assert to_nobody(command, *([ANN] if command == "check" else [])) == 0


@pytest.mark.parametrize(("user", "code"), [(ANN, 0), ("+1650555131047", 1)])
def test_nobody_reads_a_report(to_nobody: Any, user: str, code: int) -> None:
    """The exit code still tells whether all are done."""
    assert to_nobody("block", user, "--json") == code


def test_stdout_may_be_full(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is an error, and said once."""
    with Path("/dev/full").open("w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        with pytest.raises(OSError, match="No space") as caught:
            emit("for nobody")
        patch.undo()
    assert describe(caught.value) == "stdout: no space left on device"


def test_an_error_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """What ends a command is an object on stdout, too, with its code."""
    with pytest.raises(typer.Exit) as caught, error_boundary(debug=False, as_json=True):
        raise AuthenticationError("no", 190, 463, 401, trace_id="AXsg")

    assert caught.value.exit_code == 3
    assert json.loads(capsys.readouterr().out)["error"] == {
        "type": "AuthenticationError",
        "message": "the access token is invalid or expired: create one in Business settings,"
        " System users (190, trace AXsg)",
        "code": 190,
        "subcode": 463,
        "status": 401,
        "trace_id": "AXsg",
    }
    assert error_object(UsageError("no"))["code"] is None


def test_line_ends_are_no_danger() -> None:
    """All else that cannot be printed is escaped."""
    assert printable("a\nb\x1b\ud800") == "a\nb\\x1b\\ud800"


def test_talking_to_nobody_does_no_harm(
    closed_pipe: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work goes on when stderr is closed."""
    talk = ErrorConsole()
    monkeypatch.setattr(sys, "stderr", closed_pipe)

    talk.print("for nobody")
    talk.print("for nobody")

    assert talk.quiet


# As a shell sees it.


CLOSED = [
    ("block -f - <&-", 2, "stdin is closed"),
    (f"block {ANN} --json --output out.csv >&-", 0, "blocked 1 of 1 user"),
    (f"block {ANN} --output out.csv <&- >&- 2>&-", 0, ""),
    ("sync wanted.txt <&-", 2, "stdin is not a terminal"),
    ("list > /dev/full", 3, "stdout: no space left on device"),
]
PIPE = "block -f - --json < <(printf '+1650557%04d\\n' {0..2999}) | head -c 20"


Shells = dict[str, tuple[Path, subprocess.CompletedProcess[str]]]


@pytest.fixture(scope="module")
def shells(tmp_path_factory: pytest.TempPathFactory) -> Shells:
    """Run all lines at the same time, each in a folder of its own; return what became of each."""
    folders = {line: tmp_path_factory.mktemp("shell") for line in (PIPE, *(c[0] for c in CLOSED))}

    def run(line: str) -> subprocess.CompletedProcess[str]:
        (folders[line] / "wanted.txt").write_text(f"{BEN}\n+16505550002")
        with Sandbox(Rules(window=None)) as sandbox:
            sandbox.block(BEN)
            env = {f"WHATSAPP_{name.upper()}": str(v) for name, v in sandbox.credentials.items()}
            return shell(f"cd {folders[line]} && $BLOCKUSERS {line}", **env)

    with ThreadPoolExecutor() as threads:
        ran = zip(folders, threads.map(run, folders), strict=True)
        return {line: (folders[line], one) for line, one in ran}


@pytest.mark.parametrize(("line", "code", "says"), CLOSED)
def test_any_stream_may_be_closed(shells: Shells, *, line: str, code: int, says: str) -> None:
    """No traceback, and no file of ours in the place of a closed stream."""
    folder, ran = shells[line]

    assert ran.returncode == code
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "Exception" not in ran.stderr
    if "out.csv" in line:
        assert len((folder / "out.csv").read_text().splitlines()) == 2


def shell(line: str, **env: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        env={
            **os.environ,
            **env,
            "PATH": path,
            "PYTHONPATH": str(Path.cwd()),
            "BLOCKUSERS": " ".join(PROGRAM),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_works_in_a_pipe(shells: Shells) -> None:
    """A list in, JSON out, no control codes, no traceback; head may leave early."""
    _, ran = shells[PIPE]

    assert ran.returncode == 0
    assert ran.stdout == '{"operation": "block'
    assert "blocked 3,000 of 3,000 users" in ran.stderr
    assert "Broken" not in ran.stderr
    assert "\x1b" not in ran.stderr


def test_ctrl_c_ends_a_real_process(environment: dict[str, str], sandbox: Sandbox) -> None:
    """It ends with 130 and says what is left, long before a request would time out."""
    sandbox.glitch(glitches.hang_before(), times=None)
    with subprocess.Popen(
        [*PROGRAM, "block", ANN, BEN],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        while not sandbox.requests:
            time.sleep(0.01)
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=20)

    assert running.returncode == 130
    assert "2 unknown" in stderr
    assert "Traceback" not in stderr
