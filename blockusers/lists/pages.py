"""Reads the blocklist page by page, and starts again when it changes on the way.

A cursor belongs to one version of the list; any change refuses it with 139102.  A walk holds
nothing open between pages, so it can be abandoned anywhere.  It always ends, and never in silence
while the server says that there is more.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final, TypeAlias

import attrs

from blockusers.protocol.wire import LARGEST_BLOCKLIST, Listing
from blockusers.values.blocklist import BlockedUser, Page
from blockusers.values.errors import BlocklistChanged, InvalidResponse

Fetch: TypeAlias = Callable[[int | None, str | None, str | None], Awaitable[Listing]]
"""Fetches one page, given its size and the cursors *after* and *before*."""

_FRUITLESS_RESTARTS: Final = 5
"""Restarts in a row that may come no further than a walk before."""
_RESTARTS: Final = 50
"""Restarts in all."""
_SNAPSHOTS: Final = 5
"""Walks that may be tried for one snapshot."""
_FRUITLESS_PAGES: Final = 100
"""Pages in a row that may hold nobody new."""
_ROWS: Final = 2 * LARGEST_BLOCKLIST
"""Rows that one walk may have."""


@attrs.frozen
class Paginator:
    """Walks over the blocklist."""

    fetch: Fetch
    """Fetches one page."""
    pause: Callable[[int], Awaitable[None]]
    """Waits before the n-th try in a row to get further."""

    async def pages(
        self, page_size: int | None = None, after: str | None = None, before: str | None = None
    ) -> AsyncGenerator[Page]:
        """Yield pages with their cursors, backward if *before* is given."""
        async with aclosing(self._follow(_Walk(), page_size, after, before)) as pages:
            async for page, _ in pages:
                yield page

    async def blocked(self, page_size: int | None = None) -> AsyncGenerator[BlockedUser]:
        """Yield each user at most once; start again when the list changes."""
        yielded: set[str] = set()
        furthest = restarts = fruitless = 0
        while True:
            walk = _Walk()
            try:
                async with aclosing(self._follow(walk, page_size)) as pages:
                    async for _, new in pages:
                        for user in new:
                            if not yielded or yielded.isdisjoint(_ids(user)):
                                yield user
            except BlocklistChanged:
                got_further = walk.rows > furthest or not restarts
                fruitless = 0 if got_further else fruitless + 1
                restarts += 1
                if fruitless >= _FRUITLESS_RESTARTS or restarts > _RESTARTS:
                    raise
                furthest = max(furthest, walk.rows)
                yielded |= walk.names
                await self.pause(fruitless + 1)
            else:
                return

    async def snapshot(self, page_size: int | None = None) -> tuple[BlockedUser, ...]:
        """Return the list as it was at one instant: all pages of one version, nobody twice."""
        for attempt in range(1, _SNAPSHOTS):
            try:
                return await self._read_once(page_size)
            except BlocklistChanged:
                await self.pause(attempt)
        return await self._read_once(page_size)

    async def _read_once(self, page_size: int | None) -> tuple[BlockedUser, ...]:
        return tuple([user async for _, new in self._follow(_Walk(), page_size) for user in new])

    async def _follow(
        self,
        walk: _Walk,
        page_size: int | None,
        after: str | None = None,
        before: str | None = None,
    ) -> AsyncGenerator[tuple[Page, Sequence[BlockedUser]]]:
        """Yield each page, and those on it who were on none before."""
        backward = before is not None
        walk.cursors |= {after, before}
        at_end = False
        while not at_end:
            listing = await self.fetch(page_size, after, before)
            page = listing.page
            cursor = page.before if backward else page.after
            has_more = listing.has_previous if backward else listing.has_next
            at_end = walk.note(page, cursor, has_more=has_more)
            after, before = (None, cursor) if backward else (cursor, None)
            if page.users:
                yield page, walk.add(page.users)


@attrs.define(repr=False)
class _Walk:
    """What one walk over the list has seen, to know where it ends."""

    names: set[str] = attrs.field(factory=set[str])
    """The ids of everybody on its pages."""
    rows: int = 0
    cursors: set[str | None] = attrs.field(factory=set[str | None])
    linked: bool = False
    """Whether the server has said of some page that another follows."""
    fruitless: int = 0
    """How many pages in a row had nobody new."""

    def note(self, page: Page, cursor: str | None, *, has_more: bool) -> bool:
        """Note the cursor of *page*; return whether it is the last.

        Raises:
            InvalidResponse: The server says that there is more, but not how to get it.
        """
        obstacle = self._obstacle(page, cursor)
        if has_more and obstacle:
            raise _unfinished(f"the server says that another page follows, but this one {obstacle}")
        self.linked = self.linked or has_more
        self.cursors.add(cursor)
        # No documented answer says "this was the last page"; where links come, they do.
        return bool(obstacle) or (self.linked and not has_more)

    def _obstacle(self, page: Page, cursor: str | None) -> str:
        if not page.users:
            return "is empty"
        if cursor is None:
            return "has no cursor"
        return "repeats an earlier cursor" if cursor in self.cursors else ""

    def add(self, users: Sequence[BlockedUser]) -> Sequence[BlockedUser]:
        """Note the users of a page; return those who were on none before.

        Raises:
            InvalidResponse: The list does not end.
        """
        self.rows += len(users)
        if self.rows > _ROWS:
            raise _unfinished(
                f"more than {_ROWS:,} rows came, and a blocklist holds {LARGEST_BLOCKLIST:,} users"
            )
        new = self._new(users)
        self.fruitless = 0 if new else self.fruitless + 1
        if self.fruitless == _FRUITLESS_PAGES:
            raise _unfinished(f"{_FRUITLESS_PAGES} pages in a row listed nobody new")
        return new

    def _new(self, users: Sequence[BlockedUser]) -> Sequence[BlockedUser]:
        # A page of strangers, which is nearly every page, is done at once.
        ids = [user.wa_id for user in users if user.wa_id]
        ids += [user.user_id for user in users if user.user_id]
        if len(set(ids)) == len(ids) and self.names.isdisjoint(ids):
            self.names.update(ids)
            return users
        return [user for user in users if self._is_new(user)]

    def _is_new(self, user: BlockedUser) -> bool:
        is_new = self.names.isdisjoint(_ids(user))
        self.names.update(filter(None, _ids(user)))
        return is_new


def _unfinished(why: str) -> InvalidResponse:
    return InvalidResponse(f"the blocklist could not be read to its end: {why}; try again later")


def _ids(user: BlockedUser) -> tuple[str | None, str | None]:
    return user.wa_id, user.user_id
