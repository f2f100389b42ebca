"""A script for cron: works off a list of numbers, and goes on the next night where it ended.

Only people who wrote within 24 hours can be blocked, so those who could not be are tried again
each night; who is blocked is struck off the list.

    17 3 * * *  python examples/nightly.py to_block.txt
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

from blockusers import Account, Client, Incomplete, RetryPolicy

LOG = logging.getLogger("nightly")


async def block_all(numbers: list[str]) -> tuple[list[str], bool]:
    """Block *numbers*; return those that are left, and whether the job came to its end."""
    ended_early = False
    async with Client(Account.from_env(), retry=RetryPolicy(timeout=3600)) as client:
        try:
            report = await client.block(numbers)
        except Incomplete as early:
            LOG.warning("%s", early)
            report, ended_early = early.report, True
    for outcomes in report.faults_by_code.values():
        LOG.warning("%d x %s", len(outcomes), outcomes[0].fault)
    LOG.info("%s in %.0f s", report.summary(), report.elapsed)
    return [outcome.input for outcome in report if not outcome.ok], not ended_early


def main() -> int:
    """Work off the list in the file that the argument names; return the exit code."""
    logging.basicConfig(level="INFO", format="%(asctime)s %(name)s: %(message)s")
    if len(sys.argv) != 2:
        sys.exit("usage: python nightly.py FILE")
    path = Path(sys.argv[1])
    numbers = [line for line in path.read_text().splitlines() if line.strip()]
    left, ended = asyncio.run(block_all(numbers))
    new = path.with_suffix(".new")
    new.write_text("".join(f"{number}\n" for number in left))
    new.replace(path)  # whole, or not at all
    return 0 if ended else 1


if __name__ == "__main__":
    sys.exit(main())
