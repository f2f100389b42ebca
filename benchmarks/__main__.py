"""Runs benchmarks: `python -m benchmarks` lists them, `python -m benchmarks NAME …` runs some."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from benchmarks import faults, overhead


def main() -> None:
    """Run the benchmarks that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure blockusers on this machine.",
        epilog="\n".join(f"{name:10} {run.__doc__}" for name, run in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which to run; none lists them")
    parser.add_argument("--hours", type=float, default=0.01, help="how long `faults` goes on")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - BENCHMARKS.keys():
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    if not arguments.names:
        parser.print_help()
    for name in arguments.names:
        BENCHMARKS[name](arguments)


def _faults(arguments: argparse.Namespace) -> None:
    """Jobs under all faults together; counts the violations of what is promised."""
    faults.main(arguments.hours)


def _overhead(_: argparse.Namespace) -> None:
    """CPU time to block and unblock 64,000 numbers, as a ratio to a raw loop."""
    overhead.main()


BENCHMARKS: Final[dict[str, Callable[[argparse.Namespace], None]]] = {
    "faults": _faults,
    "overhead": _overhead,
}


if __name__ == "__main__":
    main()
