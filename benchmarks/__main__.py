"""Runs benchmarks: `python -m benchmarks` lists them, `python -m benchmarks NAME …` runs some."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from benchmarks import faults, live, overhead, rate


def main() -> None:
    """Run the benchmarks that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure blockusers on this machine.",
        epilog="\n".join(f"{name:10} {run.__doc__}" for name, run in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="which to run; `all` of them, none lists them"
    )
    parser.add_argument("--hours", type=float, default=0.01, help="how long `faults` goes on")
    arguments = parser.parse_args()
    names = BENCHMARKS if arguments.names == ["all"] else arguments.names
    if unknown := set(names) - BENCHMARKS.keys():
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    if not names:
        parser.print_help()
    for name in names:
        BENCHMARKS[name](arguments)


def _faults(arguments: argparse.Namespace) -> None:
    """Jobs under all faults together; counts the violations of what is promised."""
    faults.main(arguments.hours)


def _overhead(_: argparse.Namespace) -> None:
    """CPU time to block and unblock 64,000 numbers, as a ratio to a raw loop."""
    overhead.main()


def _live(_: argparse.Namespace) -> None:
    """The same on a real socket, to see whether virtual time tells the truth."""
    live.main()


def _rate(_: argparse.Namespace) -> None:
    """Time and refusals of jobs through unknown rate limits, in virtual time."""
    rate.main()


BENCHMARKS: Final[dict[str, Callable[[argparse.Namespace], None]]] = {
    "faults": _faults,
    "overhead": _overhead,
    "live": _live,
    "rate": _rate,
}


if __name__ == "__main__":
    main()
