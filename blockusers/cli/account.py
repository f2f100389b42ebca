"""Opens what a command works with: the account, from the environment or a sandbox; the journal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

from blockusers.cli import process
from blockusers.cli.journal import Journal, open_journal
from blockusers.cli.process import Interrupted, UsageError
from blockusers.cli.screen import Meter, Screen
from blockusers.cli.secret_files import read_secret
from blockusers.client import Client
from blockusers.lists.sync import SyncIncomplete
from blockusers.sandbox import Rules, Sandbox
from blockusers.values.account import Account
from blockusers.values.errors import ClientClosed
from blockusers.values.outcome import Operation, Outcome
from blockusers.values.report import Incomplete
from blockusers.values.users import Reader

T = TypeVar("T")


@attrs.frozen
class Workplace:
    """What a command works with."""

    account: Account
    screen: Screen
    region: str | None
    """The country whose national numbers are read, too."""
    journal: Journal | None
    """The file of `--output`."""

    def run(
        self, job: Callable[[Client, Meter], Coroutine[Any, Any, T]], users: int | None = None
    ) -> T:
        """Run *job*, on so many users or a listing, with a client and what shows how far it is.

        An interruption closes the client, so that the job ends with its report.

        Raises:
            Incomplete, SyncIncomplete: It ended early; the error in it can be an `Interrupted`.
            Interrupted: Nothing was done.
        """

        async def work() -> T:
            async with Client(
                self.account, region=self.region, observers=[meter.observe], drain_timeout=0.0
            ) as client:
                meter.watch(client.pace)
                running = asyncio.ensure_future(job(client, meter))
                try:
                    return await asyncio.shield(running)
                except asyncio.CancelledError:
                    await client.close()
                    return await running

        try:
            with self.screen.meter(users) as meter:
                return process.run(work())
        except ClientClosed:
            raise Interrupted("interrupted") from None
        except (Incomplete, SyncIncomplete) as early:
            if isinstance(early.error, ClientClosed):
                process.ignore_signals()
                early.error = Interrupted("interrupted")
            raise

    def keep(
        self,
        meter: Meter,
        operation: Operation,
        outcomes: Sequence[Outcome],
        reader: Reader | None = None,
    ) -> None:
        """Keep *outcomes*: first in the file, so that what *meter* shows is certain.

        For the file *reader* reads the inputs, if they are not written as in the region.
        """
        if self.journal is not None:
            self.journal.write(operation, outcomes, reader)
        meter.add(outcomes)


@contextlib.contextmanager
def open_workplace(
    screen: Screen,
    *,
    sandbox: bool,
    token_file: Path | None,
    region: str | None = None,
    output: Path | None = None,
) -> Iterator[Workplace]:
    """Open the account to work on, or a sandbox, and the journal.

    Raises:
        UsageError: Credentials are missing or wrong, or the journal cannot be written.
    """
    with contextlib.ExitStack() as stack:
        if sandbox:
            account = Account(**stack.enter_context(Sandbox(Rules(window=None))).credentials)
            screen.say("using a sandbox: nobody is reached", "dim")
        else:
            account = account_of(screen, token_file)
        journal = None
        if output is not None:
            # Each sandbox has a port of its own; to a journal they are one blocklist.
            blocklist = "sandbox" if sandbox else account.blocklist_key
            journal = stack.enter_context(open_journal(output, blocklist, region))
            for note in journal.notes:
                screen.say(note, "yellow")
        yield Workplace(account, screen, region, journal)


def account_of(screen: Screen, token_file: Path | None) -> Account:
    """Return the account of the environment, with the token of a file if one is named.

    Raises:
        UsageError: Credentials are missing or wrong.
    """
    token = None if token_file is None else read_secret(screen, token_file, "--token-file")
    try:
        return Account.from_env(access_token=token)
    except ValueError as error:
        text = str(error)
        if token_file is not None:
            text = text.replace("access_token:", f"--token-file {token_file}:")
        raise UsageError(f"{text} (to try without an account: --sandbox)") from None
