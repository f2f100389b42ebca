"""What the package shows, and what it costs to load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from blockusers import sandbox

FOLDER = Path(sandbox.__file__).parent


def test_public_names_are_sorted_and_there() -> None:
    """`__all__` is the table of contents."""
    assert sorted(sandbox.__all__, key=_like_ruff) == sandbox.__all__
    assert all(sandbox.__getattr__(name) is getattr(sandbox, name) for name in sandbox.__all__)


def _like_ruff(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_other_names_are_not() -> None:
    """A slip of the pen is an AttributeError."""
    with pytest.raises(AttributeError, match="Sandbocks"):
        assert sandbox.Sandbocks  # type: ignore[attr-defined]


def test_nothing_of_the_client_is_imported() -> None:
    """A misreading of the protocol in the client must not be shared by the server."""
    imported = {
        node.module or ""
        for path in FOLDER.glob("*.py")
        if path.name != "pytest_plugin.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
    }
    ours = {name for name in imported if name.startswith("blockusers")}

    assert {"blockusers.sandbox"} == {".".join(name.split(".")[:2]) for name in ours}


def test_the_plugin_costs_nothing() -> None:
    """Beyond the package itself it loads only pytest, which is there anyway."""
    code = (
        "import sys, pytest, blockusers; before = set(sys.modules);"
        "import blockusers.sandbox.pytest_plugin; print(sorted(set(sys.modules) - before))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )

    assert ast.literal_eval(output.stdout) == [
        "blockusers.sandbox",
        "blockusers.sandbox.pytest_plugin",
    ]
