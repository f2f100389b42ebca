"""Making the blocklist equal to a list: what is added, removed and kept, and what is too risky."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockusers import (
    Account,
    BlockedUser,
    Client,
    Incomplete,
    Outcome,
    PartialFailure,
    Report,
    Status,
    SyncReport,
    TooManyRemovals,
)
from blockusers.report import User
from blockusers.sandbox import Rules, Sandbox, glitches
from blockusers.syncing import sync
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


async def test_keeps_who_a_refused_input_may_mean(sandbox: Sandbox, client: Client) -> None:
    """An input that is refused is reported, and whoever it may mean stays blocked."""
    sandbox.block(number(1), "4915112345678")
    report = await client.sync([number(1), "0151 12345678", "anna"])

    assert sandbox.blocklist() == {*keys(1), "4915112345678"}
    assert [outcome.input for outcome in report.refused] == ["0151 12345678", "anna"]
    assert report.summary() == "0 added, 0 removed, 2 already right, 2 refused"
    with pytest.raises(PartialFailure):
        report.raise_for_failures()


@pytest.mark.parametrize(
    ("given", "listed"),
    [
        ("0016505551234", "16505551234"),
        ("0650 555 1234", "16505551234"),
        (
            "\u0660\u0660\u0661\u0666\u0665\u0660\u0665\u0665\u0665\u0661\u0662\u0663\u0664",
            "16505551234",
        ),
        ("16505551234.0", "16505551234"),
        (26505551234.0, "26505551234"),
        ("1.65055E+10", "16505551234"),
        ("+1 650 555 1234 ext. 5", "16505551234"),
        ("+1 650 555 1234 (2)", "16505551234"),
        ("+16505551234 / +16505559876", "16505551234"),
        ("+16505559876, +16505551234", "16505551234"),
        ("055123", "49055123"),
        ("021 8765-4321", "5521987654321"),
        ("us.AbCdEfGhIj", "US.AbCdEfGhIj"),
        ("US. AbCdEfGhIj!", "US.AbCdEfGhIj"),
    ],
)
async def test_whom_a_refused_input_may_mean(
    sandbox: Sandbox, client: Client, given: User, listed: str
) -> None:
    """However an input that was refused is damaged, whom it may mean stays; others go."""
    sandbox.block(listed, *numbers(20))
    report = await client.sync([*numbers(19), given])

    assert len(report.refused) == 1
    assert listed in sandbox.blocklist()
    assert number(19)[1:] not in sandbox.blocklist()


PARENT = "US.ENT.11815799212886844830"


@pytest.mark.parametrize(
    ("wanted", "listed"),
    [
        (Outcome("6505551234", Status.DONE, "16505551234"), BlockedUser("16505551234", None, None)),
        (Outcome("+16505551234", Status.DONE, None, BSUID), BlockedUser(None, BSUID, None)),
        (Outcome("0151", Status.FAILED, "16505551234"), BlockedUser("16505551234", None, None)),
        (BlockedUser("16505551234", BSUID, None), BlockedUser(None, BSUID, None)),
        (BlockedUser("16505551234", None, PARENT), BlockedUser(None, BSUID, PARENT)),
        (PARENT, BlockedUser(None, BSUID, PARENT)),
    ],
)
async def test_known_by_another_id(wanted: User, listed: BlockedUser) -> None:
    """A user who is wanted by one id and listed by another stays, where both are known."""
    others = tuple(BlockedUser(name[1:], None, None) for name in numbers(20))

    async def snapshot() -> tuple[BlockedUser, ...]:
        return (listed, *others)

    plan = await sync(
        [*others[1:], wanted],
        snapshot=snapshot,
        block=nothing_done,
        unblock=nothing_done,
        dry_run=True,
        max_removals=None,
    )

    assert plan.to_remove == others[:1]
    assert plan.to_add == ()


async def nothing_done(users: Sequence[User]) -> Report:
    raise AssertionError(users)


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
    with Sandbox(Rules(window=None, capacity=5)) as sandbox:
        async with Client(Account(**sandbox.credentials), retry=quick()) as client:
            await client.block(numbers(5))
            report = await client.sync([*numbers(4), number(9)])

        assert sandbox.blocklist() == keys(0, 1, 2, 3, 9)
        report.raise_for_failures()


async def test_ends_early(sandbox: Sandbox, client: Client) -> None:
    """When the removals end early nothing is added; to call it again goes on."""
    await client.block(numbers(10))
    sandbox.glitch(glitches.empty(400), method="DELETE")
    with pytest.raises(Incomplete):
        await client.sync([*numbers(9), number(20)])
    assert number(20)[1:] not in sandbox.blocklist()
    await client.sync([*numbers(9), number(20)])

    assert sandbox.blocklist() == keys(*range(9), 20)


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
            sorted(wanted),
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
