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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import blockusers
from blockusers import Account, Client
from blockusers import guard as guard_package
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


def run_guarded(code: str, sandbox: Sandbox) -> None:
    """Run a part of a program that has an open guard, its deny list, and a sandbox."""
    asyncio.run(_with_guard(code, sandbox))


async def _with_client(code: str, sandbox: Sandbox) -> None:
    async with Client(account := Account.from_env()) as client:
        await _run(code, {"client": client, "account": account, "sandbox": sandbox})


async def _with_guard(code: str, sandbox: Sandbox) -> None:
    deny_list = guard_package.DenyList(guard_package.SqliteStore("deny.db"))
    async with guard_package.Guard([account := Account.from_env()], deny_list) as guard:
        names = {"guard": guard, "deny_list": deny_list, "account": account, "sandbox": sandbox}
        await _run(code, names)


async def _run(code: str, given: Mapping[str, Any]) -> None:
    """Run a part of a program with *given* and everything that can be imported."""
    names: dict[str, Any] = {"asyncio": asyncio, "glitches": glitches}
    for package in (blockusers, guard_package):
        names |= {name: getattr(package, name) for name in package.__all__}
    block = compile(code, "<block>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    waiting = eval(block, names | {**given})  # None if it awaits nothing
    if waiting is not None:
        await waiting


KINDS: dict[str, Callable[[str, Sandbox], None]] = {
    "run": run_program,
    "with client": run_part,
    "with guard": run_guarded,
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
