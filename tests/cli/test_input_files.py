"""Reading lists: lines, CSV and JSON Lines, with everything that editors and exports do to them."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from blockusers.cli import input_files
from blockusers.cli.input_files import read_file
from blockusers.cli.process import UsageError

ANN, BEN = "+16505550001", "+44 7911 123456"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, text: str | bytes) -> Path:
    path = Path(name)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def values(name: str, text: str | bytes, column: str | None = None) -> list[object]:
    return [entry.value for entry in read_file(write(name, text), column).entries]


def complaints(name: str, text: str, column: str | None = None) -> list[str]:
    return read_file(write(name, text), column).complaints


@pytest.mark.parametrize(
    "text",
    [
        f"{ANN}\n{BEN}\n",
        f"{ANN}\n{BEN}",
        f"{ANN}\r\n{BEN}\r\n",
        f"{ANN}\r{BEN}\r",
        f"\ufeff{ANN}\n{BEN}\n",
        f"# people\n\n{ANN}\n   \n  # more\n  {BEN}  \n",
        f"{ANN}\n{BEN}\n".encode("utf-16"),
        f'phone\n{ANN}\n"{BEN}"\n',
        f"name,phone\nAnn,{ANN}\nBen,{BEN}\n",
        f"name, phone\nAnn, {ANN}\nBen, {BEN}\n",
        f'name;phone\r\nAnn;{ANN}\r\n\r\n# a comment, with a " in it\r\nBen;{BEN}\r\n',
        f'"name","phone"\n"Ann","{ANN}"\n"Ben","{BEN}"\n',
        f"name\tphone\tnote\nAnn\t{ANN}\tx\nBen\t{BEN}\n",
        f'name;phone\nAnn;="{ANN}"\nBen;"=""{BEN}"""\n',
        f'name|PHONE \n"Ann | Co"|{ANN}\n"Ben\nJr"|{BEN}\n',
        f'{{"phone": "{ANN}"}}\n\n# a comment\n{{"phone": "{BEN}", "name": "Ben"}}\n',
        f'"{ANN}"\n{{"phone": "{BEN}"}}\n',
    ],
)
@pytest.mark.usefixtures("folder")
def test_reads_users_whatever_the_file_looks_like(text: str | bytes) -> None:
    """Line ends, marks, comments, blank lines, delimiters and quotes make no difference."""
    if isinstance(text, bytes) or ("phone" not in text.casefold()):
        assert values("users.txt", text) == [ANN, BEN]
    else:
        assert values("users", text, "phone") == [ANN, BEN]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("users.csv", f"phone\n{ANN}\n"),
        ("users.csv", f"{ANN}\n"),
        ("USERS.TSV", f"phone\n{ANN}\n"),
        ("users.jsonl", f'"{ANN}"\n'),
        ("users.json", f'"{ANN}"'),
        ("users.txt", f"{ANN}\n"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_one_column_needs_no_name(name: str, text: str) -> None:
    """Where there is only one thing per line, nothing has to be said."""
    assert values(name, text) == [ANN]


@pytest.mark.usefixtures("folder")
def test_a_column_has_a_number_too() -> None:
    """It counts from 1; the first row is left out if it holds names, and kept if it is a user."""
    assert values("a.csv", f"name,phone\nAnn,{ANN}\n", "2") == [ANN]
    assert values("b.csv", f"Ann,{ANN}\n", "2") == [ANN]
    assert values("c.csv", f"Ann,\nAnn,{ANN}\n", "2") == [ANN]
    assert values("d.csv", f"Ann,4.9E+12\nAnn,{ANN}\n", "2") == ["4.9E+12", ANN]


@pytest.mark.usefixtures("folder")
def test_keeps_what_json_says() -> None:
    """Numbers stay numbers, and what is no user is left for the library to reject."""
    assert values("a.jsonl", "16505550001\n1.5\n[1]\n") == [16505550001, 1.5, [1]]


@pytest.mark.usefixtures("folder")
def test_a_bad_line_costs_only_itself() -> None:
    """Lines that cannot be read are named with their number, and the rest is read."""
    table = f"name,phone\nAnn,{ANN}\nCat\nBen,{BEN}\n"

    assert values("a.csv", table, "phone") == [ANN, BEN]
    assert complaints("a.csv", table, "phone") == ["a.csv, line 3: has no column 2, only 1"]

    lines = f'{{"phone": "{ANN}"}}\n{{"phone"\n{{"name": "Cat"}}\n{{"phone": "{BEN}"}}\n'
    broken, missing = complaints("a.jsonl", lines, "phone")

    assert values("a.jsonl", lines, "phone") == [ANN, BEN]
    assert broken.startswith("a.jsonl, line 2: broken JSON: ")
    assert missing == "a.jsonl, line 3: there is no key 'phone' in it"


@pytest.mark.usefixtures("folder")
def test_an_open_quote_is_not_passed_over() -> None:
    """What it swallows is complained about, with the line where it begins."""
    (complaint,) = complaints("a.csv", f'name,phone\nAnn,{ANN}\n"Ben,{BEN}\nCat,{ANN}\n', "phone")

    assert complaint.startswith("a.csv, line 3: ")
    assert "quote" in complaint


@pytest.mark.parametrize(
    ("name", "text", "column", "message"),
    [
        ("a.csv", "name;phone\nAnn;1\n", "tel", "no column 'tel'; columns: 'name', 'phone'"),
        ("a.csv", "name,phone\nAnn,1\n", "3", "no column '3'; columns: 'name', 'phone'"),
        (
            "a.csv",
            '"Phone, mobile",name\nAnn,1\n',
            None,
            (
                "a.csv: choose the column with the numbers: --column NAME;"
                " columns: 'Phone, mobile', 'name'"
            ),
        ),
        ("a.txt", "name,phone\nAnn,1\n", None, "choose the column"),
        ("a.csv", "a\x1b[2J,b\n", None, "columns: 'a\\x1b[2J', 'b'"),
        ("a.csv", ",".join("n" * 30) + "\n", None, "'n', …"),
        ("a.jsonl", '{"name": 1, "tel": 2}\n', "phone", "'phone'; columns: 'name', 'tel'"),
        ("a.jsonl", '{"name": 1, "tel": 2}\n', None, "choose the column"),
        (
            "a.csv",
            "name,Phone,phone \nAnn,1,2\n",
            "phone",
            "2 columns are named 'phone'; choose --column 2 or --column 3",
        ),
        ("a.json", f'["{ANN}"]', None, "array"),
        (
            "a.txt",
            b"+16505550001\ncaf\xe9\n",
            None,
            "a.txt: line 2 is not UTF-8 (byte 0xe9); in Excel: Save as",
        ),
        ("a.txt", b"\xff\xfe\x00", None, "line 1 is not UTF-16 (byte 0x00)"),
        ("a.txt", "1\n".encode("utf-16-le"), None, "this is not text; in Excel: Save as"),
        ("a.xls", b"\xd0\xcf\x11\xe0", None, "workbook"),
        ("a.xlsx", b"PK\x03\x04", None, "workbook"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_says_what_is_wrong_with_a_file(
    name: str, text: str | bytes, column: str | None, message: str
) -> None:
    """A file that cannot be read at all is a wrong usage, and the message says what there is."""
    with pytest.raises(UsageError) as caught:
        read_file(write(name, text), column)

    assert message in str(caught.value)


@pytest.mark.usefixtures("folder")
def test_column_names_hide_numbers() -> None:
    """A table without names has numbers there; they are masked like all others."""
    with pytest.raises(UsageError, match="'Ann', '.1650…01'"):
        read_file(write("a.csv", f"Ann,{ANN}\n"))


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "a.jsonl"])
def test_an_empty_file_has_no_users(name: str) -> None:
    """That is nothing to complain about."""
    assert values(name, "") == []
    assert values(name, "# nobody\n\n", "phone") == []


def test_a_dash_is_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Complaints name stdin as the file."""
    stdin = io.TextIOWrapper(io.BytesIO(b"name,phone\nAnn\n"))
    monkeypatch.setattr(sys, "stdin", stdin)

    assert read_file(Path("-"), "phone").complaints == ["stdin, line 2: has no column 2, only 1"]


@pytest.mark.usefixtures("folder")
def test_reads_a_full_blocklist() -> None:
    """64,000 rows, none of them lost."""
    rows = "".join(f'"N, {n}",+49151{n:08}\n' for n in range(64_000))

    assert len(values("a.csv", f"name,phone\n{rows}", "phone")) == 64_000


def test_an_endless_file_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device is not read until memory ends, and neither is a pipe that never ends."""
    with pytest.raises(UsageError, match="^/dev/full: this is not text"):
        read_file(Path("/dev/full"))

    monkeypatch.setattr(input_files, "_LARGEST", 100_000)
    with subprocess.Popen(["yes", ANN], stdout=subprocess.PIPE) as endless:
        with pytest.raises(UsageError, match="has more than 0 MB; split it"):
            read_file(Path(f"/dev/fd/{endless.stdout.fileno()}"))
        endless.kill()


@pytest.mark.usefixtures("folder")
def test_a_long_line_costs_only_itself() -> None:
    """Whatever its length; a table names it, in a plain list it is for the library to reject."""
    junk = "x" * 200_000
    assert values("a.txt", f"{ANN}\n{junk}\n{BEN}\n") == [ANN, junk, BEN]
    (complaint,) = complaints("a.csv", f"phone\n{ANN}\n{junk}\n{BEN}\n")
    assert complaint.startswith("a.csv, line 3: field larger than field limit")
    assert values("a.csv", f"phone\n{ANN}\n{junk}\n{BEN}\n") == [ANN, BEN]


@pytest.mark.usefixtures("folder")
def test_empty_cells_are_counted() -> None:
    """They name nobody, and are nobody's failure."""
    table = read_file(write("a.csv", f"name;phone\nAnn;{ANN}\nBen;\n;\nCat; \n"), "phone")
    lines = read_file(write("a.jsonl", f'{{"phone": ""}}\n{{"phone": "{ANN}"}}\n'), "phone")

    assert ([entry.value for entry in table.entries], table.empty) == ([ANN], 3)
    assert ([entry.value for entry in lines.entries], lines.empty) == ([ANN], 1)


@pytest.mark.usefixtures("folder")
def test_null_is_complained_about() -> None:
    """A null is a line that cannot be read, and the key is named if there is one."""
    assert complaints("a.jsonl", '1\n2\n{"phone": null}\n', "phone") == [
        "a.jsonl, line 3: phone is null"
    ]
    assert complaints("a.jsonl", "null\n") == ["a.jsonl, line 1: the user is null"]


@pytest.mark.parametrize(
    ("name", "first", "is_header"),
    [
        ("a.txt", "Phone number", True),
        ("a.txt", "Téléphone", True),
        ("a.txt", "Phone 1", True),
        ("a.txt", "anna@example.com", False),
        ("a.txt", "Anna 0151 234567", False),
        ("a.txt", "US.13491208655302741918", False),
        ("a.csv", "phone", True),
        ("a.csv", "0151 234567", False),
    ],
)
@pytest.mark.usefixtures("folder")
def test_recognises_a_header(name: str, first: str, is_header: bool) -> None:
    """A first line that looks like a name is passed over, and told; anything else is kept."""
    reading = read_file(write(name, f"{first}\n{ANN}\n"))

    assert (len(reading.entries), len(reading.notes)) == ((1, 1) if is_header else (2, 0))
    if is_header:
        assert reading.notes == [f"{name}, line 1: taken for a header: {first}"]


@pytest.mark.usefixtures("folder")
def test_one_line_is_no_header() -> None:
    """There must be something under it."""
    assert values("a.txt", "anna") == ["anna"]


@pytest.mark.usefixtures("folder")
def test_what_spreadsheets_write() -> None:
    """Excel's own first line; a decimal comma in a lone column; an apostrophe that means text."""
    assert values("a.csv", f"sep=;\r\nname;phone\r\nA,B;{ANN}\r\n", "phone") == [ANN]
    assert values("b.csv", "phone\n4,91512E+12\n") == ["4,91512E+12"]
    assert values("c.csv", f"phone\n'{ANN}\n'x\n") == [ANN, "'x"]


def test_stdin_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is no empty list."""
    monkeypatch.setattr(sys, "stdin", None)

    with pytest.raises(UsageError, match="^--file -: stdin is closed$"):
        read_file(Path("-"))
