"""Plays a job on the sandbox under scripted faults, and checks the report afterwards.

The tests rehearse each fault in turn; `python -m benchmarks faults` rehearses all of them together
for as long as one likes.
"""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import aiohttp
import attrs

from blockusers import (
    Account,
    Client,
    FixedPace,
    Incomplete,
    Operation,
    Outcome,
    Report,
    RetryPolicy,
    Status,
)
from blockusers.sandbox import SANDBOX_TOKEN, Glitch, Rules, Sandbox, glitches

CHUNK: Final = 10
CHUNKS: Final = 64

FAULTS: Final[dict[str, Glitch]] = {
    "HTML with status 429": glitches.html(429),
    "HTML with status 502": glitches.html(502),
    "HTML with status 503, after the effect": glitches.html(503, effect=True),
    "empty answer with status 500": glitches.empty(500),
    "reset before the request is read": glitches.reset_before(),
    "reset after the effect": glitches.reset_after(),
    "reset in the middle of the answer": glitches.reset_midway(),
    "no answer, without an effect": glitches.hang_before(),
    "no answer, after the effect": glitches.hang_after(),
    "answer in small pieces": glitches.slow(pause=0.0, piece=50),
    "half of the JSON": glitches.truncated(),
    "wrong content type": glitches.wrong_type(),
    "Content-Length too large": glitches.wrong_length(100),
    "Content-Length too small": glitches.wrong_length(-100),
    "Content-Encoding that is a lie": glitches.wrong_encoding(),
    "a body of 60 MB": glitches.oversized(),
    "redirect to another host": glitches.redirect("http://127.0.0.1:1/"),
    "a JSON list": glitches.answer(200, [], effect=True),
    "a JSON object of another kind": glitches.answer(200, {"success": True}, effect=True),
    "lists that are no lists": glitches.answer(
        200, {"block_users": {"added_users": "all"}}, effect=True
    ),
    "empty answer with status 400": glitches.empty(400),
    "139103 on the request": glitches.answer(500, {"error": {"code": 139103}}),
    "130429 on the request": glitches.answer(400, {"error": {"code": 130429}}),
    "190 on the request": glitches.answer(
        401, {"error": {"code": 190, "message": f"Malformed access token {SANDBOX_TOKEN}"}}
    ),
}
"""Every way in which a server or what lies before it can spoil an answer."""

APP_SECRET: Final = "5ec2e7".ljust(32, "0")
"""What requests are signed with, and what nothing may show."""


@attrs.frozen
class Rehearsal:
    """What came of one job."""

    report: Report
    error: Exception | None
    """What ended it early, None if nothing did."""
    seen: int
    """Requests that the sandbox saw."""
    struck: int
    """How many of them a fault befell."""
    violations: tuple[str, ...]
    """What does not add up; nothing, one hopes."""

    @property
    def statuses(self) -> str:
        """The counts, such as `630 done, 10 unknown`."""
        return self.report.summary()


def numbers(count: int) -> list[str]:
    """Return valid numbers, none of which is a magic one."""
    return [f"+4915{n:09d}" for n in range(count)]


async def rehearse(
    script: Callable[[Sandbox], None],
    operation: Operation = Operation.BLOCK,
    *,
    users: Sequence[str] = tuple(numbers(CHUNK * CHUNKS)),
    rules: Rules | None = None,
    keep_alive: bool = True,
    in_flight: int = 1,
    request_timeout: float = 2.0,
    attempts: int = 6,
) -> Rehearsal:
    """Carry out *operation* on *users* under the faults of *script*, and check the report."""
    heard: list[Outcome] = []
    time = _Time()
    rules = attrs.evolve(rules or Rules(window=None, magic=False), app_secret=APP_SECRET)
    with Sandbox(rules) as sandbox, _log() as logged:
        if operation is Operation.UNBLOCK:
            sandbox.block(*users)
        script(sandbox)
        connector = aiohttp.TCPConnector(force_close=not keep_alive)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            Client(
                Account(**sandbox.credentials),
                session=session,
                chunk_size=CHUNK,
                request_timeout=request_timeout,
                retry=RetryPolicy(
                    attempts=attempts, sleep=time.sleep, clock=time, random=lambda: 1.0
                ),
                pace=FixedPace(in_flight, sleep=time.sleep, clock=time),
            ) as client,
        ):
            job = client.block if operation is Operation.BLOCK else client.unblock
            report, error = await _settle(job(users, on_settled=heard.extend))
            said = [*logged, *_texts(client, client.account, report, *report, error)]
        seen = sandbox.requests
        found = _violations(report, heard, users, sandbox)
        found += _indiscretions("\n".join(said), users, sandbox)
        if report.requests != len(seen):
            found.append(f"{report.requests} requests reported, {len(seen)} seen")
    struck = sum(request.glitch is not None for request in seen)
    return Rehearsal(report, error, len(seen), struck, tuple(found))


@attrs.define
class _Time:
    """Time that passes only where somebody sleeps, so that a rehearsal is quick and repeatable."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


async def _settle(job: Coroutine[object, object, Report]) -> tuple[Report, Exception | None]:
    try:
        return await job, None
    except Incomplete as early:
        return early.report, early.error


@contextmanager
def _log() -> Iterator[list[str]]:
    """Collect what anybody logs, tracebacks included."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    handler.emit = lambda record: lines.append(handler.format(record))  # type: ignore[method-assign]
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


def _texts(*values: object) -> Iterator[str]:
    """Yield each way in which *values* show themselves."""
    for value in values:
        yield repr(value)
        yield str(value)
        if isinstance(value, BaseException):
            yield "".join(traceback.format_exception(value))


def _indiscretions(said: str, users: Sequence[str], sandbox: Sandbox) -> list[str]:
    """Search what was logged or shown for secrets, and for anybody's whole number."""
    people = {user.removeprefix("+") for user in users}
    found = [
        f"shows {number[:4]}… whole" for number in re.findall("[0-9]{7,}", said) if number in people
    ]
    secrets = {
        "token": sandbox.credentials["access_token"],
        "secret": APP_SECRET,
        "proof": "proof=",
    }
    return found + [f"shows the {name}" for name, secret in secrets.items() if secret in said]


def _violations(
    report: Report, heard: Sequence[Outcome], users: Sequence[str], sandbox: Sandbox
) -> list[str]:
    """Compare what was reported with what was handed in, and with the server's own list."""
    found = []
    if [outcome.input for outcome in report] != list(users):
        found.append("the report does not name each user once, in order")
    if Counter(map(id, heard)) != Counter(map(id, report)):
        found.append("on_settled did not hear of each outcome once")
    blocked = sandbox.blocklist()
    adds = report.operation is Operation.BLOCK
    for outcome in report:
        has_effect = (outcome.input.removeprefix("+") in blocked) is adds
        if outcome.ok and not has_effect:
            found.append(f"{outcome} without an effect")
        if outcome.status is Status.REMAINING and has_effect:
            found.append(f"{outcome} with an effect")
        if outcome.status is Status.FAILED and has_effect and not outcome.uncertain:
            found.append(f"{outcome} with an effect, and certain")
    return found
