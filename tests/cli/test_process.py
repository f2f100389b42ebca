"""How commands end: signals, closed pipes, errors, and what a shell sees of them."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer

from blockusers.cli import app as cli
from blockusers.cli import process
from blockusers.cli.process import (
    Interrupted,
    UsageError,
    describe,
    leaving_reader,
    plain_words,
)
from blockusers.cli.screen import Talk
from blockusers.sandbox import glitches

if TYPE_CHECKING:
    from collections.abc import Callable

    from blockusers.sandbox import Sandbox

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
        self._sent = time.monotonic()
        os.kill(os.getpid(), self._number)

    def seconds_ago(self) -> float:
        self.join()
        return time.monotonic() - self._sent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_job_says_what_is_done(
    command: Any, sandbox: Sandbox, tmp_path: Path, number: int
) -> None:
    """Within a second: exit code 130, what is certain, and of all others that it is not."""
    users = [f"+1650556{n:04}" for n in range(6000)]
    path = tmp_path / "out.csv"
    sandbox.glitch(glitches.hang_before(), at=range(3, 100))
    path.touch()
    sent = Signal(number, lambda: len(path.read_bytes().splitlines()) > 2000)

    ran = command("block", "-f", "-", "-o", path, "--json", stdin="\n".join(users))

    assert sent.seconds_ago() < 1
    assert ran.code == 130
    assert "blocked 2,000 of 6,000 users" in ran.stderr
    assert "6,000 inputs = 0 repeats + 6,000 users" in ran.stderr
    assert re.search("2,000 done, [1-4],000 unknown", ran.stderr)
    assert "interrupted\nTo go on, run the same line again" in ran.stderr
    assert len(path.read_text().splitlines()) == 1 + 6000


def test_an_interruption_before_the_job_is_one_too(
    bare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While stdin is read, say."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "gather", interrupt)
    ran = bare("block", ANN)

    assert (ran.code, ran.stderr) == (130, "blockusers: interrupted\n")


def test_a_listing_can_be_interrupted(command: Any, sandbox: Sandbox) -> None:
    """It has nothing to report."""
    sandbox.glitch(glitches.hang_before())
    sent = Signal(signal.SIGINT, lambda: sandbox.requests)

    ran = command("list")

    assert sent.seconds_ago() < 1
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
    with pytest.raises(typer.Exit), plain_words(debug=False):
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
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(13, "Permission denied", "a.csv"), "a.csv: Permission denied"),
        (
            ValueError("bad +16505550001"),
            "a fault of blockusers itself: ValueError: bad +1650…01; see --debug",
        ),
    ],
)
def test_describes_errors_in_a_line(error: Exception, line: str) -> None:
    """What went wrong, and no number in it."""
    assert describe(error) == line


@pytest.mark.parametrize("debug", [True, False])
def test_shows_a_traceback_only_if_asked(
    capsys: pytest.CaptureFixture[str], *, debug: bool
) -> None:
    """And ends with the same line and code."""
    with pytest.raises(typer.Exit) as caught, plain_words(debug=debug):
        raise ValueError("odd")

    stderr = capsys.readouterr().err
    assert caught.value.exit_code == 3
    assert ("Traceback" in stderr) is debug
    assert stderr.endswith(
        "blockusers: a fault of blockusers itself: ValueError: odd; see --debug\n"
    )


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
    """Writing to nobody ends the block in silence, and the last flush does not fail."""
    monkeypatch.setattr(sys, "stdout", closed_pipe)

    with leaving_reader():
        print("for nobody", flush=True)  # noqa: T201  # the pipe is what is tested
    print("for nobody", flush=True)  # noqa: T201


def test_talking_to_nobody_does_no_harm(
    closed_pipe: io.TextIOWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work goes on when stderr is closed."""
    talk = Talk()
    monkeypatch.setattr(sys, "stderr", closed_pipe)

    talk.print("for nobody")
    talk.print("for nobody")

    assert talk.quiet


# As a shell sees it.


def shell(line: str, **env: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        env={**os.environ, **env, "PATH": path, "BLOCKUSERS": " ".join(PROGRAM)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_works_in_a_pipe(environment: dict[str, str], sandbox: Sandbox) -> None:
    """A list in, JSON out, no control codes, no traceback; head may leave early."""
    users = "".join(f"+1650557{n:04}\\n" for n in range(3000))
    line = f"printf '{users}' | $BLOCKUSERS block -f - && $BLOCKUSERS list | head -2"
    ran = shell(line, **environment)

    assert ran.returncode == 0
    assert ran.stdout.splitlines() == ["16505570000", "16505570001"]
    assert "blocked 3,000 of 3,000 users" in ran.stderr
    assert "Broken" not in ran.stderr
    assert "\x1b" not in ran.stderr
    assert len(sandbox.blocklist()) == 3000


def test_ctrl_c_ends_a_real_process(environment: dict[str, str], sandbox: Sandbox) -> None:
    """Within a second, with 130 and a word about what is left."""
    sandbox.glitch(glitches.hang_before(), times=None)
    with subprocess.Popen(
        [*PROGRAM, "block", ANN, BEN],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        while not sandbox.requests:
            time.sleep(0.01)
        began = time.monotonic()
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=10)

    assert running.returncode == 130
    assert time.monotonic() - began < 1
    assert "2 unknown" in stderr
    assert "Traceback" not in stderr


def test_loops_are_left_as_they_were() -> None:
    """A command leaves no signal handler behind."""
    before = signal.getsignal(signal.SIGTERM)
    process.run(asyncio.sleep(0))

    assert signal.getsignal(signal.SIGTERM) == before
