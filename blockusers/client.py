"""The client: its options and its methods; the work is done in the folders beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Iterable
from typing import NoReturn, Self, TypeVar

import aiohttp
import attrs

from blockusers._tools.arguments import check_number
from blockusers._tools.cancellation import GRACE, Scopes
from blockusers.jobs.batch import Batcher
from blockusers.jobs.coalesce import Coalescer
from blockusers.jobs.notifier import OnSettled
from blockusers.jobs.sender import Sender
from blockusers.jobs.source import Users
from blockusers.jobs.user_order import UserOrder
from blockusers.lists.find import find, read_wanted
from blockusers.lists.pages import Paginator
from blockusers.lists.sync import SyncReport, sync
from blockusers.observe.logs import log
from blockusers.observe.observers import Observer, Observers
from blockusers.pace.paces import AdaptivePace
from blockusers.pace.protocol import Pace, Priority, Slot
from blockusers.protocol import wire
from blockusers.protocol.retry import RetryPolicy
from blockusers.protocol.session import Session
from blockusers.values.account import Account
from blockusers.values.blocklist import BlockedUser, Page
from blockusers.values.columns import Verdicts
from blockusers.values.errors import ClientClosed
from blockusers.values.national import NationalReader
from blockusers.values.outcome import Operation, Outcome, User
from blockusers.values.report import Report
from blockusers.values.users import INTERNATIONAL, Identifiers

T = TypeVar("T")


class Client:
    """Blocks, unblocks and lists the people who may not write to a business number.

    Use it as an async context manager::

        async with Client(Account(phone_number_id, access_token)) as client:
            report = await client.block(numbers)

    Frameworks with hooks for start and stop use `open()` and `close()` instead.  One client serves
    any number of tasks at the same time; they share its pace.

    Args:
        account: Whose blocklist: phone number id and access token.
        session: An `aiohttp.ClientSession` to borrow; it is not closed, and what it sets by
            default (headers, auth, timeout, …) does not reach the requests. It uses a proxy of
            the environment (`https_proxy`) only if it was made with `trust_env=True`; a session
            of the client's own always does, except for loopback. None makes one.
        chunk_size: Most users in one request, 1 to 1,000.
        request_timeout: Seconds for one request, from the call of a token function to the end of
            the answer.
        retry: How often failed requests are retried, and how long to wait before.
        pace: When requests may leave; None is a fresh `AdaptivePace`, which finds out the rate
            limit by itself. Clients of the same number in one process do well to share one.
        max_queued: Most calls of `block_one` and `unblock_one` that wait to be sent.
        drain_timeout: Seconds that `close()` gives to single calls and to requests on the wire.
        region: A country (ISO 3166), such as `BR`. Its national spellings are accepted, impossible
            numbers are rejected, and so are digits without `+` that could be read as either: put
            a `+` before a WhatsApp id. Needs the extra `phone`, and 0.1 ms for each user.
        observers: Functions that are called with an `Event` for everything the client does,
            beside the log on `blockusers`; `blockusers.otel.OpenTelemetry()` is one.

    Raises:
        TypeError, ValueError: An argument is wrong; the message begins with its name.
        ModuleNotFoundError: *region* is given, and the extra `phone` is not installed.
    """

    def __init__(
        self,
        account: Account,
        *,
        session: aiohttp.ClientSession | None = None,
        chunk_size: int = 1000,
        request_timeout: float = 30.0,
        retry: RetryPolicy = RetryPolicy(),
        pace: Pace | None = None,
        max_queued: int = 100_000,
        drain_timeout: float = 10.0,
        region: str | None = None,
        observers: Iterable[Observer] = (),
    ) -> None:
        _check_type("account", account, Account)
        _check_type("session", session, aiohttp.ClientSession, type(None))
        _check_type("retry", retry, RetryPolicy)
        _check_type("observers", observers, Iterable)
        if pace is not None and not isinstance(getattr(pace, "max_in_flight", None), int):
            raise TypeError(f"pace: must be a pace, such as FixedPace(4), not {pace!r:.50}")
        check_number("request_timeout", request_timeout, least=0.001)
        check_number("max_queued", max_queued, whole=True, least=1)
        check_number("drain_timeout", drain_timeout)
        if callable(account.access_token):
            retry = attrs.evolve(retry, token_changes=True)
        self._account = account
        self._session = Session(account, session=session, request_timeout=request_timeout)
        self._request_timeout = request_timeout
        self._drain_timeout = drain_timeout
        self._closing = False
        self._opens_or_closes = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._observers = Observers(account.phone_number_id, self._session.url, (log, *observers))
        self._sender = Sender(
            self._update,
            retry=retry,
            pace=AdaptivePace() if pace is None else pace,
            order=UserOrder(request_timeout),
            chunk_size=chunk_size,
            observers=self._observers,
            reader=INTERNATIONAL if region is None else NationalReader(region),
        )
        self._batcher = Batcher(self._sender)
        self._coalescer = Coalescer(self._sender, max_queued)
        self._scopes = Scopes()
        self._paginator = Paginator(self._fetch, self._pause)

    @property
    def account(self) -> Account:
        """The account that it works for."""
        return self._account

    @property
    def pace(self) -> Pace:
        """The pace that its requests keep; `pace.state` tells what it is doing."""
        return self._sender.pace

    @property
    def request_timeout(self) -> float:
        """Seconds for one request."""
        return self._request_timeout

    async def open(self) -> Self:
        """Get ready for requests; the same as entering `async with`.

        A client that is being closed is opened again once that is done.

        Raises:
            ClientClosed: It is open already, on another event loop.
        """
        self._check_loop()
        if not self._opens_or_closes.locked():
            self._opens_or_closes = asyncio.Lock()  # one belongs to the loop on which it was used
        async with self._opens_or_closes:
            state = self.pace.state  # first: a custom pace may raise, and nothing is open yet
            self.pace.listeners.add(self._observers.pace_changed)
            self._loop = asyncio.get_running_loop()
            await self._session.open()
            self._closing = False
            self._observers.pace_changed(state, state)
        return self

    async def close(self) -> None:
        """Answer the single calls that wait, then close the session, unless it is a borrowed one.

        The same as leaving `async with` normally. Jobs send nothing more, and get
        `drain_timeout` for their requests on the wire; they end as `Incomplete`. Calls that are
        not answered within that time raise `ClientClosed`, and so do listings that other tasks
        are reading. To close a client that is closed does nothing.
        """
        await self._close(self._drain_timeout)

    async def _close(self, drain_timeout: float) -> None:
        self._check_loop()
        self._closing = True
        error = ClientClosed("the client was closed before the answer came")
        async with self._opens_or_closes:
            try:
                self._batcher.drain(error)
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._coalescer.wait_answered(drain_timeout))
                    both.create_task(self._batcher.wait_ended(drain_timeout))
            finally:
                await self._abort(error)
                self.pace.listeners.discard(self._observers.pace_changed)

    async def _abort(self, error: Exception) -> None:
        self._coalescer.abort(error)
        self._batcher.abort(error)
        self._scopes.close()
        try:
            for running in (self._coalescer, self._batcher, self._scopes):
                await running.wait_ended(2 * GRACE)
        finally:
            await self._session.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        await self._close(0.0 if exc_type else self._drain_timeout)

    def __enter__(self) -> NoReturn:
        raise TypeError("use `async with Client(…) as client:`, not `with`")

    __exit__ = __enter__  # Python looks for both first

    async def block(
        self,
        users: Users,
        *,
        on_settled: OnSettled | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # it ends with a report
    ) -> Report:
        """Block users: they can no longer write to the business number, nor it to them.

        Meta permits it only within 24 hours of a user's last message; anybody else fails with
        131047. (https://developers.facebook.com/docs/whatsapp/cloud-api/block-users)

        Args:
            users: Phone numbers, WhatsApp ids, BSUIDs, outcomes or blocked users, from any
                iterable or async iterable; a request leaves when *chunk_size* of them have
                come, or all, or when somebody else waits for one of them. Numbers need their
                country code: a bare national number of ten digits cannot be told from an
                international one.
            on_settled: Called with a tuple of outcomes whenever some become final, and awaited
                if it is async; never twice at once, and the job goes on meanwhile. What it raises
                ends the job.
            timeout: Seconds after which the job ends as `Incomplete`, whose `error` is a
                `JobTimedOut`; None sets no limit. An async *on_settled* that is at work then gets
                one more second.

        Returns:
            What became of each distinct user, in the order in which they were submitted.

        Raises:
            Incomplete: The job ended early. Its `report` accounts for every user; submit
                `report.unknown` and `report.remaining` again. If the iterable has no length, at
                most 1,000,000 users that were not sent are listed.
            TypeError, ValueError: *users* is no list of users, or another argument is wrong.
            ClientClosed: The client is not open.
        """
        return await self._job(Operation.BLOCK, users, on_settled, timeout)

    async def unblock(
        self,
        users: Users,
        *,
        on_settled: OnSettled | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> Report:
        """Unblock users: they can write again. There is no 24-hour rule for it.

        Arguments, result and errors are those of `block`.
        """
        return await self._job(Operation.UNBLOCK, users, on_settled, timeout)

    async def block_one(self, user: User) -> Outcome:
        """Block one user, from a message handler for example.

        Calls that are made at the same time share a request; while the rate limit holds requests
        up, more calls gather for the next.  Several calls for one user are one.  Operations on a
        user are carried out in the order of the calls, single and bulk ones: an opposite call
        waits for those before it, but replaces a single call that was not sent yet, which comes
        back as `FAILED`, superseded.

        Args:
            user: A phone number, WhatsApp id, BSUID, outcome or blocked user.

        Returns:
            What became of the user. It may have failed; `raise_for_failure()` raises then.

        Raises:
            InvalidUser: *user* names nobody, or would reach a stranger.
            BlocklistFull: The list holds its 64,000 users.
            QueueFull: *max_queued* calls wait already.
            ClientClosed: The client is not open, or was closed before there was an answer.
            BlockUsersError: The request failed, after all retries.
        """
        self._check_open()
        return await self._coalescer.call(Operation.BLOCK, user)

    async def unblock_one(self, user: User) -> Outcome:
        """Unblock one user.

        Argument, result, errors and order are those of `block_one`.
        """
        self._check_open()
        return await self._coalescer.call(Operation.UNBLOCK, user)

    def blocked(self, *, page_size: int | None = None) -> AsyncGenerator[BlockedUser]:
        """Yield the blocked users.

        Everyone who is on the list throughout is yielded exactly once, nobody twice; those who
        come or go meanwhile may or may not be.  Do not unblock inside the loop: each change makes
        the walk begin again.  Take a `snapshot()` for that.

        Args:
            page_size: Users per request; None leaves it to the server.

        Raises:
            BlocklistChanged: The list changes faster than it can be read.
            InvalidResponse: The list does not end, or not where the server says that it does.
            ClientClosed: The client is not open, or was closed before the end.
            BlockUsersError: A page could not be read.
        """
        self._check_page_size(page_size)
        return self._paginator.blocked(page_size)

    def blocked_pages(
        self,
        *,
        page_size: int | None = None,
        after: str | None = None,
        before: str | None = None,
    ) -> AsyncGenerator[Page]:
        """Yield pages with their cursors, to show or to go on from later.

        Args:
            page_size: Users per page; None leaves it to the server.
            after: A page's `after`: go on forward behind that page.
            before: A page's `before`: go backward from that page.

        Raises:
            ValueError: Both *after* and *before* are given.
            BlocklistChanged: The list changed since the cursor was made.
            InvalidResponse, ClientClosed, BlockUsersError: As for `blocked`.
        """
        self._check_page_size(page_size)
        _check_type("after", after, str, type(None))
        _check_type("before", before, str, type(None))
        if after is not None and before is not None:
            raise ValueError("after, before: pass one of them, not both")
        return self._paginator.pages(page_size, after, before)

    async def snapshot(self, *, page_size: int | None = None) -> tuple[BlockedUser, ...]:
        """Return the list as it was at one instant, without repeats.

        Argument and errors are those of `blocked`, but `BlocklistChanged` is raised only if the
        list changed during each of 5 walks.
        """
        self._check_page_size(page_size)
        return await self._paginator.snapshot(page_size)

    async def find(self, users: Users, *, page_size: int | None = None) -> dict[User, BlockedUser]:
        """Return those of *users* that are blocked.

        Reads the list once, and no further than to the last of them. Numbers of Brazil, Mexico
        and Argentina are found with and without the digit that marks mobile ones.

        Args:
            users: Phone numbers, WhatsApp ids, BSUIDs, outcomes or blocked users. Whatever names
                nobody is not blocked.
            page_size: Users per request; None leaves it to the server.

        Returns:
            Each blocked user as given, with its entry on the list; in the order given.

        Raises:
            TypeError: *users* is no list of users.
            BlockUsersError: As for `blocked`.
        """
        self._check_page_size(page_size)
        wanted = await self._until_closed(read_wanted(users, self._sender.reader))
        return await find(wanted, self.blocked(page_size=page_size))

    async def sync(
        self, users: Users, *, dry_run: bool = False, max_removals: int | None = None
    ) -> SyncReport:
        """Make the blocklist equal to *users*: unblock all others, block those that are missing.

        Whoever is unblocked by mistake cannot be blocked again until they write. So nobody is
        unblocked who may be wanted: numbers of Brazil, Mexico and Argentina match with and without
        the digit that marks mobile ones, and while any input is rejected nobody is unblocked at
        all, for it may mean anybody. But a phone number does not match a person whom the list
        holds only by BSUID, so that person is unblocked: pass their BSUID as well. Unblocks first,
        for the list may be full.

        Args:
            users: All that shall be blocked.
            dry_run: Only return what there is to do, however many removals that takes.
            max_removals: Most users to unblock; None is a tenth of those blocked, rounded down,
                and so 0 if there are fewer than ten. If there are more, nothing is done at all.

        Returns:
            Who was added and removed, who was kept, and what was rejected.

        Raises:
            TooManyRemovals: More than *max_removals* would be unblocked; nothing was done.
            ValueError: *users* names nobody.
            SyncIncomplete: It ended early; its `report` says what was done. To sync again goes on
                from there.
            ClientClosed: The client is not open.
            BlockUsersError: The list could not be read; nothing was done.
            TypeError: *users* is no list of users.
        """
        if max_removals is not None:
            check_number("max_removals", max_removals, whole=True)
        self._check_open()
        wanted = await self._until_closed(read_wanted(users, self._sender.reader))
        return await sync(
            wanted,
            snapshot=self.snapshot,
            block=self.block,
            unblock=self.unblock,
            dry_run=dry_run,
            max_removals=max_removals,
        )

    async def _job(
        self,
        operation: Operation,
        users: Users,
        on_settled: OnSettled | None,
        time_limit: float | None,
    ) -> Report:
        if on_settled is not None and not callable(on_settled):
            raise TypeError("on_settled: must be a function that takes a tuple of outcomes")
        if time_limit is not None:
            check_number("timeout", time_limit)
        self._check_open()
        job = self._batcher.run(operation, users, on_settled, time_limit)
        return await self._observers.job(operation.value, job)

    def _check_page_size(self, page_size: int | None) -> None:
        if page_size is not None:
            check_number("page_size", page_size, whole=True, least=1)
        self._check_open()

    def _check_open(self) -> None:
        if self._closing or not self._session.is_open:
            raise ClientClosed(
                "the client is not open: use it inside `async with Client(…) as client:`,"
                " or between `await client.open()` and `await client.close()`"
            )
        self._check_loop()

    def _check_loop(self) -> None:
        if self._session.is_open and asyncio.get_running_loop() is not self._loop:
            raise ClientClosed(
                "the client was opened on another event loop: make one for each loop (each"
                " `asyncio.run` has its own, and so has each thread), or close it there first"
            )

    async def _update(self, operation: Operation, users: Identifiers) -> Verdicts:
        return await self._observers.request(
            operation.value,
            wire.build_update(operation, users),
            self._session.send,
            lambda reply: wire.read_update(reply, operation, users),
            users=len(users),
        )

    async def _fetch(
        self, page_size: int | None, after: str | None, before: str | None
    ) -> wire.Listing:
        self._check_open()
        request = wire.build_listing(page_size, after, before)

        def attempt(_: Slot) -> Awaitable[wire.Listing]:
            return self._observers.request("list", request, self._session.send, wire.read_page)

        return await self._until_closed(
            self._sender.with_retries("list", attempt, Priority.LISTING)
        )

    async def _pause(self, attempt: int) -> None:
        await self._until_closed(self._sender.retry.pause(attempt))

    async def _until_closed(self, work: Awaitable[T]) -> T:
        """Await *work*, which reads the list or who is wanted, unless the client is closed."""
        async with self._scopes.until_closed():
            return await work
        # The block was left early.
        raise ClientClosed("the client was closed before the list was read")


def _check_type(name: str, value: object, *kinds: type) -> None:
    if not isinstance(value, kinds):
        raise TypeError(f"{name}: must be of type {kinds[0].__name__}, not {type(value).__name__}")
