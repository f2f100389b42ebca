"""Finds given users on the blocklist, in one walk that stops early."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from blockusers.jobs.source import Source, Users
from blockusers.values.blocklist import BlockedUser
from blockusers.values.outcome import Fault, Outcome, Status, User, named_by, names_of
from blockusers.values.users import INTERNATIONAL, Reader, same_person


async def find(wanted: Wanted, walk: AsyncGenerator[BlockedUser]) -> dict[User, BlockedUser]:
    """Return those who are wanted, as given, that *walk* comes upon, each with its entry."""
    async with aclosing(walk):
        found: dict[int, BlockedUser] = {}
        if wanted.distinct:
            async for entry in walk:
                found.update(dict.fromkeys(wanted.match(entry), entry))
                if len(found) == len(wanted.distinct):
                    break
        return {user: found[index] for user, index in wanted.inputs if index in found}


async def read_wanted(users: Users, reader: Reader = INTERNATIONAL) -> Wanted:
    """Read *users* to their end; what they raise is raised."""
    source, wanted = Source(users), Wanted(reader)
    try:
        while not source.at_end:
            await source.read(reader.at_once, wanted.add)
            await asyncio.sleep(0)
    finally:
        await source.close()
    if source.error is not None:
        raise source.error
    return wanted


class Wanted:
    """Users to look for on the list, by each key under which it may hold them."""

    def __init__(self, reader: Reader) -> None:
        self.inputs: list[tuple[User, int]] = []
        """The users as given, each with the index of its person in `distinct`."""
        self.distinct: list[User] = []
        """The first input for each person."""
        self.rejected: list[Outcome] = []
        """What was given and names nobody, and why."""
        self._reader = reader
        self._index_of: dict[str, int] = {}
        self._listed_as: dict[str, list[int]] = {}

    def add(self, users: Sequence[User]) -> None:
        """Look for *users*, too."""
        for user in users:
            try:
                names = names_of(user, self._reader)
            except ValueError as error:
                fault = Fault(None, str(error))
                self.rejected.append(Outcome(named_by(user), Status.FAILED, faults=(fault,)))
            else:
                self._enter(user, names)

    def _enter(self, user: User, names: Sequence[str]) -> None:
        index = self._index_of.get(names[0], len(self.distinct))
        if index == len(self.distinct):
            self.distinct.append(user)
        self.inputs.append((user, index))
        for name in names:
            self._index_of.setdefault(name, index)
            for key in same_person(name):
                self._listed_as.setdefault(key, []).append(index)

    def match(self, entry: BlockedUser) -> set[int]:
        """Return the indexes of those who are, or may be, *entry*."""
        return {index for name in names_of(entry) for index in self._listed_as.get(name, ())}
