"""Opens the SQLite file of a store: creates it, checks that it is ours, explains what fails.

SQLite's locks belong to a process and a file: whoever closes the file through `open` and `close`
drops the locks that other connections of the same process hold on it.  So the file is touched by
nothing but SQLite once it exists.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import stat
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

import attrs

from blockusers.guard.stores.protocol import StoreUnavailable
from blockusers.guard.stores.sqlite_schema import SCHEMA

APPLICATION_ID: Final = 0x626C6B75
"""`blku`: says in the file's header whose database it is."""
VERSION: Final = 1
"""Of the tables; a file with a larger one was written by a newer version of blockusers."""

_WHY: Final = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_BUSY: "another process keeps it locked; end that process, or try again later",
    sqlite3.SQLITE_READONLY: "it may not be written; permit it to this user, and its folder too",
    sqlite3.SQLITE_PERM: "it may not be opened; permit it to this user",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that it exists, and that this user may"
    " write to it and to its folder",
    sqlite3.SQLITE_NOTADB: "it is not a SQLite database; name another file",
    sqlite3.SQLITE_CORRUPT: "it is damaged; restore it from a backup",
    sqlite3.SQLITE_IOERR: "reading or writing it failed; check the disk",
}
_ONE_CREATES: Final = threading.Lock()


@attrs.frozen
class DatabaseFile:
    """The file of a store, and how to connect to it."""

    path: Path
    busy_timeout: float
    """Seconds to wait for other processes that have it locked."""

    def unavailable(self, problem: str) -> StoreUnavailable:
        """Return an error that names the file."""
        return StoreUnavailable(f"the store {self.path}: {problem}")

    def identity(self) -> tuple[int, int] | None:
        """Return what tells the file that is there now from any other; None if there is none."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def check_identity(self, opened: tuple[int, int] | None) -> None:
        """Raise StoreUnavailable if this is not the file that was opened any more."""
        if self.identity() != opened:
            raise self.unavailable(
                "another file took its place, or it was deleted; restart what uses it"
            )

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Raise StoreUnavailable in place of the errors of SQLite and of the operating system."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest tells apart kinds of it
            raise self.unavailable(_WHY.get(code, str(error))) from error
        except FileNotFoundError as error:
            raise self.unavailable("its folder does not exist; create it") from error
        except OSError as error:
            raise self.unavailable(f"{error.strerror or error}".lower()) from error

    def connect_to_write(self) -> sqlite3.Connection:
        """Open the file, and create it if there is none.

        Raises:
            StoreUnavailable: It cannot be opened, or holds something else.
        """
        with self.explained():
            create_private(self.path)
            self._check_owner()
            connection = self._connect()
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            return connection

    def connect_to_read(self) -> sqlite3.Connection:
        """Open the file, which exists."""
        with self.explained():
            connection = self._connect()
            connection.execute("PRAGMA query_only = ON")
            return connection

    def _connect(self, options: str = "mode=rw") -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self.path.as_uri()}?{options}",
            uri=True,
            timeout=self.busy_timeout,
            isolation_level=None,
        )

    def _check_owner(self) -> None:
        """Look whose database it is, without locks, and without files beside it."""
        if not stat.S_ISREG(self.path.stat().st_mode):
            raise self.unavailable("it is a folder, a device or a pipe; name another file")
        if self.path.stat().st_size == 0:
            return
        with contextlib.closing(self._connect("immutable=1")) as connection:
            (owner,) = connection.execute("PRAGMA application_id").fetchone()
        if owner != APPLICATION_ID:
            raise self.unavailable("it is not a database of blockusers; name another file")

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA secure_delete = ON")
        # The owner is written before there is a WAL, so that it always stands in the file itself.
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise self.unavailable("it was written by a newer version of blockusers; upgrade")
        if version == 0:
            for statement in SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    def lock_file(self, number: str) -> DatabaseFile:
        """Return the file that whoever drains a business number keeps locked."""
        safe = re.fullmatch(r"[0-9A-Za-z_-]{1,64}", number)
        name = number if safe else sha256(number.encode()).hexdigest()[:32]
        return DatabaseFile(Path(f"{self.path}.{name}.lock"), busy_timeout=0)

    @contextlib.contextmanager
    def try_lock(self) -> Iterator[bool]:
        """Try to lock this file, which holds nothing; yield whether that worked.

        The lock is one of SQLite's: the operating system frees it when the process dies, and two
        connections of one process exclude each other as well.
        """
        with self.explained():
            create_private(self.path)
            connection = self._connect()
        with contextlib.closing(connection):
            yield self._is_locked_by(connection)

    def _is_locked_by(self, connection: sqlite3.Connection) -> bool:
        with self.explained():
            try:
                connection.execute("PRAGMA journal_mode = MEMORY")  # no file beside it
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.Error as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
                return False
            return True


def create_private(path: Path) -> None:
    """Create an empty file that nobody else may read, unless it is there."""
    with _ONE_CREATES, contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
