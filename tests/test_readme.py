"""The README's code and the examples, run as they stand against the sandbox."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockusers.sandbox import Rules, Sandbox

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"<!-- (run|pytest) -->\n```(\w+)\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox that the environment names, as a user's would name Meta's account."""
    with Sandbox(Rules(window=None)) as sandbox:
        for name, value in sandbox.credentials.items():
            monkeypatch.setenv(f"WHATSAPP_{name.upper()}", str(value))
        yield sandbox


def test_blocks_are_found() -> None:
    """Every block of a language is marked as to how it is run."""
    fences = re.findall(r"^```(python|sh)$", README, flags=re.MULTILINE)
    assert len(BLOCKS) == len(fences) == 6


@pytest.mark.parametrize(("how", "language", "code"), BLOCKS, ids=range(len(BLOCKS)))
def test_blocks(how: str, language: str, code: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """Each block runs as it stands, without a warning."""
    file = tmp_path / "test_block.py"
    file.write_text(code, encoding="utf-8")
    commands = {
        ("run", "python"): [sys.executable, "-W", "error", file],
        ("run", "sh"): ["sh", "-euc", code],
        ("pytest", "python"): [
            *(sys.executable, "-m", "pytest", "-W", "error"),
            *("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"),
            *("--rootdir", tmp_path, file),
        ],
    }
    done = subprocess.run(
        commands[how, language],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


def test_first_example(sandbox: Sandbox, tmp_path: Path) -> None:
    """The first example prints what its comments promise, and blocks who can be blocked."""
    code = BLOCKS[0][2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )

    first, second, *listed = done.stdout.splitlines()
    assert first == "2 done, 1 failed"
    assert second.startswith("0151 2345678 starts with 0")
    assert listed == ["blocked: 16505551234", "blocked: 16505551235"]
    assert sandbox.blocklist() == {"16505551234", "16505551235"}
