"""Starts the command line: `blockusers`, or `python -m blockusers`."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command that the arguments name."""
    try:
        from blockusers.cli.app import app  # noqa: PLC0415  # typer and rich are an extra
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        sys.exit(_missing(error.name))
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Not every terminal knows every script's digits; that is no reason to break off.
        sys.stdout.reconfigure(errors="backslashreplace")
    app()


def _missing(name: str) -> int:
    hint = f'the command line needs {name}: pip install "blockusers[cli]"'
    sys.stderr.write(f"blockusers: {hint}\n")
    return 2


if __name__ == "__main__":
    main()
