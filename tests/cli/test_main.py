"""How the program is started, and what it says about itself."""

from __future__ import annotations

import io
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import blockusers.__main__
from blockusers.__main__ import main


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """A program that ends need not care for signals; this process goes on."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


DENY = ("add", "remove", "list", "check", "import", "export", "erase", "status")
COMMANDS = (
    *("block", "unblock", "sync", "list", "check", "guard", "sandbox", "demo", "deny"),
    *(f"deny {command}" for command in DENY),
)


def start(monkeypatch: pytest.MonkeyPatch, *args: str) -> object:
    monkeypatch.setattr(sys, "argv", ["blockusers", *args])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


def test_tells_its_version(bare: Any) -> None:
    """On stdout, with the name of the program."""
    assert bare("--version").stdout == f"blockusers {blockusers.__version__}\n"


def test_without_a_command_it_helps(bare: Any) -> None:
    """All commands are there, and where to begin."""
    shown = bare()

    for command in {name.split()[0] for name in COMMANDS}:
        assert command in shown.stdout + shown.stderr
    assert "blockusers demo" in shown.stdout + shown.stderr


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("width", ["60", "80"])
def test_help_teaches_by_examples(bare: Any, command: str, width: str) -> None:
    """Each command has two lines or more that can be copied."""
    help_text = bare(*command.split(), "--help", COLUMNS=width).stdout

    assert help_text.count(f"blockusers {command}") >= 3
    assert "[cyan]" not in help_text
    assert all(len(line) <= int(width) for line in help_text.splitlines())


def test_completes_in_shells(bare: Any) -> None:
    """Typer's completion stays on."""
    assert "--install-completion" in bare("--help").stdout


def test_starts_as_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m blockusers` is the same program."""
    monkeypatch.setattr(sys, "argv", ["blockusers", "check", "+16505550001"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(blockusers.__main__.__file__, run_name="__main__")

    assert caught.value.code == 0


def test_is_installed_as_a_program() -> None:
    """The program runs as a module as well, in a process of its own."""
    line = [sys.executable, "-m", "blockusers", "--version"]

    assert blockusers.__version__ in subprocess.check_output(line, text=True)


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_says_how_to_install_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    """Without the extra there is one line, and the code of a wrong usage."""
    for name in [name for name in sys.modules if name.startswith("blockusers.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)

    assert start(monkeypatch, "--version") == 2
    said = capsys.readouterr().err
    assert 'pip install "blockusers[cli]"' in said
    assert 'in a clone pip install ".[cli]"' in said


def test_passes_on_other_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken installation is not taken for a missing extra."""
    for name in [name for name in sys.modules if name.startswith("blockusers.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "orjson", None)
    monkeypatch.setattr(sys, "argv", ["blockusers", "--version"])

    with pytest.raises(ModuleNotFoundError):
        main()


def test_a_terminal_need_not_know_all_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it cannot show is escaped."""
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="latin-1"))

    assert start(monkeypatch, "check", "+1650555000\u0661") == 0
    assert shown.getvalue().startswith(b"+1650555000\\u0661: phone number")


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_a_stream_can_be_closed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Something else takes its place, apart from stdin."""
    monkeypatch.setattr(sys, name, None)
    opened = list[int]()
    real = os.open
    monkeypatch.setattr(os, "open", lambda *args: opened.append(real(*args)) or opened[-1])

    assert start(monkeypatch, "check", "+16505550001") == 0
    assert (getattr(sys, name) is None) is (name == "stdin")
    os.close(opened[0]) if name == "stdin" else getattr(sys, name).close()


def test_can_be_interrupted_while_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in the first moment is no traceback either."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(blockusers.__main__, "_occupy_closed_streams", interrupt)

    assert start(monkeypatch, "--version") == 130
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # while Python ends


def test_flags_take_no_value(bare: Any) -> None:
    """So the help shows none beside them."""
    for args in (["--help"], *([*command.split(), "--help"] for command in COMMANDS)):
        shown = bare(*args)
        assert "<bool>" not in shown.stdout
        assert "BOOLEAN" not in shown.stdout


def test_stdout_can_be_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a file in memory."""
    monkeypatch.setattr(sys, "stdout", stdout := io.StringIO())

    assert start(monkeypatch, "--version") == 0
    assert blockusers.__version__ in stdout.getvalue()


def test_the_library_does_not_need_the_command_line() -> None:
    """Typer and Rich are loaded by nobody who does not ask for them."""
    check = "import sys, blockusers; print({'typer', 'rich', 'blockusers.cli'} & {*sys.modules})"

    assert subprocess.check_output([sys.executable, "-c", check], text=True) == "set()\n"
