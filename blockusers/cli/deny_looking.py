"""Looks into the deny list: which entries it has, who is denied and why, how many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, TypeAlias

import attrs

from blockusers.cli import expiry
from blockusers.cli.deny_file import row_of
from blockusers.cli.input_files import ONLY_TEN_DIGITS, count, lacks_country_code
from blockusers.cli.input_files import Entry as Input
from blockusers.cli.process import printable
from blockusers.guard.deny_list import DenyList
from blockusers.guard.entries import EVERYWHERE, Action, Entry
from blockusers.guard.intents import Counts
from blockusers.values.outcome import written
from blockusers.values.users import Reader, same_person

_AT_ONCE: Final = 2000
_MOST_ORIGINS: Final = 10

Hits: TypeAlias = Counter[tuple[str, Action]]
"""How many entries there are of each origin and action."""


@attrs.frozen
class Chosen:
    """Which entries are meant; None does not choose."""

    scope: str | None = None
    origin: str | None = None
    action: Action | None = None

    def entries(self, deny_list: DenyList) -> AsyncIterator[Entry]:
        """Yield them in the order of their users."""
        return deny_list.entries(scope=self.scope, origin=self.origin, action=self.action)

    async def hits(self, deny_list: DenyList, users: Sequence[Any] | None) -> Hits:
        """Count those of *users*, or of everybody, by origin and action."""
        if users is None:
            return Counter([(each.origin, each.action) async for each in self.entries(deny_list)])
        names = {
            key for user in users for name in deny_list.names(user) for key in same_person(name)
        }
        keys, found = [deny_list.key(name) for name in names], set[Entry]()
        for start in range(0, len(keys), _AT_ONCE):
            part = await deny_list.store.find(keys[start : start + _AT_ONCE])
            found.update(each.entry for each in part if self._has(each.entry))
        return Counter((each.origin, each.action) for each in found)

    def _has(self, entry: Entry) -> bool:
        return self.scope in (None, entry.scope) and self.origin in (None, entry.origin)

    async def unknown_origin(self, deny_list: DenyList) -> str:
        """If there is no such origin, say so, and which there are."""
        known = sorted({entry.origin async for entry in deny_list.entries()} - {""})
        if not self.origin or self.origin in known:
            return ""
        return f"no entry has the origin {self.origin!r}; there are: {_shortened(known) or 'none'}"


def in_words(hits: Hits) -> str:
    """Say of which origins entries are, if of several, and how many are exceptions."""
    origins = sorted({origin for origin, _ in hits})
    exceptions = sum(number for (_, action), number in hits.items() if action == "allow")
    parts = [
        f"of the origins {_shortened([each or '(none)' for each in origins])}"
        if origins[1:]
        else "",
        f"{count(exceptions, 'exception')} among them" if exceptions else "",
    ]
    return "".join(f", {part}" for part in parts if part)


def _shortened(names: Sequence[str]) -> str:
    return ", ".join([*names[:_MOST_ORIGINS], *(["…"] if names[_MOST_ORIGINS:] else [])])


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
    decided_by: dict[str, Entry | None] = attrs.field(factory=dict[str, "Entry | None"])
    """The entry that decides, by the scope: of all numbers, and of those that differ."""
    doubt: str = ""
    """What may be wrong with the input."""

    @property
    def is_denied(self) -> bool:
        """Whether the user is denied on any of the numbers."""
        return any(entry and entry.action == "deny" for entry in self.decided_by.values())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        entries = {scope: entry and row_of(entry) for scope, entry in self.decided_by.items()}
        return {
            "where": self.where,
            "input": self.input,
            "user": self.user,
            "denied": self.is_denied if self.user else None,
            "entries": entries,
            "note": self.why or self.doubt or None,
        }

    def __str__(self) -> str:
        where = "" if self.where.startswith("argument ") else f"{self.where}: "
        if self.user is None:
            found = f"rejected: {self.why}"
        else:
            verdicts = [_verdict(scope, entry) for scope, entry in self.decided_by.items()]
            found = "; ".join([*verdicts, self.doubt] if self.doubt else verdicts)
        return printable(f"{where}{self.input}: {found}").replace("\n", " ")


def _verdict(scope: str, entry: Entry | None) -> str:
    on = "" if scope == EVERYWHERE else f" on {scope}"
    if entry is None:
        return f"not denied{on}"
    state = f"denied{on}" if entry.action == "deny" else f"not denied{on}, an exception"
    reasons = [
        entry.reason,
        f"origin {entry.origin}" if entry.origin else "",
        f"until {expiry.as_text(entry.expires_at)}" if entry.expires_at else "",
    ]
    why = ", ".join(filter(None, reasons))
    return f"{state}: {why}" if why else state


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
    found = await deny_list.store.find([deny_list.key(name) for name in same_person(user.key)])
    entries = [each.entry for each in found]
    scopes = (
        [number]
        if number
        else list(dict.fromkeys([EVERYWHERE, *sorted(each.scope for each in entries)]))
    )
    decided_by = {
        scope: await deny_list.match(user.key, phone_number_id=scope) or _exception(entries, scope)
        for scope in scopes
    }
    doubt = ONLY_TEN_DIGITS if lacks_country_code(given.value, reader) else ""
    return Check(given.where, text, user.wire, decided_by=decided_by, doubt=doubt)


def _exception(entries: Sequence[Entry], scope: str) -> Entry | None:
    """Return the entry that allows somebody who is not denied; None if none does."""
    allowing = [each for each in entries if each.action == "allow"]
    own = [each for each in allowing if each.scope == scope]
    return next(iter(own or [each for each in allowing if each.scope == EVERYWHERE]), None)


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
        verb = "expires" if self.expiring == 1 else "expire"
        ends = f"{self.expiring:,} of them {verb}" if self.expiring else "none expires"
        lines = [f"{count(self.entries.total(), 'entry')}, {ends}"]
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
