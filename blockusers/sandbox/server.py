"""`Sandbox`: starts a server that behaves like Meta's endpoint, scripts it, and shows what it saw.

Its methods may be called from any thread, for a lock guards all that is shared.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NotRequired, Self, TypedDict

import attrs

from blockusers.sandbox.blocklist import Blocklist
from blockusers.sandbox.endpoint import Endpoint
from blockusers.sandbox.glitches import Glitch
from blockusers.sandbox.handler import Handler
from blockusers.sandbox.messages import (
    Business,
    Person,
    bsuid_of,
    identity_changed,
    incoming,
    new_message_id,
)
from blockusers.sandbox.poster import WebhookPoster
from blockusers.sandbox.records import RecordedRequest, RecordedWebhook
from blockusers.sandbox.rules import Rules
from blockusers.sandbox.schedule import ScheduledGlitch
from blockusers.sandbox.thread import ServerThread
from blockusers.sandbox.users import key_of


class Credentials(TypedDict):
    """Keywords for a `blockusers.Account` that reaches the sandbox."""

    phone_number_id: str
    access_token: str
    base_url: str
    app_secret: NotRequired[str]


class Sandbox:
    """A server on this machine that behaves like Meta's endpoint, within *rules*.

    Use it as a context manager, `with Sandbox() as sandbox:` or `async with`.

    Args:
        rules: What is enforced, and how answers are worded.
        host: The address to listen on; keep to loopback unless others are to use it.
        port: The port to listen on; 0 picks a free one, which later starts then keep.
        webhook_url: Post a signed webhook there for each message, as `message_from` says.
        app_secret: Sign webhooks with this, and ask requests for a proof made with it; the same as
            `Rules.app_secret`.
        allow_remote_webhook: Whether *webhook_url* may be on another machine.
        clock: Gives the time in seconds since 1970, for everything but `Rules.latency`.
    """

    def __init__(
        self,
        rules: Rules | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        webhook_url: str | None = None,
        app_secret: str | None = None,
        allow_remote_webhook: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.rules = Rules() if rules is None else rules
        if app_secret is not None:
            self.rules = attrs.evolve(self.rules, app_secret=app_secret)
        self._clock = clock
        self._lock = threading.Lock()
        self._endpoint = Endpoint(self.rules, clock)
        self._poster = WebhookPoster(self.rules, clock, allow_remote=allow_remote_webhook)
        if webhook_url is not None:
            self.post_webhooks_to(webhook_url)
        self._handler = Handler(self._endpoint, self._lock, self.rules.latency)
        self._thread = ServerThread(host, port, self._handler.handle, self._poster.run)

    # Starting and stopping.

    def start(self) -> None:
        """Listen; what was kept from an earlier run is still there.

        Raises:
            OSError: the port is taken.
            RuntimeError: it runs already.
        """
        self._thread.start()

    def stop(self) -> None:
        """Cut every connection and end the thread. Stopping twice does no harm."""
        self._thread.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        # Blocks for a few milliseconds, which is less than what a test would notice.
        return self.__enter__()

    async def __aexit__(self, *_: object) -> None:
        self.stop()

    # Its address, credentials, requests and blocklists.

    @property
    def url(self) -> str:
        """Where it listens, or did before it was stopped."""
        return self._thread.url

    @property
    def credentials(self) -> Credentials:
        """Keywords for a `blockusers.Account`, for the first business number of the rules."""
        return self.credentials_of(self.rules.phone_number_ids[0])

    def credentials_of(self, phone_number_id: str) -> Credentials:
        """Return keywords for a `blockusers.Account` of one of several business numbers."""
        credentials = Credentials(
            phone_number_id=phone_number_id,
            access_token=self.rules.token_of(phone_number_id),
            base_url=self.url,
        )
        if self.rules.app_secret is not None:
            credentials["app_secret"] = self.rules.app_secret
        return credentials

    @property
    def requests(self) -> tuple[RecordedRequest, ...]:
        """The requests it saw, the last 100,000, in the order in which they arrived."""
        return self._handler.requests

    def blocklist(self, phone_number_id: str | None = None) -> frozenset[str]:
        """Return who is blocked, as `wa_id` or BSUID; `None` is the first business number."""
        with self._lock:
            return self._blocklist(phone_number_id).members

    # What people do, and the webhooks that tell of it.

    def message_from(
        self,
        user: str,
        *,
        text: str = "Hello",
        user_id: str | None = None,
        phone_number_id: str | None = None,
        name: str = "Somebody",
        username: str | None = None,
        field: str = "messages",
        wrote_at: float | None = None,
        message_id: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> str | None:
        """Let *user* write to the business, so that they can be blocked for a while.

        If there is a `webhook_url`, a signed webhook is posted there, again and again until it is
        answered with 200. This returns at once. If *user* is blocked, nothing happens.

        Args:
            user: A phone number, or a BSUID: then the webhook shows no number.
            text: What is written.
            user_id: The BSUID of somebody who has a number, too; by default one is made from the
                number, and `""` shows none.
            phone_number_id: The business number written to; by default the first.
            name: The name of their profile.
            username: Their user name.
            field: `standby`, while Meta's own agent holds the chat.
            wrote_at: When, in seconds since 1970; by default now.
            message_id: The id of the message; pass one again to repeat that message.
            extra: More keys of the message, or others than usual, such as `{"group_id": "1"}`.

        Returns:
            The id of the message; `None` if *user* is blocked.
        """
        business = self._business(phone_number_id)
        sender = self._person(user, user_id)
        at = self._clock() if wrote_at is None else wrote_at
        with self._lock:
            if not self._blocklist(phone_number_id).message_from(sender.ids, at):
                return None
        head = {"id": message_id or new_message_id(), "timestamp": str(int(at))}
        message = {**head, "type": "text", "text": {"body": text}, **(extra or {})}
        profile = {"name": name} if username is None else {"name": name, "username": username}
        body = incoming(business, sender, message, profile=profile, field=field)
        return self._post(head["id"], body)

    def identity_changed(
        self,
        old: str,
        new: str,
        *,
        previous_user_id: str | None = None,
        user_id: str | None = None,
        phone_number_id: str | None = None,
        changed_at: float | None = None,
        message_id: str | None = None,
    ) -> str:
        """Tell the webhook that somebody has another number, or another BSUID.

        Nobody is blocked or unblocked by that here, and the webhook is posted for blocked people,
        too: Meta does not say what it does.

        Args:
            old: The number or the BSUID before.
            new: The number or the BSUID now.
            previous_user_id: The BSUID before, if *old* is a number; by default one is made from
                the number, and `""` shows none.
            user_id: The BSUID now, likewise.
            phone_number_id: The business number that is told; by default the first.
            changed_at: When, in seconds since 1970; by default now.
            message_id: The id of the system message; pass one again to repeat it.

        Returns:
            The id of the system message.
        """
        at = self._clock() if changed_at is None else changed_at
        head = {"id": message_id or new_message_id(), "timestamp": str(int(at))}
        before, now = self._person(old, previous_user_id), self._person(new, user_id)
        body = identity_changed(self._business(phone_number_id), before, now, head)
        return self._post(head["id"], body)

    @property
    def webhooks(self) -> tuple[RecordedWebhook, ...]:
        """The last 10,000 webhooks, delivered or pending, in the order of their messages."""
        return self._poster.records

    def post_webhooks_to(self, webhook_url: str) -> None:
        """Post webhooks to *webhook_url* from now on, also those that are pending."""
        self._poster.aim(webhook_url)

    def wait_delivered(self, timeout: float = 10.0) -> None:
        """Wait until every webhook was answered with 200.

        It blocks. In an async test, where the receiver runs on the loop of the test, write
        `await asyncio.to_thread(sandbox.wait_delivered)`.

        Raises:
            TimeoutError: some were not, after *timeout* seconds.
        """
        self._poster.wait_delivered(timeout)

    # Changes without a request, and glitches.

    def block(self, *users: str, phone_number_id: str | None = None) -> None:
        """Block *users* without a request, whatever the rules say."""
        with self._lock:
            self._blocklist(phone_number_id).put(self._keys(users))

    def unblock(self, *users: str, phone_number_id: str | None = None) -> None:
        """Unblock *users* without a request, whatever the rules say."""
        with self._lock:
            self._blocklist(phone_number_id).drop(self._keys(users))

    def glitch(
        self,
        glitch: Glitch,
        *,
        at: int | Collection[int] | None = None,
        user: str | None = None,
        method: str | None = None,
        times: int | None = 1,
        probability: float | None = None,
        seed: int = 0,
    ) -> None:
        """Let *glitch* strike the next request that meets all conditions that are given.

        Of several glitches the one that was scheduled first strikes.

        Args:
            glitch: One of `blockusers.sandbox.glitches`.
            at: On these requests only, by `RecordedRequest.number`, which counts from 1 over the
                life of the sandbox. Each of them is struck, and *times* is ignored.
            user: On requests that name this user only, with or without a plus.
            method: On this HTTP method only.
            times: How often it strikes; `None`: always.
            probability: Strike only with this chance, from 0 to 1.
            seed: Where the chance starts, so that a run can be repeated.

        Raises:
            TypeError: *glitch* is none.
        """
        if not isinstance(glitch, Glitch):
            raise TypeError("glitch: call it, as in glitches.reset_after()")
        self._handler.schedule(
            ScheduledGlitch(
                glitch=glitch,
                at=None if at is None else frozenset([at] if isinstance(at, int) else at),
                user=None if user is None else user.lstrip("+"),
                method=None if method is None else method.upper(),
                left=times if at is None else None,
                probability=probability,
                chance=random.Random(seed),  # noqa: S311  # not for secrets
            )
        )

    def _post(self, message_id: str, body: bytes) -> str:
        if self._poster.url is not None:
            self._poster.post(message_id, body)
        return message_id

    def _business(self, phone_number_id: str | None) -> Business:
        return Business(self._id_of(phone_number_id), self.rules.own_number)

    def _person(self, user: str, user_id: str | None) -> Person:
        key = key_of(user, rewrite=self.rules.rewrite_wa_ids)
        if "." in key:
            return Person("", key)
        return Person(key, bsuid_of(key) if user_id is None else user_id)

    def _blocklist(self, phone_number_id: str | None) -> Blocklist:
        return self._endpoint.numbers[self._id_of(phone_number_id)].blocklist

    def _id_of(self, phone_number_id: str | None) -> str:
        if phone_number_id is None:
            return self.rules.phone_number_ids[0]
        if phone_number_id not in self.rules.phone_number_ids:
            raise KeyError(phone_number_id)
        return phone_number_id

    def _keys(self, users: Iterable[str]) -> list[str]:
        return [key_of(user, rewrite=self.rules.rewrite_wa_ids) for user in users]
