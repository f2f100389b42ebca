"""Opens the deny list that a command works on, with the key of its hashes, and runs the command."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import attrs

from blockusers.cli import process
from blockusers.cli.process import UsageError
from blockusers.cli.screen import Screen
from blockusers.cli.secret_files import read_secret, warn_of_readers
from blockusers.guard.deny_list import DenyList
from blockusers.guard.stores.protocol import Store
from blockusers.guard.stores.sqlite import SqliteStore

T = TypeVar("T")

_HASH_KEY: str = "BLOCKUSERS_HASH_KEY"


@attrs.frozen
class ListPlace:
    """Where a deny list is, and how to read it."""

    where: str = attrs.field(converter=str, repr=False)
    """A file, or the URL of Redis."""
    hash_key: str | None = attrs.field(default=None, repr=False)
    region: str | None = None

    def require(self) -> None:
        """Raise UsageError if there is no such file: to create one would answer for another."""
        if self.is_new:
            raise UsageError(
                f"{self.where}: there is no such deny list; `blockusers deny add` and `deny import`"
                " create it, --store or BLOCKUSERS_STORE name another"
            )

    @property
    def _is_url(self) -> bool:
        return "://" in self.where

    @property
    def is_new(self) -> bool:
        """Whether it is a file that is not there yet."""
        return not self._is_url and not Path(self.where).exists()

    def warn_of_readers(self, screen: Screen) -> None:
        """Warn if others may read the file."""
        if not self._is_url and Path(self.where).is_file():
            warn_of_readers(screen, Path(self.where))

    def store(self) -> Store:
        """Return the store there.

        Raises:
            UsageError: The URL is none of Redis, or the extra `redis` is not installed.
        """
        if not self._is_url:
            return SqliteStore(self.where)
        try:
            from blockusers.guard.stores.redis import RedisStore  # noqa: PLC0415  # an extra

            return RedisStore(self.where)
        except (ModuleNotFoundError, ValueError) as error:
            raise UsageError(f"--store: {str(error).removeprefix('url: ')}") from None

    def __str__(self) -> str:
        """Return where it is, without a password."""
        if not self._is_url:
            return self.where
        from blockusers.guard.stores.redis_errors import shown  # noqa: PLC0415  # an extra

        return shown(self.where)

    def deny_list(self, store: Store) -> DenyList:
        """Return the deny list in *store*.

        Raises:
            ValueError: The hash key is none.
        """
        return DenyList(store, region=self.region, hash_key=self.hash_key)

    def run(self, job: Callable[[DenyList], Coroutine[Any, Any, T]]) -> T:
        """Run *job* with the deny list, which is open meanwhile.

        Raises:
            UsageError: It needs another hash key, or an option has no good value.
            StoreUnavailable: It cannot be read or written.
            Interrupted: The job was cancelled.
        """

        async def work() -> T:
            async with self.store() as store:
                return await job(self.deny_list(store))

        with values_as_options():
            return process.run(work())


@contextlib.contextmanager
def values_as_options() -> Iterator[None]:
    """Blame the option for an argument that the library rejects; its message begins with a name."""
    try:
        yield
    except ValueError as error:
        name, _, why = str(error).partition(": ")
        option = "--hash-key-file" if name == "hash_key" else f"--{name.replace('_', '-')}"
        why = re.sub("`([a-z_]+)`", lambda found: f"--{found[1].replace('_', '-')}", why)
        raise UsageError(f"{option}: {why}") from None


def find_list(
    screen: Screen, where: str, hash_key_file: Path | None, region: str | None = None
) -> ListPlace:
    """Return the deny list that the options and the environment name.

    Raises:
        UsageError: The key cannot be read.
    """
    if hash_key_file is not None:
        key: str | None = read_secret(screen, hash_key_file, "--hash-key-file")
    else:
        key = os.environ.get(_HASH_KEY) or None
    place = ListPlace(where, key, region)
    place.warn_of_readers(screen)
    return place
