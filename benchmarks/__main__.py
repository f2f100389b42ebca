"""Runs benchmarks: `python -m benchmarks` lists them, `python -m benchmarks NAME …` runs some."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from benchmarks import overhead

BENCHMARKS: Final[dict[str, Callable[[], None]]] = {"overhead": overhead.main}


def main() -> None:
    """Run the benchmarks that the command line names."""
    known = "\n".join(f"  {name:10} {run.__doc__}" for name, run in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Measure blockusers on this machine. There are:\n{known}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which to run; none lists them")
    names = parser.parse_args().names
    if unknown := set(names) - BENCHMARKS.keys():
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    if not names:
        parser.print_help()
    for name in names:
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
