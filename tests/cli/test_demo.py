"""The sandbox as a program, and the demo."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
from typing import Any

import attrs
import pytest

from blockusers.cli import demo, sample_data
from blockusers.cli.sample_data import MISTAKES, make_sample
from blockusers.sandbox import MAGIC, SANDBOX_TOKEN, Sandbox
from blockusers.values import users as identifiers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def call_and_interrupt(port: int, number: int) -> threading.Thread:
    """Ask the sandbox on *port* something once it runs, then end this process's command."""
    before = signal.getsignal(number)

    def work() -> None:
        while signal.getsignal(number) is before:
            time.sleep(0.001)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            connection.request("GET", "/")
            connection.getresponse().read()
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serves_a_sandbox_until_interrupted(bare: Any, number: int) -> None:
    """It says all that is needed to use it, and to stop it is no failure."""
    port = free_port()
    thread = call_and_interrupt(port, number)
    ran = bare("sandbox", "--port", port)
    thread.join()

    exports = dict(re.findall(r"^export (\w+)=(\S+)$", ran.stdout, re.MULTILINE))
    assert ran.code == 0
    assert exports["WHATSAPP_BASE_URL"] == f"http://127.0.0.1:{port}"
    assert exports["WHATSAPP_ACCESS_TOKEN"] == SANDBOX_TOKEN
    assert f"curl -X POST 'http://127.0.0.1:{port}/v25.0/106540352242922/block_users'" in ran.stdout
    assert "stopped after 1 request" in ran.stderr
    for ending in MAGIC:
        assert ending in ran.stdout


def test_a_sandbox_keeps_the_rules_it_is_given(bare: Any) -> None:
    """The window is a switch."""
    port = free_port()
    thread = call_and_interrupt(port, signal.SIGINT)
    ran = bare("sandbox", "--port", port, "--window", "--rate", 5, "--burst", 2)
    thread.join()

    assert "--no-window lifts" in ran.stdout
    assert "24 hours" in ran.stdout


def test_says_that_a_port_is_taken(bare: Any, sandbox: Sandbox) -> None:
    """It is a wrong usage, and no traceback."""
    port = sandbox.url.rpartition(":")[2]
    ran = bare("sandbox", "--port", port)

    assert ran.code == 2
    assert f"cannot listen at 127.0.0.1:{port}: address already in use; choose" in ran.stderr


# The demo.


def test_the_demo_shows_everything(bare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails some, meets the rate limit, and every user is accounted for."""
    monkeypatch.setattr(demo, "RULES", attrs.evolve(demo.RULES, rate=100.0))
    ran = bare("demo", "--users", "1600")

    assert ran.code == 0
    assert "1,686 lines = 32 repeats + 1,654 users" in ran.stdout
    assert ran.stdout.count("✓") == 4
    assert "✗" not in ran.stdout
    assert "2 more for 6 users that failed" in ran.stdout
    assert "all sent again.\n" in ran.stdout
    for word in ("BSUID", "131047 x 24", "131021 x 1", "input x 7", "139103", "rate limit"):
        assert word in ran.stdout
    assert "\x1b" not in ran.stdout
    assert all(len(line) <= 80 for line in ran.stdout.splitlines())
    assert not re.search(r"\+?\d{12}", ran.stdout)


def test_the_demo_fits_a_terminal(at_terminal: Any) -> None:
    """Of 80x24, together with the line that started it and the prompt after it."""
    shown = at_terminal("demo", "--users", "100", whole=True).stderr
    rows = shown.count("\n") - shown.count("\x1b[1A")  # a bar moves up to draw itself again

    assert rows <= 22
    assert "blockusers check" in shown


@pytest.mark.parametrize(("which", "shown"), [(None, "/x/blockusers"), ("/bin/b", "blockusers")])
def test_the_demos_commands_can_be_copied(
    monkeypatch: pytest.MonkeyPatch, which: str | None, shown: str
) -> None:
    """Also where the program is not on the path, but was started by its own."""
    monkeypatch.setattr(sys, "argv", ["/x/blockusers"])
    monkeypatch.setattr(shutil, "which", lambda _: which)

    assert shown == demo.program()


def test_the_demo_shows_what_is_wrong(bare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were a user lost, it would say so and fail."""
    monkeypatch.setattr(demo, "RULES", attrs.evolve(demo.RULES, magic=False))
    monkeypatch.setattr(Sandbox, "blocklist", lambda _: frozenset({"16505550001"}))
    ran = bare("demo", "--users", "100")

    assert ran.code == 1
    assert "✗ the sandbox has the same" in ran.stdout


@pytest.mark.parametrize("seed", range(3))
def test_sample_data_is_what_it_claims(seed: int) -> None:
    """So many distinct users, no accidental magic, the same for the same seed."""
    made = make_sample(1000, seed)
    keys = {identifiers.read(user).key for user in made.inputs if user not in MISTAKES}

    assert len(keys) + len(MISTAKES) == made.distinct
    assert len(made.inputs) - made.distinct == 20
    assert sum(key[-6:] in MAGIC and "." not in key for key in keys) == 30
    assert made.transient <= keys
    assert make_sample(1000, seed) == made
    assert make_sample(1000, seed + 1) != made


def test_sample_numbers_are_not_magic_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that would be is drawn again."""
    digits = next(user for user in make_sample(100, 1).inputs if re.fullmatch(r"49\d{11}", user))
    monkeypatch.setattr(sample_data, "MAGIC", {digits[-6:]: None})
    inputs = [user for user in make_sample(100, 1).inputs if user not in MISTAKES]

    assert digits not in {identifiers.read(user).key for user in inputs}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_sample_mistakes_are_mistakes(mistake: str) -> None:
    """None of them is a user."""
    with pytest.raises(ValueError, match=r"."):
        identifiers.read(mistake)
