"""`Guard`: is shown every incoming message, and blocks whoever is on the deny list."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Final, Self, cast

from blockusers._tools.arguments import check_number
from blockusers.client import Client
from blockusers.guard.deny_list import DenyList, Verdict
from blockusers.guard.drain import OnFull, OnResults
from blockusers.guard.entries import EVERYWHERE, Change, Entry
from blockusers.guard.intents import Intent
from blockusers.guard.number import GuardedNumber
from blockusers.guard.payload import LARGEST
from blockusers.guard.status import GuardStatus
from blockusers.guard.stores.protocol import Store, StoreUnavailable
from blockusers.guard.webhooks import (
    IdentityChanged,
    InvalidWebhook,
    Sighting,
    Webhook,
    WebhookRejected,
)
from blockusers.jobs.source import Source, Users
from blockusers.observe.events import SenderMatched
from blockusers.observe.observers import Observer
from blockusers.protocol.retry import RetryPolicy
from blockusers.values.account import Account
from blockusers.values.errors import ClientClosed
from blockusers.values.outcome import Operation, User, why

_LOG: Final = logging.getLogger("blockusers")

WINDOW: Final = 24 * 3600.0
"""Seconds after somebody's last message in which Meta lets the business block them:
https://developers.facebook.com/docs/whatsapp/cloud-api/block-users"""
_KEPT: Final = 24 * 3600.0
_STORE_TIMEOUT: Final = 5.0
_MOST_UNKNOWN: Final = 1000
_AT_ONCE: Final = 1000


class Guard:
    """Blocks people on the deny list at the moment they write.

    Use it as an async context manager, or call `open()` and `close()`::

        async with Guard([account], DenyList(SqliteStore("deny.db"))) as guard:
            await guard.see(Sighting(phone_number_id, ("16505551234",)))

    Whom to block is written down before `see` and `handle` return, and carried out behind them; on
    opening, the guard goes on with what was left.  Several guards, also in other processes, may
    share a store; one of them at a time sends requests for a number.

    Args:
        accounts: The business numbers that it guards.
        deny_list: The deny list; its store is opened and closed with the guard.
        webhook: Checks and reads what `handle` is given.
        on_full: When the blocklist is full, `evict` unblocks those whom the guard blocked longest
            ago (they are blocked again when they write); `stop` waits for room.
        on_settled: Called with a list of `Result`, for each page of intents that was answered.
            What it raises is logged.
        observers: Functions that are called with an `Event` for everything that it does, which
            names nobody.
        drain_timeout: Seconds that `close()` gives to requests on their way.
        sweep_every: Seconds between two looks for entries that have expired.
        make_client: Makes the client for an account; None makes one that leaves retries to the
            guard.

    Raises:
        TypeError, ValueError: An argument is wrong; the message begins with its name.
    """

    def __init__(
        self,
        accounts: Iterable[Account],
        deny_list: DenyList,
        *,
        webhook: Webhook | None = None,
        on_full: OnFull = "evict",
        on_settled: OnResults = lambda _: None,
        observers: Iterable[Observer] = (),
        drain_timeout: float = 10.0,
        sweep_every: float = 20.0,
        make_client: Callable[[Account], Client] | None = None,
    ) -> None:
        if on_full not in {"evict", "stop"}:
            raise ValueError(f"on_full: must be 'evict' or 'stop', not {on_full!r:.50}")
        check_number("drain_timeout", drain_timeout)
        check_number("sweep_every", sweep_every, least=0.001)
        observers = tuple(observers)
        make_client = make_client or (lambda account: _client(account, observers))
        self._deny_list = deny_list
        self._webhook = webhook
        self._drain_timeout = drain_timeout
        self._sweep_every = sweep_every
        self._numbers = {
            account.phone_number_id: GuardedNumber(
                make_client(account),
                deny_list,
                on_full=on_full,
                on_settled=on_settled,
                observers=observers,
            )
            for account in _checked(accounts)
        }
        self._resources = AsyncExitStack()
        self._is_open = False
        self._opens = asyncio.Lock()
        self._store_error = ""
        self._tally = Counter[str]()
        self._unknown_numbers = Counter[str]()

    @property
    def deny_list(self) -> DenyList:
        """Its deny list."""
        return self._deny_list

    @property
    def _store(self) -> Store:
        return self._deny_list.store

    # ------------------------------------------------------------------ opening and closing

    async def open(self) -> Self:
        """Open store and clients, and go on with what was left open.

        Raises:
            StoreUnavailable: The store cannot be opened.
            ValueError: The `hash_key` of the deny list is not the one of the store.
            RuntimeError: The guard is open.
        """
        if self._is_open or self._opens.locked():
            raise RuntimeError("the guard is open already")
        async with self._opens, AsyncExitStack() as stack:
            await stack.enter_async_context(self._store)
            await self._deny_list.check_key()
            for number in self._numbers.values():
                await stack.enter_async_context(number.client)
                number.make_drain()
            for work in (self._sweep(), *(each.drain.run() for each in self._numbers.values())):
                stack.push_async_callback(_end, asyncio.create_task(work))
            self._resources = stack.pop_all()
        self._is_open = True
        return self

    async def close(self) -> None:
        """Let the requests on their way end, then close clients and store.

        What is open stays in the store, for the next guard. To close a guard that is closed does
        nothing.
        """
        self._is_open = False
        drains = [number.drain.close(self._drain_timeout) for number in self._numbers.values()]
        try:
            await asyncio.gather(*drains)
        finally:
            await self._resources.aclose()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _sweep(self) -> None:
        """Remove what has expired, and what nobody needs any more."""
        while True:
            try:
                await self._store.expire()
                await self._store.forget(self._store.clock() - _KEPT)
                self._store_error = ""
            except Exception as error:
                self._store_error = why(error)
                _LOG.warning("guard: %s", why(error))
            await asyncio.sleep(self._sweep_every)

    # ------------------------------------------------------------------ who writes

    async def handle(self, raw: bytes, signature: str | None) -> int:
        """Take note of a webhook; whom to block is written down when this returns.

        Args:
            raw: The body, byte for byte as it came.
            signature: The header `X-Hub-Signature-256`; None if there is none.

        Returns:
            The HTTP status to answer with, which is 200; 400 for what is no webhook of Meta's; 401
            for a signature that is missing or wrong; 413 for more than 3 MB; 503 when the store
            cannot be reached, or the guard is not open (Meta sends it again later).

        Raises:
            TypeError: The guard was made without *webhook*.
        """
        if self._webhook is None:
            raise TypeError(
                "webhook: Guard(…, webhook=Webhook(app_secret, verify_token)) is needed"
            )
        if len(raw) > LARGEST:
            return 413
        try:
            speaks_for = self._webhook.verify(raw, signature)
            self._check_speaker(news := self._webhook.read(raw), speaks_for)
        except (WebhookRejected, InvalidWebhook) as error:
            self._tally["rejected"] += 1
            return 401 if isinstance(error, WebhookRejected) else 400
        try:
            async with asyncio.timeout(_STORE_TIMEOUT):
                await self._note(news, speaks_for)
        except (StoreUnavailable, ClientClosed, TimeoutError) as error:
            self._store_error = str(error) or "the store did not answer in time"
            return 503
        return 200

    def _check_speaker(
        self, news: Iterable[Sighting | IdentityChanged], speaks_for: Collection[str] | None
    ) -> None:
        """Raise WebhookRejected if the signature is of another account than a number in it."""
        numbers = {each.phone_number_id for each in news} & self._numbers.keys()
        if speaks_for is not None and not numbers.issubset(speaks_for):
            raise WebhookRejected("the signature is that of another account")

    async def see(self, sighting: Sighting) -> Entry | None:
        """Take note of an incoming message; if the sender is denied, a block is written down.

        Returns:
            The entry that denies the sender; None if there is none, or if the guard has no account
            for the number.

        Raises:
            StoreUnavailable: The store cannot be reached; nothing was noted.
            ClientClosed: The guard is not open.
        """
        (entry,) = await self._see([sighting])
        return entry

    async def deny(
        self,
        users: Users,
        *,
        scope: str = EVERYWHERE,
        reason: str = "",
        origin: str = "",
        expires_at: float | None = None,
    ) -> Change:
        """Put users on the deny list, and block them now.

        It is meant for people who have just written: of others, Meta refuses it (131047), and they
        are blocked when they write.

        Args:
            users: Whom; see `Client.block`.
            scope: `*`, or the phone number id of the only number for which it holds.
            reason: Why, in words for people.
            origin: Who says so.
            expires_at: When it ends, in seconds since 1970; None is never.

        Raises:
            TypeError, ValueError: An argument is wrong.
            StoreUnavailable: The store cannot be reached.
            ClientClosed: The guard is not open.
        """
        self._check_open()
        given = await _listed(users)
        change = await self._deny_list.add(
            given, scope=scope, reason=reason, origin=origin, expires_at=expires_at
        )
        now = self._store.clock()
        ids = [names for user in given if (names := self._deny_list.names(user))]
        numbers = [each for each in self._numbers if scope in {EVERYWHERE, each}]
        sightings = [Sighting(number, names, now) for number in numbers for names in ids]
        for start in range(0, len(sightings), _AT_ONCE):
            await self._match(sightings[start : start + _AT_ONCE])
        return change

    async def _note(
        self, news: Iterable[Sighting | IdentityChanged], speaks_for: Collection[str] | None
    ) -> None:
        """Take note of sightings, and of new numbers and ids, in their order."""
        self._check_open()
        for kind, same in itertools.groupby(news, type):
            if kind is Sighting:
                await self._see(cast("Iterable[Sighting]", same), is_shared=speaks_for is None)
            else:
                for change in cast("Iterable[IdentityChanged]", same):
                    if change.phone_number_id in self._numbers:
                        await self._deny_list.follow(change, speaks_for)

    async def _see(
        self, sightings: Iterable[Sighting], *, is_shared: bool = True
    ) -> list[Entry | None]:
        self._check_open()
        sightings = tuple(sightings)
        entries = await self._match(sightings, is_shared=is_shared)
        for sighting, entry in zip(sightings, entries, strict=True):
            self._count(sighting, entry)
        return entries

    def _count(self, sighting: Sighting, entry: Entry | None) -> None:
        self._tally["sightings"] += 1
        number = self._numbers.get(sighting.phone_number_id)
        if number is None:
            known = len(self._unknown_numbers) < _MOST_UNKNOWN
            name = sighting.phone_number_id
            self._unknown_numbers[name if known or name in self._unknown_numbers else "…"] += 1
            return
        self._tally["denied"] += entry is not None
        number.observers.tell(SenderMatched(entry is not None))

    async def _match(
        self, sightings: Sequence[Sighting], *, is_shared: bool = True
    ) -> list[Entry | None]:
        """Look all senders up, and want to block those who are denied, in one transaction."""
        verdicts = await asyncio.gather(
            *(self._verdict(each, is_shared=is_shared) for each in sightings)
        )
        intents: dict[tuple[str, str], Intent] = {}
        for sighting, verdict in zip(sightings, verdicts, strict=True):
            if verdict.entry and (intent := self._intent(sighting, verdict.entry, verdict.person)):
                key = intent.phone_number_id, intent.person
                if key not in intents or intents[key].wrote_at < intent.wrote_at:
                    intents[key] = intent
        aliases = dict(pair for verdict in verdicts for pair in verdict.aliases.items())
        if intents or aliases:
            await self._store.want(intents.values(), aliases)
        return [verdict.entry for verdict in verdicts]

    async def _verdict(self, sighting: Sighting, *, is_shared: bool) -> Verdict:
        number = sighting.phone_number_id
        if number not in self._numbers:
            return Verdict()
        return await self._deny_list.recognize(sighting.ids, number, is_shared=is_shared)

    def _intent(self, sighting: Sighting, entry: Entry, person: str) -> Intent | None:
        """Return what is wanted of a denied sender; None if the message is too old."""
        now = self._store.clock()
        wrote_at = min(sighting.wrote_at, float(int(now)))  # Meta's times are whole seconds
        user = self._deny_list.sent_as(sighting.ids)
        if user is None:
            self._tally["skipped"] += 1
        if user is None or wrote_at + WINDOW < now:
            return None
        return Intent(
            sighting.phone_number_id,
            person,
            Operation.BLOCK,
            user,
            ids=sighting.ids,
            entry=entry.user,
            wrote_at=wrote_at,
            message=self._deny_list.digest(sighting.message_id),
            not_after=wrote_at + WINDOW,
        )

    # ------------------------------------------------------------------ looking at it

    async def status(self) -> GuardStatus:
        """Return what the guard is doing.

        Raises:
            StoreUnavailable: The store cannot be read, or could not be written the last time.
        """
        if self._store_error:
            raise StoreUnavailable(self._store_error)
        numbers = {name: await number.status() for name, number in self._numbers.items()}
        tally = self._tally.copy()
        if self._webhook is not None:
            tally["skipped"] += self._webhook.skipped
        return GuardStatus(numbers, **tally, unknown_numbers=dict(self._unknown_numbers))

    def _check_open(self) -> None:
        if not self._is_open:
            raise ClientClosed("the guard is not open: use `async with Guard(…) as guard:`")


def _client(account: Account, observers: Iterable[Observer]) -> Client:
    # One attempt: what failed is put off in the store, so that it does not keep others waiting.
    return Client(account, retry=RetryPolicy(attempts=1), observers=observers)


def _checked(accounts: Iterable[Account]) -> Sequence[Account]:
    accounts = tuple(accounts)
    for account in accounts:
        if not isinstance(account, Account):
            raise TypeError(f"accounts: must be accounts, not {type(account).__name__}")
    ids = Counter(account.phone_number_id for account in accounts)
    for phone_number_id, count in ids.items():
        if count > 1:
            raise ValueError(f"accounts: {phone_number_id} is there {count} times")
    if not accounts:
        raise ValueError("accounts: there is none; a guard needs the account of each number")
    return accounts


async def _listed(users: Users) -> list[User]:
    """Return the users of an iterable or async iterable."""
    source, given = Source(users), list[User]()
    try:
        while not source.at_end:
            await source.read(_AT_ONCE, given.extend)
    finally:
        await source.close()
    if source.error is not None:
        raise source.error
    return given


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
