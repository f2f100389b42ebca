"""Makes up a list of users as people really keep it: many spellings, repeats, and mistakes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final

import attrs

from blockusers.sandbox import MAGIC

# Mobile numbers of many countries: N is a digit from 2 to 9, # any digit.
_PATTERNS: Final = (
    "+1 N## N## ####",
    "+20 10 #### ####",
    "+27 82 ### ####",
    "+33 6 ## ## ## ##",
    "+34 6## ### ###",
    "+39 33# ### ####",
    "+44 7N## ### ###",
    "+49 151 ########",
    "+52 55 #### ####",
    "+55 11 9#### ####",
    "+57 31# ### ####",
    "+62 812 #### ####",
    "+90 53# ### ## ##",
    "+91 9N### #####",
    "+234 80# ### ####",
    "+971 50 ### ####",
)
MISTAKES: Final = (
    "0049 151 23456789",
    "0151 23456789",
    "4.91512E+12",
    "4915123456789.0",
    "(650) 555-0123",
    "+44 (0)7911 123456",
    "anna@example.com",
    "+49 151 23456789 / +49 151 23456780",
    "12345",
)
"""What lists have in them that is no user, or would reach a stranger."""

_MAGIC: Final = {131047: 24, 131021: 2, 139103: 6}
"""How many numbers fail with which code: not within 24 hours, the own number, a transient error."""


@attrs.frozen
class Sample:
    """A list, and what there is to know about it."""

    inputs: list[str]
    distinct: int
    """How many outcomes it must have."""
    transient: frozenset[str]
    """Numbers that fail at first and succeed when they are tried again, in digits."""


def make_sample(users: int, seed: int, own_number: str) -> Sample:
    """Make up a list.

    Args:
        users: How many ordinary numbers it has.
        seed: The same seed makes the same list.
        own_number: The business's own number, which gets in among the others.
    """
    chance = random.Random(seed)  # noqa: S311  # a list to look at, no secret
    phones = _phones(chance, users)
    bsuids = [f"US.{chance.randrange(10**18, 10**19)}" for _ in range(users // 100)]
    special = {code: _ending_in(chance, code, number) for code, number in _MAGIC.items()}
    people = [*phones, *bsuids, own_number, *(one for group in special.values() for one in group)]
    repeated = chance.sample(phones, users // 50)
    inputs = [_spell(chance, one) for one in [*people, *repeated]] + [*MISTAKES]
    chance.shuffle(inputs)
    transient = frozenset(one.replace(" ", "").lstrip("+") for one in special[139103])
    return Sample(inputs, len(people) + len(MISTAKES), transient)


def _phones(chance: random.Random, number: int) -> list[str]:
    phones = dict[str, str]()
    while len(phones) < number:
        phone = "".join(_digits(chance, chance.choice(_PATTERNS)))
        digits = phone.replace(" ", "")
        # A number that ends like an error code would fail by accident.
        if digits[-6:] not in MAGIC:
            phones[digits] = phone
    return list(phones.values())


def _digits(chance: random.Random, pattern: str) -> Iterator[str]:
    for char in pattern:
        match char:
            case "#":
                yield str(chance.randrange(10))
            case "N":
                yield str(chance.randrange(2, 10))
            case _:
                yield char


def _ending_in(chance: random.Random, code: int, number: int) -> list[str]:
    areas = chance.sample(range(20, 100), number)
    return [f"+1 6{area} 555 {code}" for area in areas]


def _spell(chance: random.Random, one: str) -> str:
    """Write a number in one of the ways in which people do."""
    if not one.startswith("+"):
        return one
    return chance.choice(
        (
            one,
            one.replace(" ", ""),
            one.replace(" ", "").lstrip("+"),
            one.replace(" ", "-"),
            one.replace(" ", "\N{NO-BREAK SPACE}"),
            f"\u202a{one}\u202c",  # as copied from a phone's contacts
        )
    )
