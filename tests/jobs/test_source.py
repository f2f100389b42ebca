"""Sources: read no further than asked, and an error keeps what came before it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import pytest

from blockusers.jobs.source import Source
from blockusers.values.blocklist import BlockedUser
from blockusers.values.outcome import Operation, Outcome, Status
from blockusers.values.report import Report

USERS = [f"+1650555123{n}" for n in range(5)]


class Counting:
    """Gives users, plain or async, and counts how many; may break before its end."""

    def __init__(self, *, breaks_with: BaseException | None = None) -> None:
        self.given = 0
        self.closed = False
        self._breaks_with = breaks_with

    def plain(self) -> Iterator[str]:
        for user in USERS:
            self.given += 1
            yield user
        if self._breaks_with:
            raise self._breaks_with

    async def async_(self) -> AsyncIterator[str]:
        try:
            for user in self.plain():
                await asyncio.sleep(0)
                yield user
        finally:
            self.closed = True


KINDS = pytest.mark.parametrize("kind", [Counting.plain, Counting.async_], ids=["plain", "async"])
Kind = Callable[[Counting], Any]


async def read_all(source: Source, count: int = 2) -> list[Any]:
    taken: list[Any] = []
    while not source.at_end:
        await source.read(count, taken.extend)
    return taken


@KINDS
async def test_reads_no_further_than_asked(kind: Kind) -> None:
    """As many users are drawn as were asked for, and no more."""
    counting = Counting()
    source, taken = Source(kind(counting)), []
    assert counting.given == 0

    for drawn in (0, 1, 3):
        await source.read(drawn - len(taken), taken.extend)

        assert counting.given == drawn
        assert taken == USERS[:drawn]
        assert not source.at_end
    await source.close()


@KINDS
@pytest.mark.parametrize("count", [1, 2, 5, 6])
async def test_reads_to_the_end(kind: Kind, count: int) -> None:
    """Every user comes once, in order, and then the source is at its end."""
    source = Source(kind(Counting()))

    assert await read_all(source, count) == USERS
    assert source.at_end
    assert source.error is None


async def test_async_users_come_one_by_one() -> None:
    """Each user of an async source is handed on before the next is drawn, which can take long."""
    counting = Counting()
    drawn: list[int] = []

    await Source(counting.async_()).read(9, lambda _users: drawn.append(counting.given))

    assert drawn == [1, 2, 3, 4, 5]


@KINDS
async def test_an_error_is_the_end(kind: Kind) -> None:
    """What an iterable gave before it broke is kept, and so is its error."""
    error = ValueError("row 6")
    source = Source(kind(Counting(breaks_with=error)))

    assert await read_all(source, 9) == USERS
    assert source.at_end
    assert source.error is error


@KINDS
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_the_end_of_the_process_passes_through(
    kind: Kind, error: type[BaseException]
) -> None:
    """Only exceptions are kept; what ends the process is not one."""
    source = Source(kind(Counting(breaks_with=error())))
    taken: list[Any] = []
    caught = None

    try:
        await source.read(9, taken.extend)
    except BaseException as stopped:
        caught = stopped

    assert isinstance(caught, error)
    assert taken == USERS
    assert source.error is None


@pytest.mark.parametrize(
    ("users", "expected"),
    [
        (USERS, USERS),
        (tuple(USERS), USERS),
        (dict.fromkeys(USERS), USERS),
        (iter(USERS), USERS),
        ({16505551234}, [16505551234]),
        ([], []),
        ([Outcome("a", Status.DONE)], [Outcome("a", Status.DONE)]),
        ((BlockedUser("16505551234"),), [BlockedUser("16505551234")]),
        ([None, b"", []], [None, b"", []]),
    ],
    ids=lambda value: f"{type(value).__name__} {len(value) if hasattr(value, '__len__') else ''}",
)
async def test_any_iterable_will_do(users: Iterable[Any], expected: list[Any]) -> None:
    """Lists, sets, tuples and iterators are read alike; what is in them is not looked at."""
    source = Source(users)

    assert source.is_plain
    assert await read_all(source) == expected


async def test_async_sources_are_not_plain() -> None:
    """An async source may make one wait, so it is not read out after a job has ended."""
    assert not Source(Counting().async_()).is_plain


class Bare:
    """An iterable whose iterator has `__next__` or `__anext__` and nothing else."""

    class Iterator:
        def __init__(self) -> None:
            self._users = iter(USERS)

        def __next__(self) -> str:
            return next(self._users)

    def __iter__(self) -> Any:
        return self.Iterator()


class AsyncBare:
    """Its async twin; it can be iterated over the plain way too, to no good."""

    class Iterator:
        def __init__(self) -> None:
            self._users = iter(USERS)

        async def __anext__(self) -> str:
            for user in self._users:
                return user
            raise StopAsyncIteration

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> str:
            raise AssertionError("not the way to read this")

    def __aiter__(self) -> Any:
        return self.Iterator()

    def __iter__(self) -> Any:
        raise AssertionError("not the way to read this")


@pytest.mark.parametrize("users", [Bare(), AsyncBare()], ids=["plain", "async"])
async def test_the_least_that_python_iterates_over(users: Any) -> None:
    """What a `for` or an `async for` can read can be read here."""
    source = Source(users)

    assert await read_all(source) == USERS
    assert source.error is None


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ("+16505551234", "users: a str is one person; pass a list of one, or call block_one"),
        ("", "users: a str is one person"),
        (b"+16505551234", "users: bytes are no list of users; decode them"),
        (bytearray(b"1"), "users: bytes are no list of users"),
        (memoryview(b"1"), "users: bytes are no list of users"),
        (None, "users: must be an iterable or async iterable of users, not NoneType"),
        (16505551234, "users: must be an iterable or async iterable of users, not int"),
        (BlockedUser("16505551234"), "users: must be .* not BlockedUser"),
        (Outcome("16505551234", Status.DONE), "users: must be .* not Outcome"),
        (Counting.async_, "users: must be .* not function"),
        (
            Report(Operation.BLOCK, (Outcome("16505551234", Status.DONE),)),
            "users: .* report.succeeded, report.failed, report.unknown or report.remaining",
        ),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else None,
)
def test_what_is_no_list_of_users(users: Any, message: str) -> None:
    """One person, bytes or no iterable at all is a mistake of the caller's."""
    with pytest.raises(TypeError, match=f"^{message}") as caught:
        Source(users)

    assert "6505551234" not in str(caught.value)


async def test_closing_closes_an_async_generator() -> None:
    """An async generator that was not read to its end can release what it holds."""
    counting = Counting()
    source = Source(counting.async_())
    await source.read(1, lambda _users: None)
    assert not counting.closed

    await source.close()

    assert counting.closed


@pytest.mark.parametrize("users", [USERS, Counting().plain(), AsyncBare()], ids=["list", "g", "a"])
async def test_closing_what_needs_none(users: Any) -> None:
    """What has nothing to close is left alone."""
    source = Source(users)
    await source.read(1, lambda _users: None)

    await source.close()
    await source.close()


async def test_a_failure_to_close_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An error while closing is logged, and does not hide what the job ended with."""

    async def users() -> AsyncIterator[str]:
        try:
            yield USERS[0]
        finally:
            raise OSError("the disk is full")

    source = Source(users())
    await source.read(1, lambda _users: None)
    await source.close()

    assert "the source of users failed to close" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING
    assert source.error is None
