"""The whole way: a table as somebody keeps it, through the command, into the output file."""

from __future__ import annotations

import csv
import random
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from blockusers import Client
from blockusers.cli import account
from blockusers.sandbox import MAGIC
from tests.support import quick

MISTAKES = ("0049 151 23456789", "4.91512E+12", "(650) 555-0123", "anna@example.com", "12345")
EMPTY = 10
KINDS = (
    PhoneNumberType.MOBILE,
    PhoneNumberType.FIXED_LINE,
    PhoneNumberType.VOIP,
    PhoneNumberType.TOLL_FREE,
    PhoneNumberType.PERSONAL_NUMBER,
)


def examples() -> dict[str, phonenumbers.PhoneNumber]:
    """Every region's example numbers, by their digits, and neighbours of them."""
    found = dict[str, phonenumbers.PhoneNumber]()
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in KINDS:
            example = phonenumbers.example_number_for_type(region, kind)
            for step in range(2) if example else ():
                number = phonenumbers.PhoneNumber()
                number.merge_from(example)
                number.national_number += step
                digits = phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:]
                if len(digits) >= 7 and digits[-6:] not in MAGIC:
                    found[digits] = number
    return found


def spell(chance: random.Random, number: phonenumbers.PhoneNumber) -> str:
    e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    international = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
    return chance.choice(
        (e164, e164[1:], international, international.replace(" ", "\u00a0"), f"\u202a{e164}\u202c")
    )


def build(chance: random.Random) -> tuple[list[str], Counter[str], int]:
    """Return 2,000 lines, how often each status must be there, and the number of repeats."""
    numbers = examples()
    plain = chance.sample(sorted(numbers), 1400)
    bsuids = [f"US.{chance.randrange(10**18, 10**19)}" for _ in range(50)]
    lasting = [f"+1650{n}131047" for n in range(100, 140)] + ["+1650131021"]
    passing = [f"+1650{n}139103" for n in range(100, 109)]
    people = [*(spell(chance, numbers[one]) for one in plain), *bsuids, *lasting, *passing]
    mistakes = [chance.choice(MISTAKES) for _ in range(90)]
    repeats = [spell(chance, numbers[chance.choice(plain)]) for _ in range(400)]
    lines = [*people, *mistakes, *repeats, *[""] * EMPTY]
    chance.shuffle(lines)
    done = len(plain) + len(bsuids) + len(passing)
    return lines, Counter(done=done, failed=len(lasting) + len(mistakes)), len(repeats)


def test_blocks_a_whole_table(bare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every distinct user of every region is in the output exactly once, with its status."""
    monkeypatch.setattr(account, "Client", partial(Client, retry=quick()))
    lines, expected, repeats = build(random.Random(5))
    table, output = tmp_path / "numbers.csv", tmp_path / "out.csv"
    with table.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=";").writerows(
            [("name", "phone"), *((f"Person; {n}", line) for n, line in enumerate(lines))]
        )

    ran = bare("block", "--file", table, "--column", "phone", "--sandbox", "--output", output)

    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    done = [row["wa_id"] or row["user_id"] for row in rows if row["status"] == "done"]
    assert len(lines) == 2000
    assert ran.code == 1
    assert f"1,990 inputs = {repeats} repeats + {expected.total():,} users" in ran.stderr
    assert f"{EMPTY} empty cells skipped" in ran.stderr
    assert Counter(row["status"] for row in rows) == expected
    assert len(set(done)) == len(done) == expected["done"]
    assert Counter(row["code"] for row in rows) == Counter(
        {"": expected.total() - 41, "131047": 40, "131021": 1}
    )
    assert all(row["message"] for row in rows if row["status"] == "failed")
