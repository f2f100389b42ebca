"""All faults together, for as long as one likes: `python -m benchmarks faults --hours 8`.

Each round is a job of 640 users on a sandbox whose faults are drawn anew: which, how often, how
many requests at a time, on kept or on new connections.  A violation names the round's seed, with
which it can be played again.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time

from benchmarks.rehearsal import FAULTS, Rehearsal, rehearse
from blockusers import Operation
from blockusers.sandbox import Sandbox


def main(hours: float) -> None:
    """Rehearse faults, and count the violations of what the library promises."""
    ends = time.monotonic() + hours * 3600
    rounds = requests = struck = violations = 0
    while rounds == 0 or time.monotonic() < ends:
        rounds += 1
        played = asyncio.run(play(rounds))
        requests, struck = requests + played.seen, struck + played.struck
        violations += len(played.violations)
        for violation in played.violations:
            print(f"round {rounds}: {violation}", file=sys.stderr)
    print(f"{'rounds':>10} {'requests':>10} {'faults':>10} {'violations':>10}")
    print(f"{rounds:10,} {requests:10,} {struck:10,} {violations:10,}")
    if violations:
        sys.exit(1)


async def play(seed: int) -> Rehearsal:
    """Play the round of *seed*."""
    dice = random.Random(seed)
    faults = dice.sample(sorted(FAULTS), dice.randint(1, len(FAULTS)))
    chance = dice.choice([0.02, 0.1, 0.3, 0.6]) / len(faults)

    def script(sandbox: Sandbox) -> None:
        for fault in faults:
            sandbox.glitch(FAULTS[fault], probability=chance, times=None, seed=dice.getrandbits(32))

    return await rehearse(
        script,
        dice.choice(list(Operation)),
        keep_alive=dice.random() < 0.7,
        in_flight=dice.randint(1, 8),
        request_timeout=0.5,
    )
