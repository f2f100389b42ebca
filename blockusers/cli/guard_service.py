"""Runs the webhook service of `blockusers guard`: opens it, says what to enter at Meta, logs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import attrs
from aiohttp import web

from blockusers.cli import process
from blockusers.cli.account import account_of
from blockusers.cli.accounts_file import read_accounts
from blockusers.cli.deny_list import ListPlace, values_as_options
from blockusers.cli.guard_log import GuardLog
from blockusers.cli.input_files import count
from blockusers.cli.options import DEFAULT_STORE
from blockusers.cli.process import Interrupted, UsageError
from blockusers.cli.sandbox_server import cannot_listen
from blockusers.cli.screen import Screen
from blockusers.guard.drain import OnFull
from blockusers.guard.guard import Guard
from blockusers.guard.service import OnStoreError, make_app, make_runner
from blockusers.guard.webhooks import AppSecret, Webhook
from blockusers.values.account import Account, is_loopback

_PATH: Final = "/webhook"
_WAITING: Final = "waiting up to 10 s for what is on its way; Ctrl-C again ends now"
_ANY: Final = {"0.0.0.0", "::"}  # noqa: S104  # to compare with
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
        self._check_forward()
        store = self.deny_list.store()
        log = GuardLog(screen, len(self.accounts) > 1, store.clock)
        with values_as_options():
            guard = Guard(
                self.accounts,
                self.deny_list.deny_list(store),
                webhook=self.webhook,
                on_full=self.on_full,
                on_settled=log.settled,
                observers=[log.observe],
            )
            app = make_app(
                guard,
                webhook=self.webhook,
                path=_PATH,
                forward=self.forward,
                drop_denied=self.drop_denied,
                on_store_error=self.on_store_error,
                on_notice=log.notice,
            )
        async with contextlib.AsyncExitStack() as stack:
            with values_as_options():
                await stack.enter_async_context(guard)
            port = await stack.enter_async_context(_listening(app, self.host, self.port))
            watching = asyncio.create_task(log.watch(guard.status))
            stack.callback(watching.cancel)
            host = f"[{self.host}]" if ":" in self.host else self.host
            yield guard, f"http://{host}:{port}{_PATH}"

    def _check_forward(self) -> None:
        """Raise UsageError if it would forward to itself, round and round."""
        with contextlib.suppress(ValueError):  # a URL that is none is rejected with its own words
            bot = urlsplit(self.forward or "")
            own = bot.hostname == self.host or (
                is_loopback(bot.hostname) and (is_loopback(self.host) or self.host in _ANY)
            )
            if own and bot.port == self.port:
                raise UsageError(
                    f"--forward {self.forward}: this is where the guard itself listens; name the"
                    " bot's port, or choose another one for the guard with --port"
                )


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


def serve(service: Service, screen: Screen) -> None:
    """Serve until interrupted; what is left to do then is kept in the store.

    Raises:
        UsageError, StoreUnavailable: See `Service.running`.
    """

    async def work() -> None:
        async with service.running(screen) as (guard, url):
            entries = await guard.deny_list.count()
            for line in _greeting(service, url, entries, is_new=is_new):
                screen.say(line)
            await asyncio.Event().wait()

    is_new = service.deny_list.is_new
    with contextlib.suppress(Interrupted):
        process.run(work(), on_wait=lambda: screen.tell(_WAITING))
    screen.say("stopped; whoever is still to be blocked is written down for the next start")


def _greeting(service: Service, url: str, entries: int, *, is_new: bool) -> list[str]:
    numbers = ", ".join(each.phone_number_id for each in service.accounts)
    where = service.deny_list.where
    is_file = "://" not in where  # a URL may hold a password
    place = Path(where).absolute() if is_file else service.deny_list
    lines = [
        f"guarding {count(len(service.accounts), 'number')}: {numbers}",
        f"deny list: {place}, {'new, empty' if is_new else count(entries, 'entry')}",
        f"listening at {url}",
        "",
        "Enter in Meta's App Dashboard, under WhatsApp > Configuration:",
        f"  Callback URL    https://YOUR-HOST{_PATH}; a proxy with HTTPS there leads it here",
        "  Verify token    what WHATSAPP_VERIFY_TOKEN holds",
        "  Webhook fields  messages, and standby if an agent of Meta's answers for you",
        "",
    ]
    if not entries:
        is_named = is_file and where != str(DEFAULT_STORE)
        chosen = f" --store {shlex.quote(where)}" if is_named else ""
        add = f"blockusers deny add{chosen} +16505551234"
        lines[2:2] = [f"  add somebody, also while this runs: {add}"]
    if not is_loopback(service.host):
        lines[-1:] = [f"Others can reach {service.host}: let them in through the proxy alone.", ""]
    return [*lines, "Ctrl-C stops it."]
