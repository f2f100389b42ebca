"""Reads the blocklist page by page, and starts again when it changes on the way.

A cursor belongs to one version of the list; any change refuses it with 139102.  A walk holds
nothing open between pages, so it can be abandoned anywhere.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, TypeAlias

import attrs

from blockusers.errors import BlocklistChanged
from blockusers.models import BlockedUser, Page
from blockusers.wire import Listing

Fetch: TypeAlias = Callable[[int | None, str | None, str | None], Awaitable[Listing]]
"""Fetches one page, given its size and the cursors *after* and *before*."""

_FRUITLESS_RESTARTS: Final = 5
_RESTARTS: Final = 50
_SNAPSHOTS: Final = 5


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
        """Yield pages with their cursors, backward if *before* is given.

        Raises:
            BlocklistChanged: The list changed since the cursor was made.
        """
        backward = before is not None
        seen = {after, before}
        linked = False
        while True:
            listing = await self.fetch(page_size, after, before)
            page = listing.page
            if not page.users:
                return
            yield page
            has_link = listing.has_previous if backward else listing.has_next
            linked = linked or has_link
            cursor = page.before if backward else page.after
            # No documented answer says "this was the last page"; where links come, they do.
            if cursor in seen or (linked and not has_link):
                return
            seen.add(cursor)
            after, before = (None, cursor) if backward else (cursor, None)

    async def blocked(self, page_size: int | None = None) -> AsyncGenerator[BlockedUser]:
        """Yield each user at most once; start again when the list changes.

        Raises:
            BlocklistChanged: The list changes faster than it can be read: 5 restarts in a row
                came no further than a walk before, or 50 in all were not enough.
        """
        seen: set[str | None] = set()
        furthest = restarts = fruitless = 0
        while True:
            position = 0
            try:
                async with aclosing(self.pages(page_size)) as pages:
                    async for page in pages:
                        position += len(page.users)
                        for user in page.users:
                            names = (user.wa_id, user.user_id)
                            if seen.isdisjoint(names):
                                yield user
                            seen.update(names)
                            seen.discard(None)
            except BlocklistChanged:
                restarts += 1
                fruitless = 0 if position > furthest else fruitless + 1
                if fruitless > _FRUITLESS_RESTARTS or restarts > _RESTARTS:
                    raise
                furthest = max(furthest, position)
                await self.pause(fruitless + 1)
            else:
                return

    async def snapshot(self, page_size: int | None = None) -> tuple[BlockedUser, ...]:
        """Return the list as it was at one instant: all pages of one version.

        Raises:
            BlocklistChanged: The list changed during each of 5 walks.
        """
        for attempt in range(1, _SNAPSHOTS):
            try:
                return await self._walk(page_size)
            except BlocklistChanged:
                await self.pause(attempt)
        return await self._walk(page_size)

    async def _walk(self, page_size: int | None) -> tuple[BlockedUser, ...]:
        return tuple([user async for page in self.pages(page_size) for user in page.users])
