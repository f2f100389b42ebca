"""Says how an input is read, why it is rejected, and who is blocked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from typing import Any

from blockusers.cli.input_files import (
    ONLY_TEN_DIGITS,
    Entry,
    Reading,
    count,
    lacks_country_code,
    unusable,
)
from blockusers.cli.process import printable
from blockusers.values.outcome import written
from blockusers.values.users import Reader


def check_entry(entry: Entry, reader: Reader, blocked: Container[str] | None) -> dict[str, Any]:
    """Say how *entry* is read, and whether it is blocked."""
    checked = {"where": entry.where, "input": written(entry.value), "user": None, "blocked": None}
    try:
        found = reader.read(entry.value)
    except ValueError as error:
        return checked | {"kind": "rejected", "note": str(error)}
    return checked | {
        "kind": "BSUID" if found.is_bsuid else "phone number",
        "user": found.wire,
        "blocked": None if blocked is None else checked["input"] in blocked,
        "note": ONLY_TEN_DIGITS if lacks_country_code(entry.value, reader) else None,
    }


def in_words(check: dict[str, Any]) -> str:
    """Return what `check_entry` said as one line."""
    where = "" if check["where"].startswith("argument ") else f"{check['where']}: "
    state = {None: "", True: ", blocked", False: ", not blocked"}[check["blocked"]]
    what = f"{check['kind']} {check['user']}{state}; " if check["user"] else "rejected: "
    text = f"{where}{check['input']}: {what}{check['note'] or ''}"
    return printable(text.removesuffix("; ")).replace("\n", " ")


def totals_of(checks: Sequence[dict[str, Any]], reading: Reading, *, listed: bool) -> str:
    """Return such as `3 inputs: 2 phone numbers, 1 BSUID, 0 rejected`."""
    kinds = Counter(check["kind"] for check in checks)
    parts = [
        count(kinds["phone number"], "phone number"),
        count(kinds["BSUID"], "BSUID"),
        f"{kinds['rejected']:,} rejected",
    ]
    if listed:
        parts.append(f"{sum(check['blocked'] is True for check in checks):,} blocked")
    return f"{count(len(checks), 'input')}: {', '.join(parts + unusable(reading))}"
