"""What it costs to have the pytest plugin loaded."""

from __future__ import annotations

import ast
import subprocess
import sys


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
