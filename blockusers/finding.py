"""Finds given users on the blocklist, in one walk that stops early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress

from blockusers.identifiers import INTERNATIONAL, Reader, same_person
from blockusers.models import BlockedUser
from blockusers.report import User, names_of
from blockusers.sources import Source, Users


async def find(
    users: Users, walk: AsyncGenerator[BlockedUser], reader: Reader = INTERNATIONAL
) -> dict[User, BlockedUser]:
    """Return those of *users*, as given, that *walk* comes upon, each with its entry."""
    async with aclosing(walk):
        wanted = _Wanted(reader)
        source = Source(users)
        try:
            while not source.at_end:
                await source.read(reader.at_once, wanted.add)
                await asyncio.sleep(0)
        finally:
            await source.close()
        if source.error is not None:
            raise source.error
        found: dict[User, BlockedUser] = {}
        if wanted:
            async for entry in walk:
                found.update(dict.fromkeys(wanted.take(entry), entry))
                if not wanted:
                    break
        return {user: found[user] for user in wanted.order if user in found}


class _Wanted:
    """Who is looked for, by each key under which the list may hold them."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.order: list[User] = []
        self._by_key: dict[str, list[User]] = {}
        self._left: set[User] = set()

    def __bool__(self) -> bool:
        return bool(self._left)

    def add(self, users: Sequence[User]) -> None:
        """Look for *users*, too; what names nobody is on no list."""
        for user in users:
            with suppress(ValueError):
                for name in names_of(user, self._reader):
                    for key in same_person(name):
                        self._by_key.setdefault(key, []).append(user)
                self.order.append(user)
                self._left.add(user)

    def take(self, entry: BlockedUser) -> list[User]:
        """Return who is *entry*."""
        taken = [user for name in names_of(entry) for user in self._by_key.get(name, ())]
        self._left.difference_update(taken)
        return taken
