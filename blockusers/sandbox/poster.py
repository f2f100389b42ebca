"""Posts signed webhooks to the receiver under test, again and again until it answers 200."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address
from typing import Final, Never
from urllib.parse import urlsplit

import aiohttp

from blockusers.sandbox.records import RecordedWebhook
from blockusers.sandbox.rules import Rules

KEPT: Final = 10_000
"""How many webhooks are remembered, besides those that wait for their 200."""
_GROWTH: Final = 1.5
_AT_ONCE: Final = 20
"""How many webhooks may wait for their answer at the same time."""


class WebhookPoster:
    """Posts webhooks while it runs; `post` and `wait_delivered` are for any thread."""

    def __init__(self, rules: Rules, clock: Callable[[], float], *, allow_remote: bool) -> None:
        self.url: str | None = None
        self._rules = rules
        self._clock = clock
        self._allow_remote = allow_remote
        self._changed = threading.Condition()
        self._records: deque[RecordedWebhook] = deque(maxlen=KEPT)
        self._pending: dict[RecordedWebhook, None] = {}
        self._unstarted: deque[RecordedWebhook] = deque()
        self._wake: Callable[[], object] | None = None
        self._slots: asyncio.Semaphore

    @property
    def records(self) -> tuple[RecordedWebhook, ...]:
        """The last webhooks, oldest first."""
        with self._changed:
            return tuple(self._records)

    def aim(self, url: str) -> None:
        """Post to *url* from now on, also what waits already.

        Raises:
            ValueError: there is no secret to sign with, or *url* is not of this machine.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("webhook_url must begin with http:// or https:// and name a host")
        if not self._allow_remote and not _is_loopback(parts.hostname):
            raise ValueError("webhook_url is not on this machine; allow_remote_webhook permits it")
        if self._rules.app_secret is None:
            raise ValueError("webhooks are signed: pass app_secret, too")
        self.url = url

    def post(self, message_id: str, body: bytes) -> None:
        """Post *body* until it is answered with 200; return at once."""
        record = RecordedWebhook(message_id=message_id, body=body)
        with self._changed:
            self._records.append(record)
            self._pending[record] = None
            if self._wake is not None:
                self._unstarted.append(record)
                self._wake()

    def wait_delivered(self, timeout: float) -> None:
        """Wait until nothing is pending.

        Raises:
            TimeoutError: something still is.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self._pending, timeout):
                first = next(iter(self._pending))
                raise TimeoutError(f"{len(self._pending)} webhooks wait for a 200, such as {first}")

    async def run(self) -> Never:
        """Post what is pending, and what comes, until cancelled."""
        session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._rules.webhook_timeout),
        )
        self._slots = asyncio.Semaphore(_AT_ONCE)
        wake = asyncio.Event()
        with self._changed:
            self._unstarted = deque(self._pending)
            self._wake = partial(asyncio.get_running_loop().call_soon_threadsafe, wake.set)
        try:
            async with session, asyncio.TaskGroup() as tasks:
                while True:
                    wake.clear()
                    while self._unstarted:
                        tasks.create_task(self._deliver(session, self._unstarted.popleft()))
                    await wake.wait()
        finally:
            with self._changed:
                self._wake = None

    async def _deliver(self, session: aiohttp.ClientSession, record: RecordedWebhook) -> None:
        wait = self._rules.webhook_retry_wait
        while not await self._is_accepted(session, record):
            await asyncio.sleep(wait)
            wait = min(wait * _GROWTH, self._rules.webhook_retry_wait_max)
        with self._changed:
            record.delivered_at = self._clock()
            del self._pending[record]
            self._changed.notify_all()

    async def _is_accepted(self, session: aiohttp.ClientSession, record: RecordedWebhook) -> bool:
        """Post *record* once; return whether it was answered with 200."""
        headers = {
            "Content-Type": "application/json",
            "X-Hub-Signature-256": f"sha256={self._signature(record.body)}",
        }
        async with self._slots:
            record.attempts += 1
            try:
                async with session.post(
                    self.url or "", data=record.body, headers=headers, allow_redirects=False
                ) as response:
                    record.status, record.error = response.status, None
            except (aiohttp.ClientError, OSError) as error:  # a time-out is an OSError, too
                record.status, record.error = None, type(error).__name__
        return record.status == 200

    def _signature(self, body: bytes) -> str:
        return hmac.new((self._rules.app_secret or "").encode(), body, hashlib.sha256).hexdigest()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
