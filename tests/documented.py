"""Runs the documentation's Python, programs and tests, in one process, for `test_docs`.

Reads them from stdin as JSON, and writes what each printed, or how it failed, to stdout.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import io
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import blockusers
from blockusers import Account, Client
from blockusers.sandbox import Rules, Sandbox, glitches


def run_program(code: str, _: Sandbox) -> None:
    """Run a whole program."""
    exec(compile(code, "<block>", "exec"), {"__name__": "__main__"})


def run_part(code: str, sandbox: Sandbox) -> None:
    """Run a part of a program that has an open client, an account and a sandbox."""
    asyncio.run(_with_client(code, sandbox))


def run_tests(code: str, _: Sandbox) -> None:
    """Run a file of tests."""
    Path("test_block.py").write_text(code, encoding="utf-8")
    settings = ("asyncio_mode=auto", "asyncio_default_fixture_loop_scope=function")
    options = ["--rootdir=.", "-p", "no:cacheprovider", "-W", "error"]
    # In this process blockusers is imported already, and another file of that name may be.
    options += ["--assert=plain", "--import-mode=importlib"]
    if pytest.main([*options, *(f"--override-ini={each}" for each in settings)]):
        raise AssertionError("its tests do not pass")


async def _with_client(code: str, sandbox: Sandbox) -> None:
    names: dict[str, Any] = {name: getattr(blockusers, name) for name in blockusers.__all__}
    names |= {"asyncio": asyncio, "sandbox": sandbox, "glitches": glitches}
    async with Client(account := Account.from_env()) as client:
        names |= {"client": client, "account": account}
        block = compile(code, "<block>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        waiting = eval(block, names)  # None if it awaits nothing
        if waiting is not None:
            await waiting


KINDS: dict[str, Callable[[str, Sandbox], None]] = {
    "run": run_program,
    "with client": run_part,
    "pytest": run_tests,
}


def play(kind: str, code: str) -> dict[str, str]:
    """Run a block against a sandbox and in a folder of its own; say what came of it."""
    printed, error = io.StringIO(), ""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        Sandbox(Rules(window=None)) as sandbox,
        contextlib.redirect_stdout(printed),
    ):
        for name, value in sandbox.credentials.items():
            os.environ[f"WHATSAPP_{name.upper()}"] = str(value)
        try:
            KINDS[kind](code, sandbox)
        except Exception:
            error = printed.getvalue() + traceback.format_exc()
    return {"printed": printed.getvalue(), "error": error}


if __name__ == "__main__":
    json.dump([play(*block) for block in json.load(sys.stdin)], sys.stdout)
