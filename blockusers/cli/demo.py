"""The demo: blocks, lists and unblocks sample data on a sandbox, explains and checks the result."""

from __future__ import annotations

import shutil
import sys
import time
from itertools import starmap
from math import ceil
from pathlib import Path
from textwrap import indent, shorten
from typing import Final

import attrs

from blockusers.cli.sample_data import MISTAKES, Sample, make_sample
from blockusers.cli.screen import Screen
from blockusers.client import Client
from blockusers.protocol.retry import RetryPolicy
from blockusers.sandbox import Rules, Sandbox
from blockusers.values.account import Account
from blockusers.values.blocklist import BlockedUser
from blockusers.values.error_codes import known
from blockusers.values.report import Report

_CHUNK: Final = 100
_RULES: Final = Rules(window=None, rate=20.0, burst=10)
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
    """Shows what the library does, one step at a time, on a screen of 80x24."""

    screen: Screen
    users: int
    """How many ordinary numbers are blocked."""
    seed: int
    """The same seed makes the same list."""
    correct: bool = attrs.field(default=True, init=False)
    """Whether all checks so far were right."""

    async def run(self) -> bool:
        """Run the demo; return whether all checks were right."""
        sample = make_sample(self.users, self.seed, _RULES.own_number)
        self._show_sample(sample)
        async with (
            Sandbox(_RULES) as sandbox,
            Client(Account(**sandbox.credentials), chunk_size=_CHUNK, retry=_SHORT_WAITS) as client,
        ):
            report = await self._block(client, sample)
            self._check_report(report, sample, sandbox)
            blocked = await self._list(client, report)
            await self._unblock(client, blocked, sandbox)
        self.screen.tell(_NEXT.format(_program()))
        return self.correct

    def _show_sample(self, sample: Sample) -> None:
        self._title("A sandbox on this computer plays WhatsApp's server; nobody is reached.")
        self._title(f"The list: {len(sample.inputs):,} lines with repeats, mistakes and BSUIDs")
        self._say("BSUID: business-scoped user ID (US.1349…), for users who hide their number.")

    async def _block(self, client: Client, sample: Sample) -> Report:
        self._title("await client.block(lines)")
        with self.screen.meter(sample.distinct) as meter:
            meter.watch(client.pace)
            report = await client.block(sample.inputs, on_settled=meter.add)
        done = f"{len(report.succeeded):,} of {len(report):,} users"
        self._say(f"blocked {done} in {report.elapsed:.1f} s; report.failed has the others:")
        self._say(_failures(report))
        self._say(_requests(report, sample))
        return report

    def _check_report(self, report: Report, sample: Sample, sandbox: Sandbox) -> None:
        done = {outcome.wa_id or outcome.user_id for outcome in report.succeeded}
        self._check(
            f"{len(sample.inputs):,} lines = {report.repeats:,} repeats + {len(report):,} users",
            holds=len(sample.inputs) == report.repeats + sample.distinct
            and len(report) == sample.distinct
            and sample.transient <= done,
        )
        self._check(
            f"the sandbox has the same {len(done):,} users on its blocklist",
            holds=done == sandbox.blocklist(),
        )

    async def _list(self, client: Client, report: Report) -> tuple[BlockedUser, ...]:
        self._title("await client.snapshot()")
        began = time.monotonic()
        blocked = await client.snapshot()
        found, done = (
            sorted(user.wa_id or user.user_id or "" for user in users)
            for users in (blocked, report.succeeded)
        )
        seconds = time.monotonic() - began
        self._check(f"listed the same users, nobody twice, in {seconds:.1f} s", holds=found == done)
        return blocked

    async def _unblock(
        self, client: Client, blocked: tuple[BlockedUser, ...], sandbox: Sandbox
    ) -> None:
        self._title("await client.unblock(snapshot)")
        with self.screen.meter(len(blocked)) as meter:
            meter.watch(client.pace)
            report = await client.unblock(blocked, on_settled=meter.add)
        done, seconds = len(report.succeeded), report.elapsed
        self._check(
            f"unblocked {done:,} users in {seconds:.1f} s; the blocklist is empty again",
            holds=not sandbox.blocklist(),
        )

    def _title(self, text: str) -> None:
        self.screen.tell(text, "bold")

    def _say(self, text: str, style: str = "") -> None:
        self.screen.tell(indent(text, "  "), style)

    def _check(self, text: str, *, holds: bool) -> None:
        self.correct = self.correct and holds
        self._say(f"{'✓' if holds else '✗'} {text}", "green" if holds else "bold red")


def _failures(report: Report) -> str:
    """Return a line for each error code, with what it means, and one for what was rejected."""
    counts = {code: len(users) for code, users in report.faults_by_code.items()}
    lines = [
        (code, counts.pop(code), entry.meaning)
        for code in list(counts)
        if isinstance(code, int) and (entry := known(code))
    ]
    examples = ", ".join(MISTAKES)
    lines.append(("input", sum(counts.values()), f"rejected and not sent: {examples}"))
    return "\n".join(starmap(_failure, lines))


def _failure(code: int | str, users: int, meaning: str) -> str:
    return shorten(f"{code} x {users}: {meaning}", _WIDTH - 2, placeholder=" …")


def _requests(report: Report, sample: Sample) -> str:
    """Explain why it took so many requests."""
    rejected = sum(outcome.fault is not None and outcome.fault.code is None for outcome in report)
    first = ceil((len(report) - rejected) / _CHUNK)
    again = report.requests - report.rate_limited - first
    return (
        f"{report.requests} requests: {first} with {_CHUNK} users each, {again} more for"
        f" {len(sample.transient)} users that failed\n"
        f"with 139103 (a transient error) and were sent again, and {report.rate_limited} that the"
        " server\nrefused for its rate limit, which were sent again too."
    )


def _program() -> str:
    """Return how to start this program from here."""
    started = sys.argv[0]
    if Path(started).stem == "blockusers" and shutil.which("blockusers") is None:
        return started
    return "blockusers"
