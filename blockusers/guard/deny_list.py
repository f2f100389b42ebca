"""`DenyList`: who is denied on which business number; parses, hashes and matches users."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from operator import attrgetter
from typing import Final, get_args

import attrs

from blockusers._tools.arguments import check_number
from blockusers.guard.entries import EVERYWHERE, Action, Change, Entry
from blockusers.guard.keys import Keys, digest_of
from blockusers.guard.stores.protocol import CHANGES_KEPT, Filter, Found, Store
from blockusers.guard.webhooks import IdentityChanged
from blockusers.jobs.source import Source, Users
from blockusers.values.national import NationalReader
from blockusers.values.outcome import (
    Fault,
    Outcome,
    Status,
    User,
    named_by,
    names_of,
)
from blockusers.values.users import INTERNATIONAL, Reader

_BATCH: Final = 2000
"""Entries that are added in one transaction."""
_SORTED: Final = 32_000
"""Entries that are sorted before they are added: neighbours share pages of the store."""
_PAGE: Final = 1000
_PARENT: Final = re.compile(r"[A-Z]{2}\.ENT\.[A-Za-z0-9]{1,128}")


@attrs.frozen
class Verdict:
    """Whether a sender is denied, and what was learned while that was looked up."""

    entry: Entry | None = None
    """The entry that denies the sender; None if none does."""
    person: str = attrs.field(default="", repr=False)
    """One key for all ids of the sender."""
    aliases: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """Of the sender's ids that do not lead to that key yet, the key: they may be learned."""


class DenyList:
    """The people who are to be blocked when they write, and exceptions from that.

    Everything is kept in the store; two lists with the same store are one.

    Args:
        store: Where it is kept, such as a `SqliteStore`. It must be open.
        region: A country (ISO 3166), such as `BR`, whose national spellings are accepted, as in
            `Client`. Needs the extra `phone`.
        hash_key: A secret of at least 16 bytes. The store then gets a keyed hash of each user, so
            that whoever reads it without the secret learns nobody's number. It cannot be changed.

    Raises:
        TypeError, ValueError: An argument is wrong; the message begins with its name. A `hash_key`
            that is not the one of the store is found out by the first method that is called.
        ModuleNotFoundError: *region* is given, and the extra `phone` is not installed.
    """

    def __init__(
        self, store: Store, *, region: str | None = None, hash_key: str | bytes | None = None
    ) -> None:
        self.store = store
        """Where it is kept."""
        self._reader = INTERNATIONAL if region is None else NationalReader(region)
        self._keys = Keys(hash_key)
        self._is_checked = False

    def __repr__(self) -> str:
        hashed = " hashed" if self._keys.check else ""
        return f"<DenyList{hashed} in {self.store!r}>"

    # ------------------------------------------------------------------ changing

    async def add(
        self,
        users: Users,
        *,
        scope: str = EVERYWHERE,
        action: Action = "deny",
        reason: str = "",
        origin: str = "",
        expires_at: float | None = None,
    ) -> Change:
        """Add users; who is on the list already gets the new reason and expiry.

        Args:
            users: Phone numbers, WhatsApp ids, BSUIDs, outcomes or blocked users.
            scope: The phone number id of the business number for which alone it holds; `*` is all.
            action: `deny`, or `allow`, which beats `deny` within its scope.
            reason: Why, in words for people.
            origin: Who or what adds them; `remove(origin=…)` undoes it.
            expires_at: When it ends, in seconds since 1970; None is never.

        Returns:
            How many entries are new or changed, and what names nobody.

        Raises:
            TypeError, ValueError: An argument is wrong; the message begins with its name. Nothing
                was added.
            StoreUnavailable: The store failed, and what came last was not added. To add all again
                does no harm.
            Exception: What *users* raised; those that came before were added.
        """
        given = {"scope": scope, "action": action, "reason": reason, "origin": origin}
        for name, value in given.items():
            _check_text(name, value)
        _check_filter(scope, action, origin)
        if expires_at is not None:
            check_number("expires_at", expires_at)
        like = Entry("", scope, action, reason, origin, float(int(self.store.clock())), expires_at)
        named = _Named(users, self._reader)
        await self.check_key(is_adding=True)
        batch = _Batch(self.store)
        async with aclosing(named.parts()) as parts:
            async for names in parts:
                self._enter(names, like, batch)
                if len(batch.entries) >= _SORTED:
                    await batch.add()
        await batch.add()
        named.raise_error()
        return Change(batch.added, batch.updated, refused=tuple(named.refused))

    def _enter(self, names: Iterable[Sequence[str]], like: Entry, batch: _Batch) -> None:
        """Enter the first of each names."""
        fields = (like.scope, like.action, like.reason, like.origin, like.added_at, like.expires_at)
        for first, *_ in names:
            key, *others = self._keys.spellings(first)
            batch.entries.append(Entry(key, *fields))
            if others:
                batch.spellings[key] = others

    async def remove(
        self, users: Users | None = None, *, scope: str | None = None, origin: str | None = None
    ) -> Change:
        """Remove the entries of users, in whatever spelling, or all of a scope or an origin.

        Args:
            users: Whose entries; None is everybody's.
            scope: Only entries with this scope; None is all.
            origin: Only entries with this origin; None is all.

        Raises:
            TypeError, ValueError: An argument is wrong, or there is none.
            StoreUnavailable: The store failed; some of the entries may be removed.
            Exception: What *users* raised; those that came before were removed.
        """
        _check_filter(scope, None, origin)
        if users is None and scope is None and origin is None:
            raise ValueError("remove: pass users, scope or origin; to remove all is not meant")
        if users is None:
            await self.check_key()
            return Change(removed=await self.store.remove(Filter(None, scope, None, origin)))
        named = _Named(users, self._reader)
        await self.check_key()
        removed = 0
        async with aclosing(named.parts()) as parts:
            async for names in parts:
                keys = [
                    key for each in names for name in each for key in self._keys.spellings(name)
                ]
                known = {each.entry.user for each in await self.store.find(keys)}  # by an alias
                users_ = [*dict.fromkeys([*keys, *known])]
                removed += await self.store.remove(Filter(users_, scope, None, origin))
        named.raise_error()
        return Change(removed=removed, refused=tuple(named.refused))

    async def erase(self, user: User) -> Change:
        """Delete whatever is known of a user: entries, other ids, intents, records.

        Whoever is blocked stays so: unblock them first, if that is wanted.

        Raises:
            ValueError: It names nobody.
            StoreUnavailable: The store failed, and nothing was deleted.
        """
        await self.check_key()
        keys = [key for name in names_of(user, self._reader) for key in self._keys.spellings(name)]
        return Change(removed=await self.store.erase(keys, keys))

    async def follow(self, change: IdentityChanged, scopes: Collection[str] | None = None) -> bool:
        """Let the entries of somebody who has another number or id hold for that from now on.

        Entries that were added after the change stay: they are about whoever has the old number
        now. Each message is heeded once, and none that is older than the last change to that
        number.

        Args:
            change: Who has changed.
            scopes: Only entries with one of these scopes are moved; None moves all.

        Returns:
            Whether there was an entry.

        Raises:
            StoreUnavailable: The store failed, and nothing was changed.
        """
        await self.check_key()
        (old, new) = (self._names((each,)) for each in (change.old, change.new))
        is_too_old = change.changed_at < self.store.clock() - CHANGES_KEPT
        if not old or not new or is_too_old:
            return False
        # One message may tell of a new number and of a new id.
        message = change.message_id and f"{change.message_id} {old[0]}"
        return await self.store.move(
            self._keys.spellings(old[0]),
            self._keys.of(new[0]),
            change.changed_at,
            self.digest(message),
            scopes,
        )

    # ------------------------------------------------------------------ reading

    async def match(self, *ids: str, phone_number_id: str) -> Entry | None:
        """Return the entry that denies a sender on a business number; None if none does.

        Args:
            *ids: All that is known of one sender: WhatsApp id, BSUID, parent id. What names nobody
                is not matched.
            phone_number_id: The business number.

        Raises:
            StoreUnavailable: The store cannot be read.
        """
        return (await self.recognize(ids, phone_number_id)).entry

    async def recognize(
        self, ids: Iterable[str], phone_number_id: str, *, is_shared: bool = True
    ) -> Verdict:
        """Return the verdict about a sender, and which ids may be learned.

        Args:
            ids: All that is known of the sender.
            phone_number_id: The business number.
            is_shared: Whether other numbers may rely on what is learned. They may not where each
                has a secret of its own, so that the owner of one could forge it for another.

        Raises:
            StoreUnavailable: The store cannot be read.
        """
        await self.check_key()
        names = self._names(ids)
        direct = [key for name in names for key in self._keys.spellings(name)]
        private = [self._keys.of(f"{phone_number_id} {name}") for name in names]
        found = await self.store.find([*direct, *private])
        relevant = [each for each in found if each.entry.scope in (EVERYWHERE, phone_number_id)]
        if not relevant:
            return Verdict()
        entry = _deciding(relevant)
        # All ids of a person lead to one entry, so its user is one name for all of them.
        hub = min((each.entry.user for each in relevant if each.is_alias), default=entry.user)
        known = {each.id for each in relevant if each.entry.user == hub}
        unknown = [
            mine if not is_shared else self._keys.of(name)
            for name, mine in zip(names, private, strict=True)
            if known.isdisjoint([mine, *self._keys.spellings(name)])
        ]
        denies = entry if entry.action == "deny" else None
        return Verdict(denies, hub, dict.fromkeys(unknown, hub))

    def entries(
        self,
        *,
        scope: str | None = None,
        action: Action | None = None,
        origin: str | None = None,
    ) -> AsyncIterator[Entry]:
        """Yield the entries in the order of their users; nothing is held open in between.

        An entry that has expired is among them until it is removed. What is added or removed
        meanwhile may be among them or not.

        Raises:
            TypeError, ValueError: An argument is wrong.
            StoreUnavailable: The store cannot be read.
        """
        _check_filter(scope, action, origin)
        return self._pages(Filter(None, scope, action, origin))

    async def _pages(self, chosen: Filter) -> AsyncGenerator[Entry]:
        await self.check_key()
        page: Sequence[Entry] = await self.store.entries(chosen, None, _PAGE)
        while page:
            for entry in page:
                yield entry
            page = await self.store.entries(chosen, page[-1], _PAGE)

    async def count(
        self,
        *,
        scope: str | None = None,
        action: Action | None = None,
        origin: str | None = None,
    ) -> int:
        """Return how many entries there are.

        Raises:
            TypeError, ValueError: An argument is wrong.
            StoreUnavailable: The store cannot be read.
        """
        _check_filter(scope, action, origin)
        await self.check_key()
        return await self.store.count(Filter(None, scope, action, origin))

    # ------------------------------------------------------------------ keys

    def key(self, id_: str) -> str:
        """Return the key of an id, as an entry for it would have it.

        Raises:
            ValueError: It names nobody.
        """
        for name in self._names((id_,)):
            return self._keys.of(name)
        raise ValueError("id_: names nobody: neither a phone number nor a BSUID")

    def names(self, user: User) -> tuple[str, ...]:
        """Return the ids of a user, as a message of theirs would give them; none of nobody."""
        try:
            return names_of(user, self._reader)
        except ValueError:
            return ()

    def sent_as(self, ids: Iterable[str]) -> str | None:
        """Return the id that names a sender to the server: the number if there is one."""
        names = [name for name in self._names(ids) if not _PARENT.fullmatch(name)]
        return min(names, key=lambda name: name.count("."), default=None)

    def digest(self, message_id: str | None) -> str:
        """Return a digest of a message's id, which itself holds the number of its sender."""
        return "" if message_id is None else digest_of(message_id)

    def _names(self, ids: Iterable[str]) -> list[str]:
        """Return whom *ids* name, in digits or as they stand; leave out what names nobody."""
        return [name for id_ in ids if (name := self._name(id_))]

    def _name(self, id_: str) -> str | None:
        """Return whom an id names; digits are a number with its country code, as in webhooks."""
        for reader in (INTERNATIONAL, self._reader):
            try:
                return reader.read(id_).key
            except ValueError:
                pass
        return id_ if isinstance(id_, str) and _PARENT.fullmatch(id_) else None

    async def check_key(self, *, is_adding: bool = False) -> None:
        """Check that the store is one with this `hash_key`, or without any.

        Raises:
            ValueError: It is not.
        """
        if self._is_checked:
            return
        stored = await self.store.setting("hash_key", self._keys.check if is_adding else None)
        if stored is None:  # a new store
            return
        if stored != self._keys.check:
            raise ValueError(_WRONG_KEY[bool(stored), bool(self._keys.check)])
        self._is_checked = True


@attrs.define
class _Batch:
    """Entries that are added together."""

    store: Store
    entries: list[Entry] = attrs.field(factory=list)
    spellings: dict[str, Sequence[str]] = attrs.field(factory=dict)
    added: int = 0
    updated: int = 0

    async def add(self) -> None:
        """Add them, in several transactions so that nobody waits long, and start anew."""
        self.entries.sort(key=attrgetter("user"))
        for start in range(0, len(self.entries), _BATCH):
            part = self.entries[start : start + _BATCH]
            added, updated = await self.store.add(part, self.spellings)
            self.added, self.updated = self.added + added, self.updated + updated
        self.entries, self.spellings = [], {}


class _Named:
    """Reads users part by part: of each, the names under which the list may have them.

    Raises:
        TypeError: *users* is no list of users.
    """

    def __init__(self, users: Users, reader: Reader) -> None:
        if isinstance(users, str):
            raise TypeError("users: a str is one person; pass a list of one")
        self.refused: list[Outcome] = []
        """What names nobody, and why."""
        self._source = Source(users)
        self._reader = reader
        self._names: list[tuple[str, ...]] = []

    async def parts(self) -> AsyncGenerator[list[tuple[str, ...]]]:
        """Yield the names of all users."""
        try:
            while not self._source.at_end:
                await self._source.read(self._reader.at_once, self._take)
                await asyncio.sleep(0)
                names, self._names = self._names, []
                yield names
        finally:
            await self._source.close()

    def raise_error(self) -> None:
        """Raise what the caller's iterable raised, if it did."""
        if self._source.error is not None:
            raise self._source.error

    def _take(self, users: Sequence[User]) -> None:
        plain = self._reader.read_plain(users)
        if plain is not None:
            self._names.extend((key,) for key in plain)
            return
        for user in users:
            try:
                self._names.append(names_of(user, self._reader))
            except ValueError as error:
                fault = Fault(None, str(error))
                self.refused.append(Outcome(named_by(user), Status.FAILED, faults=(fault,)))


def _deciding(found: Iterable[Found]) -> Entry:
    """Return the entry that counts: of the narrower scope, and there one that allows."""
    return min(
        (each.entry for each in found),
        key=lambda entry: (
            entry.scope == EVERYWHERE,
            entry.action != "allow",
            entry.origin,
            entry.user,
        ),
    )


def _check_filter(scope: object, action: object, origin: object) -> None:
    if scope is not None:
        _check_text("scope", scope)
        if scope != EVERYWHERE and not (str(scope).isascii() and str(scope).isdigit()):
            raise ValueError("scope: must be `*` or a phone number id, which has digits only")
    if action is not None:
        _check_text("action", action)
        if action not in get_args(Action):
            raise ValueError(f"action: must be 'deny' or 'allow', not {action!r:.50}")
    if origin is not None:
        _check_text("origin", origin)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name}: must be a str, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name}: has characters that cannot be written as UTF-8") from None


_WRONG_KEY: Final = {
    (True, True): "hash_key: is not the one that this list was made with",
    (True, False): "hash_key: this list was made with one; pass it",
    (False, True): "hash_key: this list was made without one, and has plain entries; leave it out,"
    " or make a new list in another store",
}
