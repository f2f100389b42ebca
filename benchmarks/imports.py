"""The time that importing the library takes, over that of importing what it depends on."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from typing import Final

DEPENDENCIES: Final = "import aiohttp, attrs, cattrs, orjson, tenacity"
STATEMENTS: Final = {
    "the dependencies alone": DEPENDENCIES,
    "from blockusers import Client": "from blockusers import Account, Client, RetryPolicy",
    "import blockusers": "import blockusers",
}
ROUNDS: Final = 25
_TIMED: Final = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"


def main() -> None:
    """Import each in fresh interpreters, in turn, and print the medians and the best."""
    seconds: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    with tempfile.TemporaryDirectory() as cache:
        for statement in STATEMENTS.values():  # so that all bytecode is there
            _import(statement, cache)
        for _ in range(ROUNDS):
            for name, statement in STATEMENTS.items():
                seconds[name].append(_import(statement, cache))
    yardstick = min(seconds["the dependencies alone"])
    print(f"in a fresh interpreter, {ROUNDS} times each, in turn\n")
    print("| | best ms | median ms | ratio of the best |")
    print("|---|---|---|---|")
    for name, taken in seconds.items():
        best, median = min(taken), statistics.median(taken)
        print(f"| {name} | {best * 1e3:.0f} | {median * 1e3:.0f} | {best / yardstick:.2f}x |")


def _import(statement: str, cache: str) -> float:
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(
        [sys.executable, "-c", _TIMED.format(statement)],
        capture_output=True,
        check=True,
        text=True,
        env=environment,
    )
    return float(done.stdout)
