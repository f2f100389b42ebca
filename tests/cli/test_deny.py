"""The commands of the deny list: adding, looking up, importing, exporting, forgetting."""

from __future__ import annotations

import csv
import json
import signal
import stat
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from blockusers.cli.deny_adding import Fields, add
from blockusers.cli.screen import Meter
from blockusers.guard import DenyList, SqliteStore
from tests.support import PHONE_NUMBER_ID, Clock

ANN, BEN, EVE = "+16505550001", "+16505550002", "US.13491208655302741918"
KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deny.db"


@pytest.fixture
def deny(bare: Any, path: Path) -> Callable[..., Any]:
    """Run a command of the deny list, on one list."""

    def run(command: str, *args: object, **settings: str) -> Any:
        return bare("deny", command, *args, BLOCKUSERS_STORE=str(path), **settings)

    return run


def users(ran: Any) -> list[str]:
    """Return the first column of what was listed."""
    return [line.split("\t")[0] for line in ran.lines]


# --------------------------------------------------------------------------- adding and removing


def test_adds_and_lists(deny: Any, path: Path) -> None:
    """Who, for which number, why, from whom and until when; the sum is told on stderr."""
    ran = deny("add", ANN, EVE, "--reason", "spam", "--origin", "anna")

    assert (ran.code, ran.stdout, ran.stderr) == (0, "", f"{path}: 2 entries added\n")
    assert deny("list").lines == [
        f"{ANN[1:]}\tdeny\t*\tanna\t\tspam",
        f"{EVE}\tdeny\t*\tanna\t\tspam",
    ]
    assert deny("list").stderr == "2 entries\n"


def test_says_what_was_there(deny: Any) -> None:
    """To add somebody a second time changes nothing, and another reason is a change."""
    deny("add", ANN)

    assert "0 entries added, 1 already there" in deny("add", ANN).stderr
    assert "0 entries added, 1 changed" in deny("add", ANN, "--reason", "insults").stderr
    assert deny("add", BEN, "--quiet").stderr == ""


def test_what_is_not_given_stays(deny: Any) -> None:
    """To add or import somebody again keeps reason and end, unless another is given."""
    deny("add", ANN, "--reason", "spam", "--expires", "30d")
    before = deny("list").lines
    again = deny("add", ANN, BEN)
    imported = deny("import", "-", "--origin", "", stdin=f"{ANN}\n")

    assert "1 entry added, 1 already there; 1 of them expires as before, unless" in again.stderr
    assert "0 entries added, 1 already there, after" in imported.stderr
    assert "1 of them expires as before, unless you add --expires never" in imported.stderr
    assert deny("list").lines[:1] == before
    assert "1 changed; 1 of them expires" in deny("add", ANN, "--reason", "insults").stderr
    assert deny("list").lines[0] == before[0].replace("spam", "insults")


async def test_nothing_stays_of_what_has_ended(path: Path) -> None:
    """Who is added after an older entry has ended is denied for ever, also before it is removed."""
    clock = Clock()
    async with SqliteStore(path, clock=clock) as store:
        deny_list = DenyList(store)
        await deny_list.add([ANN], reason="spam", expires_at=clock.now + 1)
        clock.now += 1
        added = await add(deny_list, [ANN], Fields())
        (entry,) = [each async for each in deny_list.entries()]

    assert (added.change.updated, added.ending) == (1, 0)
    assert (entry.reason, entry.expires_at) == ("", None)


def test_a_lasting_entry_is_asked_for(deny: Any) -> None:
    """`--expires never` takes the end from an entry, and an empty reason takes the reason."""
    deny("add", ANN, "--reason", "spam", "--expires", "30d")

    assert deny("add", ANN, "--expires", "never").stderr.endswith("0 entries added, 1 changed\n")
    assert deny("add", ANN, "--reason", "").code == 0
    assert deny("list").lines == [f"{ANN[1:]}\tdeny\t*\t\t\t"]


def test_doubts_a_number_of_ten_digits(deny: Any, tmp_path: Path) -> None:
    """It looks whole, and may lack the country code: to add, to import, to look up."""
    file = tmp_path / "june.csv"
    file.write_text(f"6505550001\n650 555 0002\n{ANN}\n0123456789\nUS.1234567890\n")

    assert "6505…01 has only 10 digits: is the country code missing?" in (
        deny("add", "6505550001").stderr
    )
    assert "2 numbers have only 10 digits: is the country code missing?" in (
        deny("import", file).stderr
    )
    assert deny("check", "6505550009").lines == [
        "6505550009: not denied; only 10 digits: is the country code missing?"
    ]


def test_says_who_cannot_be_added(deny: Any) -> None:
    """The others are added, and the exit code tells."""
    ran = deny("add", ANN, "0049 151 234567")

    assert ran.code == 1
    assert ran.stderr.startswith("rejected: 0049…67 starts with 00, which is dialled, not sent;")
    assert users(deny("list")) == [ANN[1:]]
    assert "cannot be a whole number" in deny("add", "+49", "151", "2345678").stderr


def test_reads_national_numbers(deny: Any) -> None:
    """A region is read from `--region`, as the other commands do."""
    assert deny("add", "(11) 91234-5678", "--region", "BR").code == 0
    assert users(deny("list")) == ["5511912345678"]


@pytest.mark.parametrize(
    ("when", "seconds"), [("12h", 43_200), ("30d", 2_592_000), ("1w", 604_800)]
)
def test_an_entry_ends_after_a_span(deny: Any, when: str, seconds: int) -> None:
    """A span is a number of hours, days or weeks from now."""
    before = int(time.time())
    deny("add", ANN, "--expires", when)
    (row,) = map(json.loads, deny("list", "--json").lines)

    ends = datetime.fromisoformat(row["expires"]).timestamp()
    assert before + seconds <= ends <= time.time() + seconds


def test_an_entry_ends_with_a_day(deny: Any) -> None:
    """A date is the last day of the entry, which ends at midnight by local time."""
    deny("add", ANN, "--expires", "2199-12-31")
    (row,) = map(json.loads, deny("list", "--json").lines)

    assert datetime.fromisoformat(row["expires"]) == datetime(2200, 1, 1).astimezone()


@pytest.mark.parametrize(
    ("when", "why"),
    [
        (
            "soon",
            "'soon' is no span such as 12h, 30d or 8w, no date such as 2026-12-31, and not never",
        ),
        ("9999-12-31", "'9999-12-31' is no span"),
        ("2001-01-01", "2001-01-01 has passed"),
    ],
)
def test_doubts_when_it_ends(deny: Any, when: str, why: str) -> None:
    """What is no time, or has passed, is a wrong usage."""
    ran = deny("add", ANN, "--expires", when)

    assert ran.code == 2
    assert why in " ".join(ran.stderr.replace("│", " ").split())


def test_blames_the_option(deny: Any) -> None:
    """What the library rejects is said in the words of the command line."""
    ran = deny("add", ANN, "--scope", "anna")

    assert ran.code == 2
    assert ran.stderr.startswith("blockusers: --scope: must be `*` or a phone number id")


def test_removes_users(deny: Any, path: Path) -> None:
    """All of their entries, or those of one origin; files name them, too."""
    deny("add", ANN, BEN, "--origin", "anna")
    deny("add", ANN, "--origin", "ben")

    assert deny("remove", ANN, "--origin", "ben").stderr == f"{path}: 1 entry removed\n"
    assert deny("remove", "--file", "-", "--yes", stdin=f"{ANN}\n").code == 0
    assert users(deny("list")) == [BEN[1:]]
    assert deny("remove", "12").code == 1


def test_an_import_is_undone(deny: Any) -> None:
    """Its origin removes it; without a terminal only with --yes, for it can be a long list."""
    deny("add", ANN, "--origin", "june.csv")
    deny("add", BEN)
    asked = deny("remove", "--origin", "june.csv")

    assert asked.code == 2
    assert "cannot ask, for stdin is not a terminal; add --yes if you are sure" in asked.stderr
    assert deny("remove", "--origin", "june.csv", "--yes").code == 0
    assert users(deny("list")) == [BEN[1:]]


def test_asks_before_it_removes_a_file(deny: Any, tmp_path: Path) -> None:
    """A file can be long, as an import; if nobody in it is on the list, nothing is asked."""
    file = tmp_path / "a.txt"
    file.write_text(f"{ANN}\n")

    deny("add", BEN)
    assert deny("remove", "--file", file).code == 0
    deny("add", ANN)
    asked = deny("remove", "--file", file)
    assert (asked.code, "cannot ask" in asked.stderr) == (2, True)


def test_says_what_else_was_removed(deny: Any, path: Path) -> None:
    """Origins, if there are several, and exceptions are named."""
    deny("add", ANN, "--origin", "anna")
    deny("add", ANN, "--allow")
    deny("add", ANN, "--scope", "1", "--origin", "ben")

    assert deny("remove", ANN, "--scope", "1").stderr == f"{path}: 1 entry removed\n"
    assert deny("remove", ANN).stderr == (
        f"{path}: 2 entries removed, of the origins (none), anna, 1 exception among them\n"
    )


def test_an_origin_that_there_is_not(deny: Any) -> None:
    """Nothing is asked or removed, and the origins that there are are named."""
    for number in range(12):
        deny("add", ANN, "--origin", f"file{number:02}")
    ran = deny("remove", "--origin", "files")
    shown = ", ".join(f"file{number:02}" for number in range(10))

    assert ran.code == 1
    assert ran.stderr == f"no entry has the origin 'files'; there are: {shown}, …\n"
    assert "no entry has the origin 'x'; there are" in deny("list", "--origin", "x").stderr
    assert deny("list", "--action", "allow").stderr == "0 entries\n"


def test_asks_before_it_removes_an_import(deny: Any, at_terminal: Any, path: Path) -> None:
    """It says how much goes; a no keeps it."""
    deny("add", ANN, "--scope", PHONE_NUMBER_ID)
    line = ("deny", "remove", "--scope", PHONE_NUMBER_ID, "--store", path)
    no = at_terminal(*line, keys=[("Go on?", b"n\n")])

    assert no.code == 1
    assert "1 entry will be removed. The guard unblocks whom it blocked for them." in no.stderr
    assert "nothing was done" in no.stderr
    assert at_terminal(*line, keys=[("Go on?", b"y\n")]).code == 0
    assert deny("list").lines == []


def test_removes_nobody_by_accident(deny: Any) -> None:
    """A removal without users, origin or scope is a wrong usage."""
    deny("add", ANN)

    assert "name the users, or a file" in deny("remove", "--yes").stderr
    assert users(deny("list")) == [ANN[1:]]


def test_forgets_a_user(deny: Any, at_terminal: Any, path: Path) -> None:
    """Whatever the list knows, when somebody is sure of it."""
    deny("add", ANN, BEN)
    line = ("deny", "erase", ANN, "--store", path)
    no = at_terminal(*line, keys=[("Go on?", b"\x04")])

    assert no.code == 1
    assert "All that is stored about +1650…01 will be deleted" in no.stderr
    assert at_terminal(*line, keys=[("Go on?", b"y\n")]).code == 0
    assert users(deny("list")) == [BEN[1:]]
    assert deny("erase", BEN, "--yes").stderr == f"{path}: +1650…02 is forgotten, 1 entry removed\n"


def test_forgets_nobody_else(deny: Any) -> None:
    """What names nobody is not looked for."""
    deny("add", ANN)
    ran = deny("erase", "0049151234567", "--yes")

    assert ran.code == 2
    assert ran.stderr.startswith("blockusers: 0049…67 starts with 00")


# --------------------------------------------------------------------------- looking


def test_lists_what_is_chosen(deny: Any) -> None:
    """Scope, origin and action choose entries."""
    deny("add", ANN, "--origin", "anna", "--scope", PHONE_NUMBER_ID)
    deny("add", BEN, "--allow")

    assert users(deny("list", "--scope", PHONE_NUMBER_ID)) == [ANN[1:]]
    assert users(deny("list", "--origin", "anna")) == [ANN[1:]]
    assert users(deny("list", "--action", "allow")) == [BEN[1:]]


def test_says_who_is_denied(deny: Any) -> None:
    """Each user gets a verdict and the reason, in any spelling; exit code 1 is for other inputs."""
    deny("add", ANN, "--reason", "spam", "--origin", "anna", "--expires", "2199-12-31")
    deny("add", EVE)
    ran = deny("check", "+1 650 555 0001", EVE, BEN, "0049 151 234567")

    assert ran.code == 1
    assert [line.partition(": ")[2] for line in ran.lines[1:]] == [
        "denied",
        "not denied",
        "rejected: starts with 00, which is dialled, not sent; write + instead of 00",
    ]
    assert ran.lines[0].startswith("+1 650 555 0001: denied: spam, origin anna, until ")
    assert ran.stderr == "4 inputs: 2 denied, 1 rejected\n"


def test_says_where_somebody_is_denied(deny: Any) -> None:
    """Numbers that differ are named, or one is asked for."""
    deny("add", ANN)
    deny("add", ANN, "--allow", "--scope", PHONE_NUMBER_ID)

    excepted = f"not denied on {PHONE_NUMBER_ID}, an exception"
    assert deny("check", ANN).lines == [f"{ANN}: denied; {excepted}"]
    assert deny("check", ANN, "--number", "1").lines == [f"{ANN}: denied on 1"]


def test_says_why_somebody_is_excepted(deny: Any) -> None:
    """The exception that decides is shown: that of the number before that of all numbers."""
    deny("add", ANN, "--reason", "spam")
    deny("add", ANN, "--allow", "--reason", "a customer", "--origin", "anna")
    deny("add", BEN, "--allow", "--scope", "1", "--reason", "here only")

    customer = "an exception: a customer, origin anna"
    assert deny("check", ANN).lines == [f"{ANN}: not denied, {customer}"]
    assert deny("check", ANN, "--number", "1").lines == [f"{ANN}: not denied on 1, {customer}"]
    assert deny("check", BEN, "--number", "1").lines == [
        f"{BEN}: not denied on 1, an exception: here only"
    ]
    (checked,) = map(json.loads, deny("check", ANN, "--json").lines)
    assert (checked["denied"], checked["entries"]["*"]["action"]) == (False, "allow")


@pytest.mark.parametrize("args", [("check", ANN), ("status",)])
def test_a_number_is_an_id(deny: Any, args: tuple[str, ...]) -> None:
    """A number with a plus, or a name, would be looked for and never found."""
    deny("add", ANN)
    ran = deny(*args, "--number", "+1650")

    assert ran.code == 2
    said = " ".join(ran.stderr.replace("│", " ").split())
    assert "must be a phone number id, which has digits only" in said


def test_checks_files(deny: Any, tmp_path: Path) -> None:
    """Users of a file are shown with the line, or as JSON; exit code 1 is for unreadable lines."""
    file = tmp_path / "a.jsonl"
    file.write_text(f'"{ANN}"\n"12"\n{{\n')
    deny("add", ANN, "--reason", "spam")
    ran = deny("check", "--file", file, "--json")
    first, second = map(json.loads, ran.lines)

    assert ran.code == 1
    assert (first["where"], first["user"], first["denied"]) == (f"{file}, line 1", ANN, True)
    assert first["entries"]["*"]["reason"] == "spam"
    assert (second["denied"], second["entries"]) == (None, {})
    assert second["note"].startswith("has 2 digits")
    assert deny("check", "--file", file).lines[0] == f"{file}, line 1: {ANN}: denied: spam"
    assert deny("check", BEN).code == 0


def test_counts_what_there_is(deny: Any) -> None:
    """Entries are counted by scope, action and origin, and so is what a guard has to do."""
    deny("add", ANN, BEN, "--origin", "anna", "--expires", "30d")
    deny("add", EVE, "--allow", "--scope", "1")
    ran = deny("status", "--number", PHONE_NUMBER_ID)

    assert ran.lines == [
        "3 entries, 2 of them expire",
        "          2  deny   all numbers  anna",
        "          1  allow  1  (no origin)",
        f"{PHONE_NUMBER_ID}: 0 to block, 0 to unblock, 0 blocked by the guard",
    ]
    counted = json.loads(deny("status", "--json").stdout)
    assert (counted["entries"], counted["expiring"], counted["numbers"]) == (3, 2, {})
    assert {"scope": "1", "action": "allow", "origin": "", "entries": 1} in counted["groups"]


@pytest.mark.parametrize(
    "args",
    [("list",), ("check", ANN), ("status",), ("export",), ("remove", ANN), ("erase", ANN)],
)
def test_no_list_is_not_an_empty_one(deny: Any, path: Path, args: tuple[str, ...]) -> None:
    """A list that is not there is said to be, and is not created."""
    ran = deny(*args)

    assert ran.code == 2
    assert ran.stderr.startswith(f"blockusers: {path}: there is no such deny list; `blockusers")
    assert not path.exists()


def test_another_file_is_left_alone(deny: Any, path: Path) -> None:
    """One line says what it is, and it stays what it was."""
    path.touch(0o600)
    path.write_bytes(b"these are my notes\n" * 100)
    ran = deny("add", ANN)

    assert ran.code == 3
    assert ran.stderr == (
        f"blockusers: the store {path}: it is not a SQLite database; name another file\n"
    )
    assert path.read_bytes() == b"these are my notes\n" * 100


# --------------------------------------------------------------------- files to be imported


def test_imports_files(deny: Any, tmp_path: Path, path: Path) -> None:
    """Lines, tables and JSON Lines; each origin is its file. A second import changes nothing."""
    lines, table = tmp_path / "lines.txt", tmp_path / "june.csv"
    lines.write_text(f"{ANN}\n{BEN}\n")
    table.write_text(f"name;phone\nEve;{EVE}\nAnn;{ANN}\n")

    assert deny("import", lines).stderr.startswith(f"{path}: 2 entries added, after ")
    assert deny("import", table, "--column", "phone", "--reason", "spam").code == 0
    assert [line.split("\t")[::3] for line in deny("list").lines] == [
        [ANN[1:], "june.csv"],
        [ANN[1:], "lines.txt"],
        [BEN[1:], "lines.txt"],
        [EVE, "june.csv"],
    ]
    again = deny("import", lines)
    assert f"{path}: 0 entries added, 2 already there, after" in again.stderr
    assert deny("import", lines, "--quiet").stderr == ""


def test_imports_stdin(deny: Any) -> None:
    """What comes from stdin has the origin `stdin`, or the one that is given."""
    assert deny("import", "-", stdin=f"{ANN}\n").code == 0
    assert deny("import", "-", "--origin", "feed", "--allow", stdin=f"{ANN}\n").code == 0
    assert deny("list").lines == [
        f"{ANN[1:]}\tallow\t*\tfeed\t\t",
        f"{ANN[1:]}\tdeny\t*\tstdin\t\t",
    ]


def test_a_list_can_be_typed(deny: Any, at_terminal: Any, path: Path) -> None:
    """A terminal that waits for it says so."""
    keys = [("Ctrl-D ends the list", f"{ANN}\n".encode()), (ANN, b"\x04")]

    assert at_terminal("deny", "import", "-", "--store", path, keys=keys).code == 0
    assert users(deny("list")) == [ANN[1:]]


def test_an_import_that_fails_says_how_to_go_on(deny: Any, path: Path) -> None:
    """It says that what was wrong has to be fixed first, and then to import again."""
    path.write_bytes(b"garbage" * 1000)
    ran = deny("import", "-", stdin=ANN)

    assert ran.code == 3
    assert "ended early: the store" in ran.stderr
    assert "To go on, fix it first, then import again: what is there" in ran.stderr


def test_reports_each_line_that_is_rejected(deny: Any, tmp_path: Path, path: Path) -> None:
    """Each has its number and the reason, in the order of the file; the rest is imported."""
    file = tmp_path / "june.csv"
    file.write_text(f'phone\n{BEN}\n4.91512E+12\n\n" "\n0049151234567\n{ANN}\n"open\n')
    ran = deny("import", file)

    assert ran.code == 1
    dialled = "starts with 00, which is dialled, not sent; write + instead of 00"
    decimal = "looks like a spreadsheet's decimal number; format that column as text"
    assert ran.stderr.splitlines()[:-1] == [
        f"{file}, line 1: taken for a header: phone",
        f"{file}, line 8: unexpected end of data; is a quote not closed?",
        f"{file}, line 3: 4.91…12 {decimal} and export it again, digits may be lost",
        f"{file}, line 6: 0049…67 {dialled}",
    ]
    assert f"{path}: 2 entries added, 3 rejected, 1 empty cell skipped, after" in ran.stderr
    assert users(deny("list")) == [ANN[1:], BEN[1:]]


def test_shows_kinds_of_many_rejections(deny: Any) -> None:
    """Of many lines that are rejected it shows the first, and counts them by their reason."""
    lines = ["00491512345678"] * 25 + ["12"] * 5 + [ANN]
    ran = deny("import", "-", stdin="\n".join(lines))

    assert ran.code == 1
    assert ran.stderr.count("stdin, line ") == 20
    assert "… and 10 more like these" in ran.stderr
    table = " ".join(ran.stderr.partition("like these")[2].split())
    assert table.startswith("users why what to do")
    assert "25 starts with 00, which is dialled" in table
    assert " 5 has 2 digits" in table


def test_an_interrupted_import_says_what_it_did(
    deny: Any, monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    """What was imported stays, and the same line goes on."""
    advance = Meter.advance

    def interrupt(meter: Meter, *counts: int) -> None:
        advance(meter, *counts)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Meter, "advance", interrupt)
    numbers = "\n".join(f"+1650{number:07}" for number in range(40_000))
    ran = deny("import", "-", stdin=numbers)

    assert ran.code == 130
    assert f"{path}: 32,000 entries added, after" in ran.stderr
    assert "ended early: interrupted\nTo go on, import again" in ran.stderr


# --------------------------------------------------------------------------- exporting


def test_an_export_is_imported_as_it_was(deny: Any, tmp_path: Path, bare: Any) -> None:
    """Scope, action, reason, origin and expiry of each entry, exceptions among them."""
    deny("add", ANN, "--reason", '=1+1, "spam"', "--origin", "@anna", "--expires", "30d")
    deny("add", EVE, "--allow", "--scope", PHONE_NUMBER_ID)
    file, other = tmp_path / "backup.csv", tmp_path / "other.db"
    assert deny("export", "--output", file).stderr == "2 entries\n"
    assert bare("deny", "import", file, "--store", other).code == 0

    assert bare("deny", "list", "--store", other).lines == deny("list").lines
    assert "2 already there" in deny("import", file).stderr


def test_an_export_is_safe(deny: Any, tmp_path: Path) -> None:
    """No cell is a formula, each row a line, and only its owner reads the file."""
    deny("add", ANN, "--reason", "=cmd()\nsecond")
    file = tmp_path / "a.csv"
    file.write_text("older")
    deny("export", "--output", file)
    (row,) = csv.DictReader(file.read_text().splitlines())

    assert row["reason"] == "'=cmd() second"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert deny("export").stdout == file.read_text()
    assert [each.name for each in tmp_path.glob("*.csv*")] == ["a.csv"]


def test_exports_what_is_chosen(deny: Any) -> None:
    """Scope, origin and action choose entries."""
    deny("add", ANN, "--origin", "anna")
    deny("add", BEN)

    assert [line.split(",")[0] for line in deny("export", "--origin", "anna").lines] == [
        "user",
        ANN[1:],
    ]


def test_an_export_goes_into_a_file(deny: Any, tmp_path: Path) -> None:
    """What is none, or cannot be written, is left alone."""
    deny("add", ANN)

    assert "must be a file, not a folder" in deny("export", "--output", tmp_path).stderr
    ran = deny("export", "--output", tmp_path / "no" / "a.csv")
    assert (ran.code, "no such file or directory" in ran.stderr) == (2, True)


def test_half_an_export_is_none(deny: Any, tmp_path: Path) -> None:
    """An older one is kept when the list cannot be read."""
    file = tmp_path / "a.csv"
    file.write_text("older")
    (tmp_path / "deny.db").write_bytes(b"garbage" * 1000)

    assert deny("export", "--output", file).code == 3
    assert file.read_text() == "older"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.csv", "deny.db"]


def test_rows_of_an_export_say_all_themselves(deny: Any, tmp_path: Path) -> None:
    """An option beside them would contradict them, and make an exception a denial."""
    deny("add", ANN, "--allow")
    file = tmp_path / "a.csv"
    deny("export", "--output", file)
    ran = deny("import", file, "--column", "user")

    assert ran.code == 2
    assert "its rows have their own scope, action, reason, origin and expiry" in ran.stderr


@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_an_export_may_come_back_from_a_spreadsheet(
    deny: Any, tmp_path: Path, bare: Any, separator: str
) -> None:
    """Another separator, and columns moved or added, leave exceptions what they are."""
    deny("add", ANN, "--reason", "spam", "--origin", "anna", "--expires", "2199-12-31")
    deny("add", BEN, "--allow")
    rows = list(csv.DictReader(deny("export").lines))
    names = ["note", "action", "USER", "reason", "scope", "expires", "origin"]
    lines = [["note" if name == "note" else row[name.lower()] for name in names] for row in rows]
    cells = [names, *lines, [""] * len(names)]
    file, other = tmp_path / "edited.csv", tmp_path / "other.db"
    above = f"sep={separator}\r\n"
    file.write_text(above + "\r\n".join(separator.join(row) for row in cells), "utf-8-sig")
    ran = bare("deny", "import", file, "--store", other)

    assert ran.code == 0
    assert "2 entries added, 1 empty cell skipped" in ran.stderr
    assert bare("deny", "list", "--store", other).lines == deny("list").lines
    assert "leave out the options" in deny("import", file, "--column", "user").stderr


def test_half_the_columns_are_no_export(deny: Any, tmp_path: Path) -> None:
    """Without its scope an entry for one number would hold for all."""
    file = tmp_path / "a.csv"
    file.write_text(f"user,action,reason\n{ANN},allow,\n")
    ran = deny("import", file, "--column", "user")

    assert ran.code == 2
    assert "as `deny export` writes them, but no column 'scope'" in ran.stderr


def test_what_list_prints_is_no_export(deny: Any, tmp_path: Path) -> None:
    """Its JSON has exceptions among the denials, so `deny export` is what can be imported."""
    deny("add", ANN, "--allow")
    file = tmp_path / "a.jsonl"
    file.write_text(deny("list", "--json").stdout)
    ran = deny("import", file, "--column", "user")

    assert ran.code == 2
    assert "`deny list --json` printed it; import what `deny export` writes" in ran.stderr


def test_damaged_rows_of_an_export_are_rejected(deny: Any, tmp_path: Path) -> None:
    """Each with its line; what has expired since is not added."""
    file = tmp_path / "a.csv"
    rows = [
        "user,scope,action,reason,origin,added,expires",
        f"{ANN},*,deny,,,,2001-01-01T00:00:00Z",
        f"{ANN},*,ban,,,,",
        f"{ANN},*,deny,,,,soon",
        f"{ANN},*",
        f"{ANN},*,deny,,,,,more",
        f"{BEN},*,deny,,,,",
    ]
    file.write_text("\n".join(rows))
    ran = deny("import", file)

    assert ran.code == 1
    assert ran.stderr.splitlines()[:-1] == [
        f"{file}, line 3: the action must be deny or allow",
        f"{file}, line 4: the expiry must be a time such as 2026-12-31T23:00:00Z",
        f"{file}, line 5: must have 7 cells",
        f"{file}, line 6: must have 7 cells",
    ]
    assert "1 entry added, 4 rejected, 1 expired since the export" in ran.stderr
    file.write_text(f"{rows[0]}\n{'1' * 200_000},*,deny,,,,")
    assert "line 1: field larger than field limit" in deny("import", file).stderr


# --------------------------------------------------------------------------- hashes


def test_warns_of_a_list_that_others_can_read(deny: Any, path: Path) -> None:
    """It holds people's numbers; one that the command makes is private."""
    assert "others can read" not in deny("add", ANN).stderr + deny("list").stderr
    path.chmod(0o644)
    assert f"others can read {path}: chmod 600 {path}\n" in deny("list").stderr


def test_a_list_of_hashes(deny: Any, tmp_path: Path) -> None:
    """Users are found with the key, and without it they are not even shown."""
    key = tmp_path / "key"
    key.write_text(f"{KEY}\n")
    key.chmod(0o600)
    deny("add", ANN, "--hash-key-file", key)
    listed = deny("list", BLOCKUSERS_HASH_KEY=KEY)

    assert ANN[1:] not in listed.stdout
    assert listed.stderr == "1 entry; users are hashes, for the list holds nothing else\n"
    assert deny("check", ANN, "--hash-key-file", key).lines == [f"{ANN}: denied"]
    without = deny("list")
    assert without.code == 2
    assert without.stderr == "blockusers: --hash-key-file: this list was made with one; pass it\n"


def test_hashes_cannot_be_imported(deny: Any, tmp_path: Path) -> None:
    """An export of them says in its first line what they are."""
    deny("add", ANN, BLOCKUSERS_HASH_KEY=KEY)
    file = tmp_path / "a.csv"
    deny("export", "--output", file, BLOCKUSERS_HASH_KEY=KEY)
    ran = deny("import", file)

    assert file.read_text().startswith("user_hash,scope,")
    assert ran.code == 2
    assert "it holds hashes, which cannot be imported; copy the list's file instead" in ran.stderr


def test_warns_of_a_key_that_others_can_read(deny: Any, tmp_path: Path) -> None:
    """A key in a file that others can read is warned of, and one that is too short is rejected."""
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o644)

    assert (
        f"others can read {key}: chmod 600 {key}" in deny("add", ANN, "--hash-key-file", key).stderr
    )
    key.write_text("short")
    assert (
        "--hash-key-file: must have at least 16 bytes"
        in deny("list", "--hash-key-file", key).stderr
    )
