"""Runs benchmarks: `python -m benchmarks` lists them, `python -m benchmarks NAME …` runs some."""

from __future__ import annotations

import argparse
import importlib
from typing import Final

BENCHMARKS: Final = {
    "rate": "time and refusals of jobs through unknown rate limits, in virtual time",
    "live": "the same on a real socket, to see whether virtual time tells the truth",
    "overhead": "CPU time to block and unblock 64,000 numbers, beside a raw loop and other clients",
    "coalesce": "how long single calls wait under a rate limit, in virtual time",
    "listing": "CPU time to list 64,000 users, beside a raw loop",
    "stall": "the longest time for which the event loop is held meanwhile",
    "memory": "the most memory that a job of 64,000 numbers takes",
    "imports": "the time that importing the library takes, over that of its dependencies",
    "guard": "a guard under load, killed, starved, replayed and behind a slow limit",
    "shared": "several processes on one number, with a pace each and with one in Redis",
    "deny-list": "a deny list of a million entries: import, size, lookups, beside a plain dict",
    "faults": "jobs under all faults together; counts the violations of what is promised",
    "stress": "colliding, cancelled and closed calls against a bare server; counts the same",
}
"""A module of this package each (with `_` for `-`), with a function `main`."""


def main() -> None:
    """Run the benchmarks that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure blockusers on this machine.",
        epilog="\n".join(f"{name:10} {what}" for name, what in BENCHMARKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which to run, or `all`")
    parser.add_argument("--hours", type=float, default=0.01, help="how long `faults` goes on")
    parser.add_argument("--scenarios", type=int, default=2000, help="how many `stress` plays")
    parser.add_argument("--seed", type=int, default=1, help="the first scenario of `stress`")
    parser.add_argument(
        "--loop", choices=["asyncio", "uvloop"], default="asyncio", help="what `stress` runs on"
    )
    parser.add_argument(
        "--entries", type=int, default=1_000_000, help="how many `deny-list` imports"
    )
    parser.add_argument(
        "--part",
        action="append",
        choices=["limits", "accidents", "singles", "guards"],
        help="a part of `shared` (all by default)",
    )
    parser.add_argument("--logs", help="the folder for the logs of `stress`")
    arguments = parser.parse_args()
    names = list(BENCHMARKS) if arguments.names == ["all"] else arguments.names
    if unknown := set(names) - BENCHMARKS.keys():
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    if not names:
        parser.print_help()
    for name in names:
        run = importlib.import_module(f"benchmarks.{name.replace('-', '_')}").main
        if name == "faults":
            run(arguments.hours)
        elif name == "stress":
            run(arguments.scenarios, arguments.seed, arguments.loop, arguments.logs)
        elif name == "deny-list":
            run(arguments.entries)
        elif name == "shared" and arguments.part:
            run(arguments.part)
        else:
            run()


if __name__ == "__main__":
    main()
