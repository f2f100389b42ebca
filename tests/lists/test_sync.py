"""Making the blocklist equal to a list: what is added, removed and kept, and what is too risky."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockusers import (
    Account,
    BlockedUser,
    Client,
    ClientClosed,
    Incomplete,
    Operation,
    Outcome,
    PartialFailure,
    Report,
    Status,
    SyncIncomplete,
    SyncReport,
    TooManyRemovals,
)
from blockusers.lists.find import read_wanted
from blockusers.lists.sync import carry_out, sync
from blockusers.sandbox import Rules, Sandbox, glitches
from blockusers.values.outcome import User
from tests.support import number, numbers, quick

BSUID = "US.13491208655302741918"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Rules(window=None)) as sandbox:
        yield sandbox


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[Client]:
    async with Client(Account(**sandbox.credentials), retry=quick()) as client:
        yield client


def keys(*ns: int) -> set[str]:
    return {number(n)[1:] for n in ns}


async def test_adds_and_removes(sandbox: Sandbox, client: Client) -> None:
    """Afterwards exactly the wanted users are blocked; the report says what it took."""
    await client.block([*numbers(10), BSUID])
    wanted = [*numbers(9), number(20), BSUID]
    report = await client.sync(wanted)

    assert sandbox.blocklist() == {*keys(*range(9), 20), BSUID}
    assert report.removed is not None
    assert report.added is not None
    assert [o.input for o in report.removed.succeeded] == [number(9)[1:]]
    assert [o.input for o in report.added.succeeded] == [number(20)]
    assert len(report.kept) == 10
    assert report.summary() == "1 added, 1 removed, 10 already right"
    report.raise_for_failures()


async def test_dry_run(sandbox: Sandbox, client: Client) -> None:
    """A dry run says what there is to do, and changes nothing."""
    await client.block(numbers(10))
    report = await client.sync([*numbers(9), number(20)], dry_run=True)

    assert sandbox.blocklist() == keys(*range(10))
    assert (report.added, report.removed) == (None, None)
    assert report.to_add == (number(20),)
    assert [user.wa_id for user in report.to_remove] == [number(9)[1:]]
    assert report.summary() == "1 to add, 1 to remove, 9 already right"
    report.raise_for_failures()


@pytest.mark.parametrize(
    ("listed", "wanted"),
    [
        ("5511987654321", "+55 11 8765-4321"),
        ("551187654321", "+55 11 98765 4321"),
        ("5215512345678", "+52 55 1234 5678"),
        ("541123456789", "+54 9 11 2345-6789"),
    ],
)
async def test_keeps_who_may_be_wanted(
    sandbox: Sandbox, client: Client, listed: str, wanted: str
) -> None:
    """Nobody is unblocked, or blocked twice, because of a digit that a country adds."""
    sandbox.block(listed)
    report = await client.sync([wanted], max_removals=9)

    assert sandbox.blocklist() == {listed}
    assert (report.to_add, report.to_remove) == ((), ())


async def test_rejected_input_forbids_removals(sandbox: Sandbox, client: Client) -> None:
    """While an input is rejected nobody is removed, whatever is permitted; others are added."""
    sandbox.block(*numbers(20))
    report = await client.sync([*numbers(10), number(30), "0151 12345678", "anna"], max_removals=20)

    assert sandbox.blocklist() == keys(*range(20), 30)
    assert [outcome.input for outcome in report.rejected] == ["0151 12345678", "anna"]
    assert (report.to_remove, report.max_removals, len(report.kept)) == ((), 0, 20)
    assert report.summary() == (
        "1 added, 0 removed, 20 kept, 2 rejected: nobody is removed until all inputs are valid"
    )
    with pytest.raises(PartialFailure):
        report.raise_for_failures()


PARENT = "US.ENT.11815799212886844830"


@pytest.mark.parametrize(
    ("wanted", "listed"),
    [
        (Outcome("6505551234", Status.DONE, "16505551234"), BlockedUser("16505551234", None, None)),
        (Outcome("+16505551234", Status.DONE, None, BSUID), BlockedUser(None, BSUID, None)),
        (Outcome("0151", Status.FAILED, "16505551234"), BlockedUser("16505551234", None, None)),
        (BlockedUser("16505551234", BSUID, None), BlockedUser(None, BSUID, None)),
        (BlockedUser("16505551234", None, PARENT), BlockedUser(None, BSUID, PARENT)),
    ],
)
async def test_known_by_another_id(wanted: User, listed: BlockedUser) -> None:
    """A user who is wanted by one id and listed by another stays, where both are known."""
    others = tuple(BlockedUser(name[1:], None, None) for name in numbers(20))
    plan = await plan_for([*others[1:], wanted], [listed, *others])

    assert plan.to_remove == others[:1]
    assert plan.to_add == ()


async def test_ids_of_one_person_belong_together() -> None:
    """Who is handed in twice is one person, under all ids that either names."""
    both: list[User] = [number(1), BlockedUser(number(1)[1:], BSUID)]

    assert (await plan_for(both, [BlockedUser(None, BSUID)])).to_add == ()
    assert (await plan_for(both, [])).to_add == (number(1),)


async def plan_for(users: Sequence[User], listed: Sequence[BlockedUser]) -> SyncReport:
    async def snapshot() -> tuple[BlockedUser, ...]:
        return tuple(listed)

    return await sync(
        await read_wanted(users),
        snapshot=snapshot,
        block=nothing_done,
        unblock=nothing_done,
        dry_run=True,
        max_removals=None,
    )


async def nothing_done(users: Sequence[User]) -> Report:
    raise AssertionError(users)


@pytest.mark.parametrize(("listed", "permitted"), [(9, 0), (10, 1), (19, 1), (20, 2)])
async def test_a_tenth_is_rounded_down(
    sandbox: Sandbox, client: Client, listed: int, permitted: int
) -> None:
    """By default at most a tenth of the list is removed: of fewer than ten, nobody."""
    sandbox.block(*numbers(listed))
    with pytest.raises(TooManyRemovals, match=f"at most {permitted} "):
        await client.sync(numbers(listed - permitted - 1))
    assert len(sandbox.blocklist()) == listed

    report = await client.sync(numbers(listed - permitted))
    assert report.max_removals == permitted
    assert sandbox.blocklist() == keys(*range(listed - permitted))


async def test_a_dry_run_goes_as_far_as_it_takes(client: Client) -> None:
    """A dry run returns the plan however many removals that takes, and how many are permitted."""
    await client.block(numbers(20))
    by_default = await client.sync([number(1)], dry_run=True)
    at_most_five = await client.sync([number(1)], dry_run=True, max_removals=5)

    assert (len(by_default.to_remove), by_default.max_removals) == (19, 2)
    assert (len(at_most_five.to_remove), at_most_five.max_removals) == (19, 5)


async def test_too_many_removals(sandbox: Sandbox, client: Client) -> None:
    """More than a tenth of the list, or than max_removals, is not removed at all."""
    await client.block(numbers(40))
    with pytest.raises(TooManyRemovals, match="5 of 40 .*at most 4 .*max_removals=5"):
        await client.sync([*numbers(35), number(50)])
    with pytest.raises(TooManyRemovals):
        await client.sync(numbers(39), max_removals=0)
    with pytest.raises(ValueError, match="^max_removals: "):
        await client.sync(numbers(39), max_removals=-1)
    assert sandbox.blocklist() == keys(*range(40))

    await client.sync(numbers(35), max_removals=5)
    assert sandbox.blocklist() == keys(*range(35))


async def test_empty_or_failing_source(sandbox: Sandbox, client: Client) -> None:
    """A list that names nobody, or breaks off, changes nothing."""
    await client.block(numbers(3))

    async def broken() -> AsyncIterator[str]:
        yield number(1)
        raise LookupError

    for nobody in ([], ["0151 12345678"]):
        with pytest.raises(ValueError, match="^users: names nobody"):
            await client.sync(nobody, max_removals=9)
    with pytest.raises(LookupError):
        await client.sync(broken(), max_removals=9)
    assert sandbox.blocklist() == keys(0, 1, 2)


async def test_removes_before_it_adds() -> None:
    """On a full list, places are made before they are needed."""
    with Sandbox(Rules(window=None, capacity=10)) as sandbox:
        async with Client(Account(**sandbox.credentials), retry=quick()) as client:
            await client.block(numbers(10))
            report = await client.sync([*numbers(9), number(10)])

        assert sandbox.blocklist() == keys(*range(9), 10)
        report.raise_for_failures()


async def test_ends_early(sandbox: Sandbox, client: Client) -> None:
    """When the removals end early nothing is added; to sync again goes on."""
    await client.block(numbers(10))
    sandbox.glitch(glitches.empty(400), method="DELETE")
    with pytest.raises(SyncIncomplete) as caught:
        await client.sync([*numbers(9), number(20)])
    report = caught.value.report

    assert number(20)[1:] not in sandbox.blocklist()
    assert (report.removed and len(report.removed.unknown), report.added) == (1, None)
    assert report.summary() == "0 added, 0 removed, 9 already right, 1 unknown, 1 remaining"

    await client.sync([*numbers(9), number(20)])
    assert sandbox.blocklist() == keys(*range(9), 20)


async def test_what_was_removed_is_not_forgotten(sandbox: Sandbox, client: Client) -> None:
    """When the additions end early the report still says who was removed, and why it ended."""
    await client.block(numbers(10))
    sandbox.glitch(glitches.answer(401, {"error": {"code": 190}}), method="POST")
    with pytest.raises(SyncIncomplete) as caught:
        await client.sync([*numbers(9), number(20), number(21)])
    report = caught.value.report

    assert report.removed is not None
    assert [outcome.wa_id for outcome in report.removed.succeeded] == [number(9)[1:]]
    assert report.added is not None
    assert len(report.added.remaining) == 2
    assert caught.value.__cause__ is caught.value.error
    assert (caught.value.error.code, len(report.kept)) == (190, 9)  # type: ignore[attr-defined]
    assert "0 added, 1 removed, 9 already right, 2 remaining" in str(caught.value)


LISTED = tuple(BlockedUser(name[1:]) for name in numbers(3))
PLAN = SyncReport(LISTED, ("+16505551234",), (), (), max_removals=3)
REMOVED = Report(
    Operation.UNBLOCK, [Outcome(user.wa_id, Status.DONE, user.wa_id) for user in LISTED]
)


async def jobs(*, removed: object, added: object) -> SyncReport:
    """Carry `PLAN` out with jobs that end so."""

    def job(end: Any) -> Any:
        async def run(_: object) -> Report:
            if isinstance(end, BaseException):
                raise end
            return end  # type: ignore[no-any-return]

        return run

    return await carry_out(PLAN, block=job(added), unblock=job(removed))


async def test_closed_between_removals_and_additions() -> None:
    """Who was removed is not forgotten either where the additions do not even begin."""
    closed = ClientClosed("the client is not open")
    with pytest.raises(SyncIncomplete) as caught:
        await jobs(removed=REMOVED, added=closed)

    assert (caught.value.error, caught.value.__cause__) == (closed, closed)
    assert (caught.value.report.removed, caught.value.report.added) == (REMOVED, None)
    assert str(caught.value) == (
        "the sync ended early (0 added, 3 removed, 0 already right, 1 remaining):"
        " the client is not open; to go on, sync again"
    )


@pytest.mark.parametrize("end", [ClientClosed("closed"), asyncio.CancelledError(), KeyError()])
async def test_nothing_was_done(end: BaseException) -> None:
    """What ends a sync before it has done anything is raised as it is."""
    with pytest.raises(type(end)):
        await jobs(removed=end, added=None)


async def test_what_ended_it_is_masked() -> None:
    """Neither text nor repr shows a number, nor is an error without a text nameless."""
    texts = []
    for error in (LookupError("bad row: +16505551234"), LookupError()):
        early = Incomplete(Report(Operation.BLOCK, ()), error)
        with pytest.raises(SyncIncomplete) as caught:
            await jobs(removed=REMOVED, added=early)
        texts += [str(caught.value), repr(caught.value)]

    assert "6505551234" not in "".join(texts)
    assert "bad row: +1650…34; to go on" in texts[0]
    assert "LookupError; to go on" in texts[2]


def test_a_report_shows_counts_only() -> None:
    """A report's repr shows no phone number."""
    assert repr(PLAN) == "<SyncReport: 1 to add, 3 to remove, 0 already right>"


async def test_what_fails_is_counted(client: Client) -> None:
    """Who cannot be added is in the report, and fails it for those who like."""
    report = await client.sync([number(1), "+1650555131047"])

    assert report.summary() == "1 added, 0 removed, 0 already right, 1 failed"
    with pytest.raises(PartialFailure):
        report.raise_for_failures()


PEOPLE = ["16505551234", "5511987654321", "551187654321", "525512345678", "5215512345678", BSUID]


@given(st.sets(st.sampled_from(PEOPLE), min_size=1), st.sets(st.sampled_from(PEOPLE)))
async def test_any_two_lists(wanted: set[str], listed: set[str]) -> None:
    """Nobody is removed who is wanted, everybody wanted is there, and a second run does nothing."""
    blocked = set(listed)

    async def run() -> SyncReport:
        async def snapshot() -> tuple[BlockedUser, ...]:
            return tuple(BlockedUser(None, n) if "." in n else BlockedUser(n) for n in blocked)

        async def block(users: object) -> Report:
            blocked.update(users)  # type: ignore[call-overload]
            return Report("block", ())  # type: ignore[arg-type]

        async def unblock(users: tuple[User, ...]) -> Report:
            blocked.difference_update({user.wa_id or user.user_id for user in users})  # type: ignore[union-attr]
            return Report("unblock", ())  # type: ignore[arg-type]

        return await sync(
            await read_wanted(sorted(wanted)),
            snapshot=snapshot,
            block=block,
            unblock=unblock,
            dry_run=False,
            max_removals=99,
        )

    await run()
    assert listed & wanted <= blocked
    again = await run()
    assert (again.to_add, again.to_remove) == ((), ())
