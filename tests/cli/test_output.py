"""The output file: every outcome once, and a job that goes on where it stopped."""

from __future__ import annotations

import csv
import json
import resource
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockusers.cli.output import COLUMNS, open_output
from blockusers.values.outcome import Fault, Operation, Outcome, Status

if TYPE_CHECKING:
    from blockusers.sandbox import Sandbox

ANN, BEN, CAT = "+16505550001", "+16505550002", "US.13491208655302741918"


def rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(params=["out.csv", "out.jsonl", "out.NDJSON"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / request.param


def done(user: str) -> Outcome:
    return Outcome(user, Status.DONE, wa_id=user.lstrip("+"))


def test_holds_every_outcome_with_its_fault(command: Any, path: Path) -> None:
    """One row per user, all that is known about it, and whole numbers: this is the data."""
    assert command("block", ANN, ANN[1:], CAT, "+1650555131047", "0049 1", "-o", path).code == 1

    by_input = {row["input"]: row for row in rows(path)}

    assert [list(COLUMNS)] * 4 == [list(row) for row in rows(path)]
    assert {ANN, CAT, "+1650555131047", "0049 1"} == by_input.keys()
    assert (by_input[ANN]["status"], by_input[ANN]["wa_id"]) == ("done", "16505550001")
    assert by_input[CAT]["user_id"] == CAT
    assert str(by_input["+1650555131047"]["code"]) == "131047"
    assert "starts with 00" in by_input["0049 1"]["message"]


def test_is_for_its_owner_only(command: Any, path: Path) -> None:
    """It holds people's phone numbers."""
    command("block", ANN, "-o", path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_goes_on_where_it_stopped(command: Any, sandbox: Sandbox, path: Path) -> None:
    """Who is done is not sent again, in whatever spelling; the rest is, and is appended."""
    command("block", ANN, "+1650555131047", "-o", path)
    ran = command("block", "+1 (650) 555-0001", BEN, "+1650555131047", "-o", path)

    assert sandbox.requests[-1].users == (BEN, "+1650555131047")
    assert [r["input"] for r in rows(path)] == [ANN, "+1650555131047", BEN, "+1650555131047"]
    assert "3 inputs = 1 done before + 0 repeats + 2 users" in ran.stderr


def test_has_nothing_to_do_twice(command: Any, sandbox: Sandbox, path: Path) -> None:
    """When all is done, the same line again sends nothing and succeeds."""
    command("block", ANN, "-o", path)
    before = path.read_bytes()

    assert command("block", ANN, "-o", path).code == 0
    assert len(sandbox.requests) == 1
    assert before == path.read_bytes()


def test_does_not_take_blocked_for_unblocked(command: Any, sandbox: Sandbox, path: Path) -> None:
    """The last line about a user counts, and only for the same command."""
    command("block", ANN, BEN, "-o", path)
    command("unblock", ANN, "-o", path)

    assert {BEN.lstrip("+")} == sandbox.blocklist()

    command("block", ANN, BEN, "-o", path)

    assert sandbox.requests[-1].users == (ANN,)
    assert [r["message"] for r in rows(path)] == ["blocked", "blocked", "unblocked", "blocked"]


@given(st.data())
def test_survives_a_kill_at_any_byte(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A torn last line is cut off; what stands whole before it is done, and appending goes on."""
    ending = data.draw(st.sampled_from(["csv", "jsonl"]))
    path = tmp_path_factory.mktemp("cut") / f"out.{ending}"
    with open_output(path, Operation.BLOCK) as output:
        odd = Outcome('a\r\nb\u2028,"c', Status.FAILED, faults=(Fault(None, "no"),))
        output.write([done(ANN), odd, done(BEN)])
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])

    with open_output(path, Operation.BLOCK) as output:
        before = output.done
        output.write([done("+16505550003")])
    with open_output(path, Operation.BLOCK) as output:
        assert before | {"16505550003"} == output.done
    assert {
        key for key in ("16505550001",) if whole.find(b"\n", whole.find(b"0001")) < cut
    } <= before


@pytest.mark.parametrize("name", ["list.csv", "list.jsonl"])
def test_leaves_other_files_alone(command: Any, tmp_path: Path, name: str) -> None:
    """A file that blockusers did not write is refused, and not a byte of it changes."""
    path = tmp_path / name
    path.write_text("phone\n+16505550001")

    ran = command("block", ANN, "-o", path)

    assert ran.code == 2
    assert "name another" in ran.stderr
    assert path.read_text() == "phone\n+16505550001"


@pytest.mark.parametrize("line", ["nonsense\n", "[]\n"])
def test_says_that_a_line_is_broken(command: Any, tmp_path: Path, line: str) -> None:
    """To guess what it meant could leave somebody out."""
    path = tmp_path / "out.jsonl"
    command("block", ANN, "-o", path)
    path.write_text(path.read_text() + line)

    ran = command("block", ANN, "-o", path)

    assert ran.code == 2
    assert "broken" in ran.stderr


def test_says_that_it_cannot_be_written(command: Any, tmp_path: Path) -> None:
    """Before anything is sent."""
    ran = command("block", ANN, "-o", tmp_path / "nowhere" / "out.csv")

    assert ran.code == 2
    assert "No such file or directory" in ran.stderr


def test_a_full_disk_ends_the_job(command: Any, tmp_path: Path) -> None:
    """What cannot be written down must not go on; the message says what to do."""
    path = tmp_path / "out.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        ran = command("block", ANN, "-o", path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert ran.code == 3
    assert "ended early: File too large" in ran.stderr
    assert "run the same line again" in ran.stderr
    assert len(path.read_bytes()) == 10
    assert command("block", ANN, "-o", path).code == 0


def test_takes_its_own_output_as_input(command: Any, tmp_path: Path) -> None:
    """The failed ones of a file can be tried again from it."""
    path = tmp_path / "out.csv"
    command("block", ANN, BEN, "-o", path)

    ran = command("unblock", "--file", path, "--column", "input", "-o", path)

    assert ran.code == 0
    assert [r["message"] for r in rows(path)] == ["blocked", "blocked", "unblocked", "unblocked"]


def test_goes_on_with_national_spellings(command: Any, sandbox: Sandbox, path: Path) -> None:
    """What was read with a region is read so again."""
    command("block", "(11) 91234-5678", "-o", path, "--region", "BR")
    ran = command("block", "011 91234-5678", "+5511912345679", "-o", path, "-r", "br")

    assert sandbox.blocklist() == {"5511912345678", "5511912345679"}
    assert len(sandbox.requests) == 2
    assert "2 inputs = 1 done before + 0 repeats + 1 user\n" in ran.stderr
