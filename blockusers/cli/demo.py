"""The demo: blocks, lists and unblocks a real-looking list on a sandbox, and checks the result."""

from __future__ import annotations

import time
from collections.abc import Iterable
from textwrap import shorten
from typing import Final

import attrs

from blockusers.cli.sample_data import Sample, make_sample
from blockusers.cli.screen import Screen
from blockusers.cli.summary import count, inputs_add_up, requests, show_faults, statuses
from blockusers.client import Client
from blockusers.protocol.retry import RetryPolicy
from blockusers.sandbox import Rules, Sandbox
from blockusers.values.account import Account
from blockusers.values.blocklist import BlockedUser
from blockusers.values.masking import mask
from blockusers.values.outcome import Outcome
from blockusers.values.report import Report

_CHUNK: Final = 100
_RATE: Final = 20.0
_BURST: Final = 10
_SHOWN: Final = 4
# Against Meta the waits are longer; a tour is for people with something else to do.
_SHORT_WAITS: Final = RetryPolicy(wait_initial=0.25, wait_max=1.0)


@attrs.define
class Tour:
    """Shows what the library does, one step at a time."""

    screen: Screen
    users: int = 5000
    """How many ordinary numbers are blocked."""
    seed: int = 1
    """The same seed makes the same list."""
    rate: float = _RATE
    """Requests per second that the sandbox admits."""
    balanced: bool = attrs.field(default=True, init=False)
    """Whether every check so far came out right."""
    _step: int = attrs.field(default=0, init=False)

    async def run(self) -> bool:
        """Take the tour; return whether every check came out right."""
        rules = Rules(window=None, rate=self.rate, burst=_BURST)
        async with Sandbox(rules) as sandbox:
            self._head("A sandbox: a server on this machine that behaves like Meta's endpoint")
            self._say(f"{sandbox.url}, {self.rate:g} requests per second, no credentials needed")
            sample = self._show_sample(rules)
            account = Account(**sandbox.credentials)
            async with Client(account, chunk_size=_CHUNK, retry=_SHORT_WAITS) as client:
                report = await self._block(client, sample)
                self._check_report(report, sample, sandbox)
                blocked = await self._list(client, report)
                await self._unblock(client, blocked, sandbox)
        return self.balanced

    def _show_sample(self, rules: Rules) -> Sample:
        sample = make_sample(self.users, self.seed, rules.own_number)
        self._head(f"A list as people keep it: {count(len(sample.inputs), 'line')}")
        self._say("numbers of 16 countries in many spellings, BSUIDs, repeats, mistakes such as")
        self._say("  0049 151…  (650) 555-…  4.91512E+12  anna@…  +44 (0)7911…")
        return sample

    async def _block(self, client: Client, sample: Sample) -> Report:
        self._head("await client.block(numbers)")
        with self.screen.meter(sample.distinct) as meter:
            meter.watch(client.pace)
            report = await client.block(sample.inputs, on_settled=meter.add)
        self._tell_report(report)
        show_faults(self.screen, report)
        self._say("report.failed holds each of them, such as")
        for outcome in _samples(report.failed):
            why = str(outcome.fault).partition(";")[0]
            self._say(f"  {_name(outcome):10} {shorten(why, 60, placeholder=' …')}", "dim")
        return report

    def _tell_report(self, report: Report) -> None:
        self._say(f"{statuses(report)} in {report.elapsed:.1f} s")
        self._say(requests(report))

    def _check_report(self, report: Report, sample: Sample, sandbox: Sandbox) -> None:
        self._head("Is everybody accounted for?")
        done = {outcome.wa_id or outcome.user_id for outcome in report.succeeded}
        self._check(
            inputs_add_up(report.repeats, len(report)),
            holds=len(sample.inputs) == report.repeats + len(report)
            and len(report) == sample.distinct,
        )
        self._check(
            f"the sandbox's own list has the same {len(done):,} users as report.succeeded",
            holds=done == sandbox.blocklist(),
        )
        self._check(
            f"{len(sample.transient)} users failed twice with 139103 and got through after",
            holds=sample.transient <= done,
        )

    async def _list(self, client: Client, report: Report) -> tuple[BlockedUser, ...]:
        self._head("await client.snapshot()")
        began = time.monotonic()
        blocked = await client.snapshot()
        elapsed = time.monotonic() - began
        first = "  ".join(mask(user.wa_id or user.user_id or "") for user in blocked[:_SHOWN])
        self._say(f"{count(len(blocked), 'user')} in {elapsed:.1f} s: {first}  …")
        self._check(
            "nobody twice, nobody left out", holds=_keys(blocked) == _keys(report.succeeded)
        )
        return blocked

    async def _unblock(
        self, client: Client, blocked: tuple[BlockedUser, ...], sandbox: Sandbox
    ) -> None:
        self._head("await client.unblock(snapshot)")
        with self.screen.meter(len(blocked)) as meter:
            meter.watch(client.pace)
            report = await client.unblock(blocked, on_settled=meter.add)
        self._tell_report(report)
        left = [user async for user in client.blocked()]
        self._check("the list is empty again", holds=not left and not sandbox.blocklist())

    def _head(self, text: str) -> None:
        self._step += 1
        self.screen.tell(f"\n{self._step}  {text}", "bold")

    def _say(self, text: str, style: str = "") -> None:
        self.screen.tell(f"   {text}", style)

    def _check(self, text: str, *, holds: bool) -> None:
        self.balanced = self.balanced and holds
        self._say(f"{'✓' if holds else '✗'} {text}", "green" if holds else "bold red")


def _samples(failed: Iterable[Outcome]) -> list[Outcome]:
    """Pick one outcome of each code."""
    return list({outcome.fault and outcome.fault.code: outcome for outcome in failed}.values())


def _name(outcome: Outcome) -> str:
    """Mask whom the server named; what was rejected, as it was written."""
    return mask(outcome.wa_id or outcome.user_id or str(outcome.input))


def _keys(people: Iterable[BlockedUser | Outcome]) -> list[str]:
    return sorted(one.wa_id or one.user_id or "" for one in people)
