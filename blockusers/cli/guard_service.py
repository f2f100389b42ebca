"""Runs the webhook service of `blockusers guard`: opens it, says what to enter at Meta, logs."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, cast

import attrs
from aiohttp import web

from blockusers.cli import process
from blockusers.cli.account import account_of
from blockusers.cli.accounts_file import read_accounts
from blockusers.cli.deny_list import ListPlace, values_as_options
from blockusers.cli.guard_log import ReportingStore, in_words
from blockusers.cli.input_files import count
from blockusers.cli.process import Interrupted, UsageError, describe
from blockusers.cli.sandbox_server import cannot_listen
from blockusers.cli.screen import Screen
from blockusers.guard.drain import OnFull
from blockusers.guard.guard import Guard
from blockusers.guard.intents import Result
from blockusers.guard.service import OnStoreError, make_app, make_runner
from blockusers.guard.stores.protocol import Store
from blockusers.guard.webhooks import AppSecret, Webhook
from blockusers.observe.events import Event, NumberPaused
from blockusers.values.account import Account, is_loopback

_PATH: Final = "/webhook"
_WHERE: Final = {
    "WHATSAPP_PHONE_NUMBER_ID": "WhatsApp > API Setup, under the phone number",
    "WHATSAPP_ACCESS_TOKEN": "Business settings > System users > Generate token",
    "WHATSAPP_APP_SECRET": "App settings > Basic > App secret",
    "WHATSAPP_VERIFY_TOKEN": "any text of your own; you enter it under WhatsApp > Configuration,"
    " too",
}
"""Where the App Dashboard shows what is in an environment variable."""


# Credentials.


def find_accounts(
    screen: Screen, accounts_file: Path | None, token_file: Path | None
) -> tuple[Sequence[Account], Webhook]:
    """Return the business numbers, and what checks the webhooks.

    Raises:
        UsageError: Something is missing or wrong; the message says where Meta shows it.
    """
    if accounts_file is not None:
        accounts = read_accounts(screen, accounts_file)
        lacking = [each for each in accounts if each.app_secret is None]
        _require(["WHATSAPP_APP_SECRET"] * bool(lacking) + ["WHATSAPP_VERIFY_TOKEN"])
    else:
        _require([name for name in _WHERE if token_file is None or "ACCESS" not in name])
        accounts = [account_of(screen, token_file)]
    try:
        return accounts, Webhook(_secrets(accounts), os.environ["WHATSAPP_VERIFY_TOKEN"])
    except ValueError as error:
        name, _, why = str(error).partition(": ")
        raise UsageError(f"WHATSAPP_{name.upper()}: {why}") from None


def _require(names: Sequence[str]) -> None:
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        lines = [f"  {name:24}  {_WHERE[name]}" for name in missing]
        variables = "variable" if len(missing) == 1 else "variables"
        raise UsageError(
            f"set the environment {variables}; Meta's App Dashboard shows what to:\n"
            + "\n".join(lines)
            + "\nTo try it without an account: blockusers guard --sandbox"
        )


def _secrets(accounts: Sequence[Account]) -> AppSecret:
    """Return the app secret; if there are several, that of each number speaks for it alone."""
    common = os.environ.get("WHATSAPP_APP_SECRET", "")
    secrets = {each.phone_number_id: each.app_secret or common for each in accounts}
    only, *others = {*secrets.values()}
    return secrets if others else only


# Running.


@attrs.frozen
class Service:
    """The webhook service, before it runs."""

    accounts: Sequence[Account]
    webhook: Webhook
    deny_list: ListPlace
    host: str = "127.0.0.1"
    port: int = 0
    forward: str | None = None
    drop_denied: bool = False
    on_store_error: OnStoreError = "refuse"
    on_full: OnFull = "evict"

    @contextlib.asynccontextmanager
    async def running(self, screen: Screen) -> AsyncGenerator[tuple[Guard, str]]:
        """Listen until the block ends; then finish the requests that have come, and the drain.

        Yields the guard and the URL of its webhook.

        Raises:
            UsageError: It cannot listen there, or an option has no good value.
            StoreUnavailable: The deny list cannot be opened.
        """
        log = _Log(screen, several=len(self.accounts) > 1)
        store = cast("Store", ReportingStore(self.deny_list.store(), log.answered))
        with values_as_options():
            guard = Guard(
                self.accounts,
                self.deny_list.deny_list(store),
                webhook=self.webhook,
                on_full=self.on_full,
                observers=[log.observe],
            )
            app = make_app(
                guard,
                webhook=self.webhook,
                path=_PATH,
                forward=self.forward,
                drop_denied=self.drop_denied,
                on_store_error=self.on_store_error,
            )
        async with guard, _listening(app, self.host, self.port) as port:
            host = f"[{self.host}]" if ":" in self.host else self.host
            yield guard, f"http://{host}:{port}{_PATH}"


@contextlib.asynccontextmanager
async def _listening(app: web.Application, host: str, port: int) -> AsyncGenerator[int]:
    runner = make_runner(app)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise cannot_listen(host, port, error) from None
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@attrs.frozen
class _Log:
    """Prints a line for each person who is blocked or unblocked, and for what goes wrong."""

    screen: Screen
    several: bool
    """Whether there are several business numbers, so that each line names its own."""

    def answered(self, result: Result, seconds: float | None) -> None:
        """Tell of a person; not of all who wait while a number pauses, which is told once."""
        if result.reason == "paused":
            return
        say = self.screen.say if result.done else self.screen.tell
        say(self._line(result.intent.phone_number_id, in_words(result, seconds)))

    def observe(self, event: Event) -> None:
        """Tell of a number that pauses."""
        if isinstance(event, NumberPaused):
            text = f"paused, tried again every {event.wait:.0f} s: {describe(event.error)}"
            self.screen.tell(self._line(event.phone_number_id, text), "yellow")

    def _line(self, number: str, text: str) -> str:
        where = f"{number} " if self.several else ""
        return f"{datetime.now():%H:%M:%S} {where}{text}"  # noqa: DTZ005  # local time


def serve(service: Service, screen: Screen) -> None:
    """Serve until interrupted; what is left to do then is kept in the store.

    Raises:
        UsageError, StoreUnavailable: See `Service.running`.
    """

    async def work() -> None:
        async with service.running(screen) as (guard, url):
            with values_as_options():
                entries = await guard.deny_list.count()
            for line in _greeting(service, url, entries):
                screen.say(line)
            await asyncio.Event().wait()

    with contextlib.suppress(Interrupted):
        process.run(work())
    screen.say("stopped; whoever is still to be blocked is written down for the next start")


def _greeting(service: Service, url: str, entries: int) -> list[str]:
    numbers = ", ".join(each.phone_number_id for each in service.accounts)
    lines = [
        f"guarding {count(len(service.accounts), 'number')}: {numbers}",
        f"deny list: {service.deny_list}, {count(entries, 'entry')}",
        f"listening at {url}",
        "",
        "Enter in Meta's App Dashboard, under WhatsApp > Configuration:",
        f"  Callback URL    https://YOUR-HOST{_PATH}; a proxy with HTTPS there leads it here",
        "  Verify token    what WHATSAPP_VERIFY_TOKEN holds",
        "  Webhook fields  messages",
        "",
    ]
    if not entries:
        lines[2:2] = ["  add somebody, also while this runs: blockusers deny add +16505551234"]
    if not is_loopback(service.host):
        lines[-1:] = [f"Others can reach {service.host}: let them in through the proxy alone.", ""]
    return [*lines, "Ctrl-C stops it."]
