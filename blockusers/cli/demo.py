"""The demo: blocks, lists and unblocks sample data on a sandbox, explains and checks the result."""

from __future__ import annotations

import shutil
import sys
from math import ceil
from pathlib import Path
from textwrap import shorten
from typing import Final

import attrs

from blockusers.cli.sample_data import MISTAKES, Sample
from blockusers.cli.screen import Screen
from blockusers.client import Client
from blockusers.protocol.retry import RetryPolicy
from blockusers.sandbox import Rules, Sandbox
from blockusers.values.account import Account
from blockusers.values.blocklist import BlockedUser
from blockusers.values.errors import CODES
from blockusers.values.outcome import Outcome
from blockusers.values.report import Report

_CHUNK: Final = 100
RULES: Final = Rules(window=None, rate=20.0, burst=10)
"""Of the sandbox: a rate limit that is met at once."""
# Against Meta the waits are longer; nobody wants to wait for a demo.
_SHORT_WAITS: Final = RetryPolicy(wait_initial=0.25, wait_max=1.0)
_WIDTH: Final = 79
_NEXT: Final = """
Next, with your own numbers:
  {0} check "+1 650 555 1234" "0049 151 234567"
  {0} block --sandbox --file numbers.csv --output out.csv
  {0} block --help"""


@attrs.define
class Demo:
    """Shows what the library does, on one screen of 80x24."""

    screen: Screen
    sample: Sample
    correct: bool = attrs.field(default=True, init=False)
    """Whether all checks so far were right."""

    async def run(self) -> bool:
        """Run the demo; return whether all checks were right."""
        lines = len(self.sample.inputs)
        self._title("A sandbox on this computer plays WhatsApp's server; nobody is reached.")
        self._title(f"The list: {lines:,} lines with repeats, mistakes and BSUIDs")
        self._say("BSUID: business-scoped user ID (US.1349…), for users who hide their number.")
        async with Sandbox(RULES) as sandbox:
            account = Account(**sandbox.credentials)
            async with Client(account, chunk_size=_CHUNK, retry=_SHORT_WAITS) as client:
                self._title("await client.block(lines)")
                with self.screen.meter(self.sample.distinct) as meter:
                    meter.watch(client.pace)
                    report = await client.block(self.sample.inputs, on_settled=meter.add)
                self._explain(report)
                self._check_report(report, sandbox)

                self._title("await client.snapshot()")
                blocked = await client.snapshot()
                same = sorted(map(_id, blocked)) == sorted(map(_id, report.succeeded))
                self._check(f"listed {len(blocked):,} users, each of them once", holds=same)

                self._title("await client.unblock(snapshot)")
                with self.screen.meter(len(blocked)) as meter:
                    meter.watch(client.pace)
                    report = await client.unblock(blocked, on_settled=meter.add)
                done = f"unblocked {len(report.succeeded):,} users; the blocklist is empty again"
                self._check(done, holds=not sandbox.blocklist())
        self.screen.tell(_NEXT.format(program()))
        return self.correct

    def _explain(self, report: Report) -> None:
        done = f"{len(report.succeeded):,} of {len(report):,} users"
        self._say(f"blocked {done} in {report.elapsed:.1f} s; report.failed has the others:")
        rejected = 0
        for code, outcomes in report.faults_by_code.items():
            if isinstance(code, int):
                self._say(f"{code} x {len(outcomes)}: {CODES[code].meaning}")
            else:
                rejected += len(outcomes)
        self._say(f"input x {rejected}: rejected and not sent: {', '.join(MISTAKES)}")
        first, refused = ceil((len(report) - rejected) / _CHUNK), report.rate_limited
        again, transient = report.requests - refused - first, len(self.sample.transient)
        self._say(
            f"{report.requests} requests: {first} with {_CHUNK} users each, {again} more for"
            f" {transient} users that failed with"
        )
        limited = f"{refused} refused for the rate limit"
        self._say(f"139103 (a transient error), {limited}; all sent again.")

    def _check_report(self, report: Report, sandbox: Sandbox) -> None:
        lines, done = len(self.sample.inputs), sorted(map(_id, report.succeeded))
        self._check(
            f"{lines:,} lines = {report.repeats:,} repeats + {len(report):,} users",
            holds=(lines - report.repeats) == len(report) == self.sample.distinct,
        )
        self._check(
            f"the sandbox has the same {len(done):,} users on its blocklist",
            holds=done == sorted(sandbox.blocklist()) and self.sample.transient <= {*done},
        )

    def _title(self, text: str) -> None:
        self.screen.tell(text, "bold")

    def _say(self, text: str, style: str = "") -> None:
        self.screen.tell(f"  {shorten(text, _WIDTH - 2, placeholder=' …')}", style)

    def _check(self, text: str, *, holds: bool) -> None:
        self.correct = self.correct and holds
        self._say(f"{'✓' if holds else '✗'} {text}", "green" if holds else "bold red")


def _id(user: BlockedUser | Outcome) -> str:
    return user.wa_id or user.user_id or ""


def program() -> str:
    """Return how to start this program from here."""
    started = sys.argv[0]
    is_on_path = shutil.which("blockusers") is not None
    return "blockusers" if is_on_path or Path(started).stem != "blockusers" else started
