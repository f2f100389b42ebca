"""Reads users from an iterable or async iterable, no further ahead than asked."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Callable, Iterable, Sequence, Sized
from itertools import islice
from typing import Any, Final, TypeAlias

from blockusers._tools.cancellation import no_foreign_cancellation
from blockusers.values.outcome import User
from blockusers.values.report import Report

_LOG: Final = logging.getLogger("blockusers")

Users: TypeAlias = Iterable[User] | AsyncIterable[User]
"""Any iterable or async iterable of users; but neither a `Report` nor a `str`."""


class Source:
    """The users of one job, read once from an iterable or an async iterable.

    Raises:
        TypeError: *users* is no list of users.
    """

    def __init__(self, users: Users) -> None:
        self.error: Exception | None = None
        """What the caller's iterable raised, if it did."""
        self.at_end = False
        """Whether there is nothing more to read."""
        _check(users)
        if isinstance(users, AsyncIterable):
            self._iterator: Any = aiter(users)
        else:
            self._iterator = islice(users, None)
        self.is_plain = not isinstance(users, AsyncIterable)
        """Whether it can be read without waiting for anybody."""
        self.is_sized = isinstance(users, Sized)
        """Whether it is known to have an end."""

    async def read(self, count: int, take: Callable[[Sequence[User]], object]) -> None:
        """Hand at most *count* users to *take*, fewer at the end; async ones one by one.

        An error of the caller's iterable is its end, and is kept.
        """
        try:
            with no_foreign_cancellation():
                if self.is_plain:
                    self._read_plain(count, take)
                else:
                    for _ in range(count):
                        take((await anext(self._iterator),))
        except StopAsyncIteration:
            self.at_end = True
        except Exception as error:
            self.at_end, self.error = True, error

    def _read_plain(self, count: int, take: Callable[[Sequence[User]], object]) -> None:
        users: list[User] = []
        try:
            users.extend(islice(self._iterator, count))
            self.at_end = len(users) < count
        finally:  # an iterable that raises has given what came before
            take(users)

    async def close(self) -> None:
        """Close an async generator, so that it can release what it holds."""
        close = getattr(self._iterator, "aclose", None)
        if close is None:
            return
        try:
            with no_foreign_cancellation():
                await close()
        except Exception as error:
            # Its text may hold anybody's number.
            _LOG.warning("the source of users failed to close: %s", type(error).__name__)


def _check(users: object) -> None:
    if isinstance(users, str):
        raise TypeError(
            "users: a str is one person; pass a list of one, or call block_one or unblock_one"
        )
    if isinstance(users, Report):
        raise TypeError(
            "users: a report is no list of users; pass a part of it, such as report.succeeded,"
            " report.failed, report.unknown or report.remaining"
        )
    if isinstance(users, bytes | bytearray | memoryview):
        raise TypeError("users: bytes are no list of users; decode them and split the lines")
    if not isinstance(users, AsyncIterable | Iterable):
        raise TypeError(
            f"users: must be an iterable or async iterable of users, not {type(users).__name__}"
        )
