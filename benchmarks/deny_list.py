"""Rows per second and bytes per row of a deny list, and lookups in it, beside a plain dict."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

from blockusers.guard.deny_list import DenyList
from blockusers.guard.stores.sqlite import SqliteStore
from blockusers.values.users import INTERNATIONAL

T = TypeVar("T")

HERE: Final = "106540352242922"
LOOKUPS: Final = 100_000
AT_ONCE: Final = 100
"""Lookups that are under way at the same time, as in a busy webhook service."""


def main(entries: int) -> None:
    """Print a table for a list of so many entries."""
    chance = random.Random(1)
    numbers = [f"+4915{i:09d}" for i in range(entries)]
    asked = [f"4915{chance.randrange(2 * entries):09d}" for _ in range(LOOKUPS)]
    shuffled = chance.sample(numbers, entries)
    print(f"{entries:,} entries, {LOOKUPS:,} lookups of which half are on the list\n")
    print("| | import, rows/s | second import | bytes/row | lookups/s | one by one | matches/s |")
    print("|---|---|---|---|---|---|---|")
    _print_dict(numbers, asked)
    for name, rows, key in (
        ("SQLite, sorted input", numbers, None),
        ("SQLite, shuffled input", shuffled, None),
        ("SQLite, shuffled, hashed", shuffled, "a secret of a good length"),
    ):
        asyncio.run(_print_sqlite(name, rows, asked, key))


def _print_dict(numbers: list[str], asked: list[str]) -> None:
    start = time.perf_counter()
    table = dict.fromkeys(INTERNATIONAL.read_plain(numbers) or ())
    imported = time.perf_counter() - start
    start = time.perf_counter()
    for number in asked:
        table.get(number)
    print(
        f"| dict, parsed in one go | {len(table) / imported:,.0f} | | |"
        f" {len(asked) / (time.perf_counter() - start):,.0f} | | |"
    )


async def _print_sqlite(name: str, rows: list[str], asked: list[str], key: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deny.db"
        async with SqliteStore(path) as store:
            deny_list = DenyList(store, hash_key=key)
            imported, change = await _timed(deny_list.add(rows, reason="spam", origin="list"))
            assert change.added == len(rows)
            again, change = await _timed(deny_list.add(rows, reason="spam", origin="list"))
            assert (change.added, change.updated) == (0, 0)
            keys = [deny_list.key(number) for number in asked]
            at_once, _ = await _timed(_all(lambda key: store.find((key,)), keys, AT_ONCE))
            alone, _ = await _timed(_all(lambda key: store.find((key,)), keys, 1))
            matched, _ = await _timed(
                _all(lambda id_: deny_list.match(id_, phone_number_id=HERE), asked, AT_ONCE)
            )
        size = path.stat().st_size
    print(
        f"| {name} | {len(rows) / imported:,.0f} | {len(rows) / again:,.0f} |"
        f" {size / len(rows):.0f} | {LOOKUPS / at_once:,.0f} |"
        f" {LOOKUPS / alone:,.0f} | {LOOKUPS / matched:,.0f} |",
        flush=True,
    )


async def _all(look_up: Callable[[str], Awaitable[object]], names: list[str], tasks: int) -> None:
    """Look up all *names* in so many tasks."""
    rest = iter(names)

    async def some() -> None:
        for name in rest:
            await look_up(name)

    await asyncio.gather(*(some() for _ in range(tasks)))


async def _timed(work: Awaitable[T]) -> tuple[float, T]:
    start = time.perf_counter()
    result = await work
    return time.perf_counter() - start, result
