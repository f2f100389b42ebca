"""Looks into the deny list: which entries it has, who is denied and why, how many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import attrs

from blockusers.cli import expiry
from blockusers.cli.deny_file import row_of
from blockusers.cli.input_files import Entry as Input
from blockusers.cli.input_files import count
from blockusers.cli.process import printable
from blockusers.guard.deny_list import DenyList
from blockusers.guard.entries import EVERYWHERE, Action, Entry
from blockusers.guard.intents import Counts
from blockusers.values.outcome import written
from blockusers.values.users import Reader, same_person


@attrs.frozen
class Chosen:
    """Which entries are meant; None does not choose."""

    scope: str | None = None
    origin: str | None = None
    action: Action | None = None

    def entries(self, deny_list: DenyList) -> AsyncIterator[Entry]:
        """Yield them in the order of their users."""
        return deny_list.entries(scope=self.scope, origin=self.origin, action=self.action)


# Who is denied.


@attrs.frozen
class Check:
    """What the list says about one user."""

    where: str
    input: str
    user: str | None = None
    """None if the input names nobody."""
    why: str = ""
    """Why it names nobody."""
    denied_by: dict[str, Entry | None] = attrs.field(factory=dict[str, "Entry | None"])
    """The entry that denies the user, by the scope: of all numbers, and of those that differ."""

    @property
    def is_denied(self) -> bool:
        """Whether the user is denied on any of the numbers."""
        return any(self.denied_by.values())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        entries = {scope: entry and row_of(entry) for scope, entry in self.denied_by.items()}
        return {
            "where": self.where,
            "input": self.input,
            "user": self.user,
            "denied": self.is_denied if self.user else None,
            "entries": entries,
            "note": self.why or None,
        }

    def __str__(self) -> str:
        where = "" if self.where.startswith("argument ") else f"{self.where}: "
        if self.user is None:
            found = f"rejected: {self.why}"
        else:
            found = "; ".join(_verdict(scope, entry) for scope, entry in self.denied_by.items())
        return printable(f"{where}{self.input}: {found}").replace("\n", " ")


def _verdict(scope: str, entry: Entry | None) -> str:
    on = "" if scope == EVERYWHERE else f" on {scope}"
    if entry is None:
        return f"not denied{on}"
    reasons = [
        entry.reason,
        f"origin {entry.origin}" if entry.origin else "",
        f"until {expiry.as_text(entry.expires_at)}" if entry.expires_at else "",
    ]
    why = ", ".join(filter(None, reasons))
    return f"denied{on}: {why}" if why else f"denied{on}"


async def check_all(
    inputs: Sequence[Input], reader: Reader, number: str | None, deny_list: DenyList
) -> list[Check]:
    """Look users up.

    Args:
        inputs: The users.
        reader: Reads them.
        number: The business number; None looks at all of them.
        deny_list: The list.
    """
    return [await _check(each, reader, number, deny_list) for each in inputs]


async def _check(given: Input, reader: Reader, number: str | None, deny_list: DenyList) -> Check:
    text = written(given.value)
    try:
        user = reader.read(given.value)
    except ValueError as error:
        return Check(given.where, text, why=str(error))
    scopes = [number] if number else await _scopes_of(user.key, deny_list)
    denied_by = {scope: await deny_list.match(user.key, phone_number_id=scope) for scope in scopes}
    return Check(given.where, text, user.wire, denied_by=denied_by)


async def _scopes_of(user: str, deny_list: DenyList) -> list[str]:
    """Return the scopes for which the list may say different things about a user."""
    found = await deny_list.store.find([deny_list.key(name) for name in same_person(user)])
    return list(dict.fromkeys([EVERYWHERE, *sorted(each.entry.scope for each in found)]))


# How many there are.


@attrs.frozen
class Totals:
    """What the list holds."""

    entries: Counter[tuple[str, str, str]]
    """How many there are of each scope, action and origin."""
    expiring: int
    """How many of them have an end."""
    numbers: dict[str, Counts]
    """What a guard has to do, by phone number id."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        groups = [
            {"scope": scope, "action": action, "origin": origin, "entries": number}
            for (scope, action, origin), number in sorted(self.entries.items())
        ]
        return {
            "entries": self.entries.total(),
            "expiring": self.expiring,
            "groups": groups,
            "numbers": {name: attrs.asdict(counts) for name, counts in self.numbers.items()},
        }

    def lines(self) -> list[str]:
        """Say it in lines."""
        lines = [f"{count(self.entries.total(), 'entry')}, {self.expiring:,} of them with an end"]
        for (scope, action, origin), number in sorted(self.entries.items()):
            where = "all numbers" if scope == EVERYWHERE else scope
            lines.append(f"  {number:>9,}  {action:5}  {where}  {origin or '(no origin)'}")
        for name, counts in self.numbers.items():
            lines.append(
                f"{name}: {counts.blocks:,} to block, {counts.unblocks:,} to unblock,"
                f" {counts.blocked:,} blocked by the guard"
            )
        return [printable(line) for line in lines]


async def totals_of(numbers: Sequence[str], deny_list: DenyList) -> Totals:
    """Count the entries, and what there is to do for *numbers*."""
    entries, expiring = Counter[tuple[str, str, str]](), 0
    async for entry in deny_list.entries():
        entries[entry.scope, entry.action, entry.origin] += 1
        expiring += entry.expires_at is not None
    return Totals(entries, expiring, {name: await deny_list.store.counts(name) for name in numbers})
