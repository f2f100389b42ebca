"""National spellings: whom they name, and when they are rejected."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from contextlib import suppress

import phonenumbers
import pytest

from blockusers import Account, BlockedUser, Client, FixedPace
from blockusers.sandbox import Rules, Sandbox
from blockusers.values.national import NationalReader
from blockusers.values.users import Identifier
from tests.support import quick

AMBIGUOUS = "15123456789"  # 0151 23456789 in Germany, or +1 512 345 6789 in Texas
MOBILE = phonenumbers.PhoneNumberType.MOBILE
EXAMPLES = {
    region: example
    for region in sorted(phonenumbers.SUPPORTED_REGIONS)
    if (example := phonenumbers.example_number_for_type(region, MOBILE))
}
MAY_BE_TWO = {"CN", "CO"}
"""Regions whose example may be somebody's abroad."""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Rules(window=None)) as sandbox:
        yield sandbox


def client_of(sandbox: Sandbox, region: str) -> Client:
    account = Account(**sandbox.credentials)
    return Client(account, region=region, retry=quick(), pace=FixedPace(4))


@pytest.mark.parametrize(
    ("region", "written", "meant"),
    [
        ("BR", "(11) 91234-5678", "5511912345678"),
        ("BR", "011 91234-5678", "5511912345678"),
        ("BR", "11912345678", "5511912345678"),
        ("BR", 21912345678, "5521912345678"),
        ("BR", "5511912345678", "5511912345678"),
        ("BR", "551112345678", "551112345678"),
        ("BR", "+55 11 91234-5678", "5511912345678"),
        ("BR", "0055 11 91234 5678", "5511912345678"),
        ("BR", "16505551234", "16505551234"),
        ("BR", "5215512345678", "5215512345678"),
        ("BR", "\u0661\u0661 91234-5678", "5511912345678"),
        ("MX", "5215512345678", "5215512345678"),
        ("MX", "55 1234 5678", "525512345678"),
        ("AR", "011 15-2345-6789", "5491123456789"),
        ("US", "(650) 555-1234", "16505551234"),
        ("US", "650.555.1234", "16505551234"),
        ("US", "1-650-555-1234", "16505551234"),
        ("US", "011 49 151 12345678", "4915112345678"),
        ("DE", "0151 23456789", "4915123456789"),
        ("DE", "(0151) 234 567 89", "4915123456789"),
        ("DE", "0151/23456789", "4915123456789"),
        ("DE", "+49 (0)151 23456789", "4915123456789"),
        ("DE", "0049 151 23456789", "4915123456789"),
        ("DE", "4915123456789", "4915123456789"),
        ("IT", "02 1234 5678", "390212345678"),
        ("IT", "333 123 4567", "393331234567"),
        ("br", "(11) 91234-5678", "5511912345678"),
    ],
)
def test_reads(region: str, written: object, meant: str) -> None:
    """What is written as in its country is read, and so is all that has a country code."""
    assert NationalReader(region).read(written) == Identifier(meant, f"+{meant}")


def test_reads_bsuids() -> None:
    """A BSUID has nothing to do with regions."""
    assert NationalReader("BR").read("US.13491208655302741918").is_bsuid


@pytest.mark.parametrize(
    ("region", "written", "why"),
    [
        ("BR", "91234-5678", "no possible number, neither in BR nor with a country code"),
        ("BR", "+5511", "no possible number"),
        ("BR", "+55 11 91234 5678 9", "no possible number"),
        ("US", "555 1234", "no possible number"),
        ("US", "+999 123456789", "no possible number"),
        ("DE", "0151", "no possible number"),
        ("DE", AMBIGUOUS, r"may be a number in DE or one with its country code; write \+"),
        ("CN", "131 2345 6789", "may be a number in CN"),
        ("US", "1-800-FLOWERS", "'F' does not belong in a phone number"),
        ("US", "6505551234.0", "a spreadsheet's decimal number"),
        ("US", "-6505551234", "a spreadsheet has subtracted"),
        ("US", b"6505551234", "a str or an int, not bytes"),
        ("US", "", "no possible number"),
    ],
)
def test_rejects(region: str, written: object, why: str) -> None:
    """What is nobody's number, or may be two people's, is rejected, and never repeated."""
    with pytest.raises(ValueError, match=why) as rejected:
        NationalReader(region).read(written)

    assert "1234" not in str(rejected.value)


def test_every_region() -> None:
    """The example number of each region is read as it is written there."""
    for region in EXAMPLES.keys() - MAY_BE_TWO:
        number = EXAMPLES[region]
        written = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
        meant = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)

        assert NationalReader(region).read(written).wire == meant


@pytest.mark.parametrize("region", ["BR", "CO", "DE", "US"])
def test_never_somebody_else(region: str) -> None:
    """Digits with a country code are never taken for a national number of somebody else."""
    reader, read = NationalReader(region), set()
    for home, number in EXAMPLES.items():
        wire = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        assert reader.read(wire).wire == wire
        with suppress(ValueError):  # it may be two people's
            assert reader.read(wire[1:]).wire == wire
            read.add(home)

    assert region in read


@pytest.mark.parametrize("region", ["XX", "", "Brazil", "001"])
def test_no_such_region(sandbox: Sandbox, region: str) -> None:
    """A region that does not exist is rejected when the client is made."""
    with pytest.raises(ValueError, match="^region: must be the two letters of a country"):
        client_of(sandbox, region)


def test_region_is_text(sandbox: Sandbox) -> None:
    """A region of a wrong type is, too."""
    with pytest.raises(TypeError, match="^region: must be a str, not int$"):
        client_of(sandbox, 55)


def test_without_the_extra(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where phonenumbers is not installed, the error says how to get it."""
    monkeypatch.setitem(sys.modules, "phonenumbers", None)

    with pytest.raises(ModuleNotFoundError, match=r'pip install "blockusers\[phone\]"'):
        client_of(sandbox, "BR")


async def test_a_job(sandbox: Sandbox) -> None:
    """A job reads national spellings, finds repeats among them, and reports in any spelling."""
    async with client_of(sandbox, "BR") as client:
        report = await client.block(
            [
                "(11) 91234-5678",
                "+55 11 91234-5678",
                "91234-5678",
                *(f"119{n:08}" for n in range(70)),
            ]
        )

    assert report.repeats == 1
    assert [outcome.input for outcome in report.failed] == ["91234-5678"]
    assert report.get("011 91234 5678").wa_id == "5511912345678"
    assert report.get("91234-5678") is report[1]
    assert "5511912345678" in sandbox.blocklist()


async def test_single_calls(sandbox: Sandbox) -> None:
    """Single calls read them, too; what is rejected is a ValueError with the number masked."""
    async with client_of(sandbox, "DE") as client:
        outcome = await client.block_one("0151 23456789")
        with pytest.raises(ValueError, match=r"^1512…89: may be a number in DE"):
            await client.block_one(AMBIGUOUS)

    assert (outcome.input, outcome.wa_id) == ("0151 23456789", "4915123456789")


async def test_whom_the_server_names(sandbox: Sandbox) -> None:
    """A user from the server's own list has a country code, whatever the digits look like."""
    sandbox.block(AMBIGUOUS, "4915123456789")
    async with client_of(sandbox, "DE") as client:
        report = await client.unblock(await client.snapshot())
        assert report.get(BlockedUser(AMBIGUOUS, None, None))

    assert len(report.succeeded) == 2
    assert not sandbox.blocklist()


async def test_find_and_sync(sandbox: Sandbox) -> None:
    """Users are found and kept on the list by their national spellings."""
    sandbox.block("4915123456789", "4915123456780")
    async with client_of(sandbox, "DE") as client:
        found = await client.find(["0151 23456789", "0151 23456781"])
        report = await client.sync(["0151 23456789", "0151 23456781"], max_removals=1)

    assert list(found) == ["0151 23456789"]
    assert report.summary() == "1 added, 1 removed, 1 already right"
    assert sandbox.blocklist() == {"4915123456789", "4915123456781"}


async def test_reports_travel(sandbox: Sandbox) -> None:
    """A report can be pickled, and still reads national spellings."""
    async with client_of(sandbox, "DE") as client:
        report = pickle.loads(pickle.dumps(await client.block(["0151 23456789"])))

    assert report.get("+49 151 23456789") is report.get("(0151) 23456789") is not None
