"""Says how an input is read, why it is rejected, and who is blocked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from typing import Any

from blockusers.cli.input_files import Entry, Reading
from blockusers.cli.process import printable
from blockusers.cli.screen import Meter
from blockusers.cli.summary import count
from blockusers.client import Client
from blockusers.values.account import Account
from blockusers.values.outcome import written
from blockusers.values.users import Reader


async def find_blocked(
    account: Account, names: list[Any], region: str | None, meter: Meter
) -> Container[str]:
    """Return those of *names* that are blocked."""
    async with Client(account, region=region, observers=[meter.observe]) as client:
        return {written(name) for name in await client.find(names)}


def check_entry(entry: Entry, reader: Reader, blocked: Container[str] | None) -> dict[str, Any]:
    """Say how *entry* is read, and whether it is blocked."""
    checked = {"where": entry.where, "input": written(entry.value), "user": None, "blocked": None}
    try:
        found = reader.read(entry.value)
    except ValueError as error:
        return checked | {"kind": "rejected", "note": str(error)}
    bare = len(found.key) == 10 and found.wire == found.key
    return checked | {
        "kind": "BSUID" if found.is_bsuid else "phone number",
        "user": found.wire,
        "blocked": None if blocked is None else checked["input"] in blocked,
        "note": "only 10 digits: is the country code missing?" if bare else None,
    }


def in_words(entry: Entry, checked: dict[str, Any]) -> str:
    """Return what `check_entry` said as one line."""
    where = "" if entry.where.startswith("argument ") else f"{entry.where}: "
    text = f"{where}{checked['input']}: {checked['kind']}"
    if checked["kind"] == "rejected":
        return printable(f"{text}: {checked['note']}").replace("\n", " ")
    state = {None: "", True: ", blocked", False: ", not blocked"}[checked["blocked"]]
    note = f"; {checked['note']}" if checked["note"] else ""
    return printable(f"{text} {checked['user']}{state}{note}").replace("\n", " ")


def totals_of(totals: Counter[str], reading: Reading, *, listed: bool) -> str:
    """Return such as `3 users: 2 phone numbers, 1 BSUID, 0 rejected`."""
    parts = [
        count(totals["phone number"], "phone number"),
        count(totals["BSUID"], "BSUID"),
        f"{totals['rejected']:,} rejected",
    ]
    if listed:
        parts.append(f"{totals['blocked']:,} blocked")
    if reading.empty:
        parts.append(f"{count(reading.empty, 'empty cell')} skipped")
    if reading.complaints:
        parts.append(f"{count(len(reading.complaints), 'line')} could not be read")
    return f"{count(len(reading.entries), 'input')}: {', '.join(parts)}"
