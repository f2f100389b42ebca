"""Makes sample data for the demo: users in many spellings, with repeats and mistakes."""

from __future__ import annotations

import random
import re
from itertools import chain
from typing import Final

import attrs

from blockusers.sandbox import MAGIC, Rules

# Mobile numbers of many countries: N is a digit from 2 to 9, # any digit.
_PATTERNS: Final = (
    "+1 N## N## ####",
    "+20 10 #### ####",
    "+33 6 ## ## ## ##",
    "+44 7N## ### ###",
    "+49 151 ########",
    "+52 55 #### ####",
    "+55 11 9#### ####",
    "+62 812 #### ####",
    "+91 9N### #####",
    "+234 80# ### ####",
)
MISTAKES: Final = (
    "0049 151 23456789",
    "4.91512E+12",
    "anna@example.com",
    "(650) 555-0123",
    "+44 (0)7911 123456",
    "+49 151 23456789 / +49 151 23456780",
    "12345",
)
"""What lists have in them that is no user, or would reach a stranger."""

_MAGIC: Final = {"131047": 24, "139103": 6}
"""How many numbers fail with which code: not within 24 hours, or a transient error."""


@attrs.frozen
class Sample:
    """A list, and what is known about it."""

    inputs: list[str]
    distinct: int
    """How many outcomes it must have."""
    transient: frozenset[str]
    """Numbers that fail at first and succeed when they are sent again, in digits."""


def make_sample(users: int, seed: int) -> Sample:
    """Make up a list.

    Args:
        users: How many ordinary numbers it has.
        seed: The same seed makes the same list.
    """
    chance = random.Random(seed)  # noqa: S311  # a list to look at, no secret
    phones = make_phones(chance, users)
    bsuids = [f"US.{chance.randrange(10**18, 10**19)}" for _ in range(users // 100)]
    failing = {
        code: [f"+1 6{area} 555 {code}" for area in chance.sample(range(20, 100), number)]
        for code, number in _MAGIC.items()
    }
    distinct = [*phones, *bsuids, Rules().own_number, *chain(*failing.values())]
    repeated = chance.sample(phones, users // 50)
    inputs = [_spell(chance, one) for one in [*distinct, *repeated]] + [*MISTAKES]
    chance.shuffle(inputs)
    transient = frozenset(re.sub("[+ ]", "", phone) for phone in failing["139103"])
    return Sample(inputs, len(distinct) + len(MISTAKES), transient)


def make_phones(chance: random.Random, number: int) -> list[str]:
    """Make up different phone numbers; none of them fails on purpose in a sandbox."""

    def digit(found: re.Match[str]) -> str:
        return str(chance.randrange(2 if found[0] == "N" else 0, 10))

    phones = dict[str, str]()
    while len(phones) < number:
        phone = re.sub("[N#]", digit, chance.choice(_PATTERNS))
        digits = phone.replace(" ", "")
        # A number that ends like an error code would fail by accident.
        if digits[-6:] not in MAGIC:
            phones[digits] = phone
    return list(phones.values())


def _spell(chance: random.Random, user: str) -> str:
    """Write a number in one of the ways in which people do."""
    if not user.startswith("+"):
        return user
    short = user.replace(" ", "")
    others = [user.replace(" ", mark) for mark in ("-", "\N{NO-BREAK SPACE}")]
    copied = f"\u202a{user}\u202c"  # from a phone's contacts
    return chance.choice([user, short, short.lstrip("+"), *others, copied])
