"""The sweep: every fault rehearsed, and the report compared with the server after each.

What it finds is the table in `docs/explanation/faults.md`; `python -m tests.test_faults` writes it
there.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from benchmarks.rehearsal import CHUNKS, FAULTS, Rehearsal, numbers, rehearse
from blockusers import (
    Account,
    BlocklistChanged,
    BlocklistFull,
    Client,
    Operation,
    Outcome,
    Status,
)
from blockusers.sandbox import Rules, Sandbox, glitches
from tests.support import quick

PAGE = Path(__file__).parent.parent / "docs" / "explanation" / "faults.md"
TABLE_STARTS, TABLE_ENDS = "<!-- faults -->\n", "<!-- end of faults -->"
HANGS = {"no answer, without an effect", "no answer, after the effect"}

FINAL = {"empty answer with status 400", "190 on the request"}
"""Those after which a job does not try again."""

faults = pytest.mark.parametrize("fault", FAULTS)
operations = pytest.mark.parametrize("operation", Operation, ids=lambda op: op.value)
connections = pytest.mark.parametrize("keep_alive", [True, False], ids=["kept", "new"])


PLAYED: dict[tuple[str, str], Rehearsal] = {}
"""What was rehearsed already: the documentation's table shows the same runs."""


async def sometimes(fault: str) -> Rehearsal:
    """Rehearse a fault that befalls a tenth of the requests."""

    def script(sandbox: Sandbox) -> None:
        if fault in HANGS:  # each costs its time
            sandbox.glitch(FAULTS[fault], at=(5,))
        else:
            sandbox.glitch(FAULTS[fault], probability=0.1, times=None, seed=1)

    return await rehearse(script, request_timeout=0.2 if fault in HANGS else 2.0)


async def always(
    fault: str, operation: Operation = Operation.BLOCK, *, keep_alive: bool = True
) -> Rehearsal:
    """Rehearse a fault that befalls every request from the third on."""

    def script(sandbox: Sandbox) -> None:
        sandbox.glitch(FAULTS[fault], at=range(3, 1000))

    # The first two requests must not time out, however busy the machine is.
    patience = {"request_timeout": 0.4, "attempts": 1} if fault in HANGS else {}
    return await rehearse(script, operation, keep_alive=keep_alive, **patience)


async def in_turn(operation: Operation, *, keep_alive: bool) -> Rehearsal:
    """Rehearse every fault that can be got over: every other request meets the next one."""

    def script(sandbox: Sandbox) -> None:
        for number, fault in enumerate(sorted(FAULTS.keys() - HANGS - FINAL)):
            sandbox.glitch(FAULTS[fault], at=(2 * number + 2,))

    return await rehearse(script, operation, keep_alive=keep_alive)


async def once(how: Callable[[str], Awaitable[Rehearsal]], fault: str) -> Rehearsal:
    """Rehearse a fault, or return what came of it before."""
    key = (how.__name__, fault)
    if key not in PLAYED:
        PLAYED[key] = await how(fault)
    return PLAYED[key]


# --------------------------------------------------------------------------- one fault at a time


@faults
async def test_now_and_then(fault: str) -> None:
    """A fault that befalls a tenth of the requests loses nobody, and stops only what it must."""
    played = await once(sometimes, fault)

    assert played.violations == ()
    assert played.struck > 0
    if played.error is None:
        assert len(played.report.succeeded) == len(played.report)


@faults
async def test_lasting(fault: str) -> None:
    """A fault that stays ends the job, and its report agrees with the server's list."""
    rehearsals = [await once(always, fault)]
    if fault not in HANGS:  # each costs its time
        rehearsals += [await always(fault, Operation.UNBLOCK, keep_alive=False)]

    for played in rehearsals:
        assert played.violations == ()
        assert len(played.report.succeeded) >= 20
        assert played.error is not None or len(played.report.succeeded) == len(played.report)


@operations
@connections
async def test_in_turn(operation: Operation, keep_alive: bool) -> None:
    """A job meets every fault that it can get over, one after the other, and all is done."""
    played = await in_turn(operation, keep_alive=keep_alive)

    assert played.violations == ()
    assert played.struck == len(FAULTS) - len(HANGS | FINAL)
    assert len(played.report.succeeded) == len(played.report)


@operations
@connections
async def test_all_together(operation: Operation, keep_alive: bool) -> None:
    """A tenth of the requests meet some fault, four at a time: the report agrees with the list."""
    passing = [f for name, f in FAULTS.items() if name not in HANGS | {"190 on the request"}]

    def script(sandbox: Sandbox) -> None:
        for number, fault in enumerate(passing):
            chance = 0.1 / len(passing)
            sandbox.glitch(fault, probability=chance, times=None, seed=number)

    played = await rehearse(script, operation, keep_alive=keep_alive, in_flight=4)

    assert played.violations == ()
    assert played.seen >= CHUNKS or played.error is not None


# --------------------------------------------------------------------------- faults of the API


@pytest.mark.parametrize("percent", [2, 20, 100])
@operations
async def test_internal_errors_of_users(percent: int, operation: Operation) -> None:
    """139103 on some of the users, for a while, delays them and nobody else."""
    odd = [f"+49151{n:03d}139103" for n in range(percent)]
    users = (odd + numbers(100))[:100] if percent < 100 else odd
    played = await rehearse(
        lambda _: None, operation, users=users, rules=Rules(window=None, magic_attempts=3)
    )

    assert played.violations == ()
    assert played.error is None
    assert len(played.report.succeeded) == 100


@operations
async def test_internal_errors_that_stay(operation: Operation) -> None:
    """139103 that outlives its attempts leaves those users FAILED, and certain not to be done."""
    odd = [f"+49151{n:03d}139103" for n in range(20)]
    played = await rehearse(
        lambda _: None,
        operation,
        users=[*numbers(80), *odd],
        rules=Rules(window=None, magic_attempts=99),
    )

    assert played.violations == ()
    assert [outcome.input for outcome in played.report.failed] == odd


@pytest.mark.parametrize("percent", [2, 20, 100])
@operations
async def test_internal_errors_of_requests(percent: int, operation: Operation) -> None:
    """139103 on some of the requests is tried again; on all of them it ends the job."""

    def script(sandbox: Sandbox) -> None:
        fault = FAULTS["139103 on the request"]
        sandbox.glitch(fault, probability=percent / 100, times=None, seed=5)

    played = await rehearse(script, operation)

    assert played.violations == ()
    assert (played.error is None) is (percent < 100)


@operations
async def test_token_bucket(operation: Operation) -> None:
    """A rate limit delays a job and loses nobody."""
    played = await rehearse(
        lambda _: None,
        operation,
        rules=Rules(window=None, magic=False, rate=2000, burst=5),
        in_flight=4,
    )

    assert played.violations == ()
    assert len(played.report.succeeded) == len(played.report)


@operations
async def test_outage_of_the_rate(operation: Operation) -> None:
    """A limit that lets nothing through ends the job: what was not admitted is REMAINING."""
    played = await rehearse(
        lambda _: None,
        operation,
        rules=Rules(window=None, magic=False, rate=1e-6, burst=5),
        in_flight=4,
    )

    assert played.violations == ()
    assert {outcome.status for outcome in played.report} == {Status.DONE, Status.REMAINING}
    assert len(played.report.succeeded) == 50


@pytest.mark.parametrize("full_per_number", [True, False])
async def test_full_in_the_middle(full_per_number: bool) -> None:
    """139101 in the middle ends a job of blocking with a report that agrees with the list."""
    rules = Rules(window=None, magic=False, capacity=315, full_per_number=full_per_number)
    played = await rehearse(lambda _: None, rules=rules, in_flight=4)

    assert played.violations == ()
    assert isinstance(played.error, BlocklistFull)
    assert 310 <= len(played.report.succeeded) <= 315


@pytest.mark.parametrize("percent", [10, 30, 100])
@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept", "new"])
async def test_storm_of_changes(percent: int, keep_alive: bool) -> None:
    """139102 on some of the pages costs a listing nobody; on all of them it is raised, in time."""
    users = [user[1:] for user in numbers(400)]
    connector = aiohttp.TCPConnector(force_close=not keep_alive)
    with Sandbox(Rules(window=None)) as sandbox:
        sandbox.block(*users)
        changed = glitches.answer(400, {"error": {"code": 139102}})
        sandbox.glitch(changed, probability=percent / 100, times=None, seed=3)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            Client(Account(**sandbox.credentials), session=session, retry=quick()) as client,
        ):
            found = []
            with suppress(BlocklistChanged):
                found = [user.wa_id async for user in client.blocked(page_size=50)]

    assert found == (users if percent < 100 else [])
    assert len(sandbox.requests) < 200


@operations
@pytest.mark.parametrize("milliseconds", range(0, 30, 5))
async def test_cancelled(milliseconds: int, operation: Operation) -> None:
    """Whenever a job is cancelled on the wire, whoever may be affected has been heard of."""
    heard: list[Outcome] = []
    users = numbers(640)
    with Sandbox(Rules(window=None, magic=False)) as sandbox:
        if operation is Operation.UNBLOCK:
            sandbox.block(*users)
        async with Client(Account(**sandbox.credentials), chunk_size=10) as client:
            job = getattr(client, operation.value)(users, on_settled=heard.extend)
            with suppress(TimeoutError):
                await asyncio.wait_for(job, milliseconds / 1000)
            assert client.pace.state.in_flight == 0
        blocked = sandbox.blocklist()

    told = {outcome.input[1:]: outcome.status for outcome in heard}
    affected = {user[1:] for user in users if (user[1:] in blocked) is (operation.value == "block")}
    assert len(told) == len(heard)
    assert affected <= told.keys()
    assert {key for key, status in told.items() if status is Status.DONE} <= affected
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --------------------------------------------------------------------------- nothing is left


def open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


async def test_nothing_is_left() -> None:
    """After all that no task and no file descriptor is left."""
    await in_turn(Operation.BLOCK, keep_alive=True)
    gc.collect()
    before = open_files()
    await in_turn(Operation.BLOCK, keep_alive=True)
    for fault in FINAL:
        await always(fault)
    gc.collect()

    assert open_files() == before
    assert asyncio.all_tasks() == {asyncio.current_task()}


# --------------------------------------------------------------------------- the table


def named(played: Rehearsal) -> str:
    error = f", `{type(played.error).__name__}`" if played.error else ""
    return f"{played.statuses}{error}"


async def table() -> str:
    lines = [
        "| fault | carried out? | on a tenth of the requests | on all from the third |",
        "| --- | --- | --- | --- |",
    ]
    for fault, glitch in FAULTS.items():
        cells = [named(await once(how, fault)) for how in (sometimes, always)]
        effect = "yes" if glitch.effect else "no"
        lines.append(f"| {fault} | {effect} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


async def test_table() -> None:
    """The table of faults and outcomes in the documentation is what the sweep finds."""
    text = PAGE.read_text(encoding="utf-8")

    assert await table() == text.partition(TABLE_STARTS)[2].partition(TABLE_ENDS)[0]


def write_table() -> None:
    head, start, rest = PAGE.read_text(encoding="utf-8").partition(TABLE_STARTS)
    _, end, tail = rest.partition(TABLE_ENDS)
    PAGE.write_text(head + start + asyncio.run(table()) + end + tail, encoding="utf-8")


if __name__ == "__main__":
    write_table()
