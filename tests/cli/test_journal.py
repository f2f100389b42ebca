"""The journal: every outcome once, a job that goes on where it stopped, one account at a time."""

from __future__ import annotations

import csv
import errno
import importlib
import json
import os
import resource
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockusers.cli import journal as module
from blockusers.cli.input_files import read_file
from blockusers.cli.journal import COLUMNS, open_journal
from blockusers.cli.process import UsageError
from blockusers.values.outcome import Fault, Operation, Outcome, Status

if TYPE_CHECKING:
    from blockusers.sandbox import Sandbox

ANN, BEN, CAT = "+16505550001", "+16505550002", "US.13491208655302741918"


def rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]]


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
    assert "3 inputs = 1 done before + 2 users" in ran.stderr


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
    assert [r["operation"] for r in rows(path)] == ["block", "block", "unblock", "block"]


@given(st.data())
def test_survives_a_kill_at_any_byte(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A torn last line is cut off; what stands whole before it is done, and appending goes on."""
    ending = data.draw(st.sampled_from(["csv", "jsonl"]))
    path = tmp_path_factory.mktemp("cut") / f"out.{ending}"
    with open_journal(path, "here") as journal:
        odd = Outcome('a\r\nb\u2028,"c', Status.FAILED, faults=(Fault(None, "no"),))
        journal.write(Operation.BLOCK, [done(ANN), odd, done(BEN)])
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])

    with open_journal(path, "here") as journal:
        before = journal.done(Operation.BLOCK)
        journal.write(Operation.BLOCK, [done("+16505550003")])
    with open_journal(path, "here") as journal:
        assert before | {"16505550003"} == journal.done(Operation.BLOCK)
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


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("out.jsonl", "nonsense\n"),
        ("out.jsonl", "[]\n"),
        ("out.jsonl", "{}\n"),
        ("out.jsonl", "\udcff\n"),
        ("out.csv", "nonsense\n"),
        ("out.csv", f"{'x' * 140_000}\n"),
    ],
)
def test_says_that_a_line_is_broken(command: Any, tmp_path: Path, name: str, line: str) -> None:
    """To guess what it meant could leave somebody out."""
    path = tmp_path / name
    command("block", ANN, "-o", path)
    path.write_bytes(path.read_bytes() + line.encode(errors="surrogateescape"))

    ran = command("block", ANN, "-o", path)

    assert ran.code == 2
    assert f"--output {path}: line" in ran.stderr
    assert "is broken" in ran.stderr


def test_says_that_it_cannot_be_written(command: Any, tmp_path: Path) -> None:
    """Before anything is sent."""
    ran = command("block", ANN, "-o", tmp_path / "nowhere" / "out.csv")

    assert ran.code == 2
    assert "no such file or directory" in ran.stderr


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
    assert f"ended early: {path}: file too large" in ran.stderr
    assert "fix it first, then run the same line again" in ran.stderr
    assert len(path.read_bytes()) == 10
    assert command("block", ANN, "-o", path).code == 0


def test_takes_its_own_output_as_input(command: Any, tmp_path: Path) -> None:
    """The failed ones of a file can be tried again from it."""
    path = tmp_path / "out.csv"
    command("block", ANN, BEN, "-o", path)

    ran = command("unblock", "--file", path, "--column", "input", "-o", path)

    assert ran.code == 0
    assert [r["operation"] for r in rows(path)] == ["block", "block", "unblock", "unblock"]


def test_goes_on_with_national_spellings(command: Any, sandbox: Sandbox, path: Path) -> None:
    """What was read with a region is read so again."""
    command("block", "(11) 91234-5678", "-o", path, "--region", "BR")
    ran = command("block", "011 91234-5678", "+5511912345679", "-o", path, "-r", "br")

    assert sandbox.blocklist() == {"5511912345678", "5511912345679"}
    assert len(sandbox.requests) == 2
    assert "2 inputs = 1 done before + 1 user\n" in ran.stderr


# One account.


def test_a_rehearsal_does_not_count(command: Any, sandbox: Sandbox, path: Path) -> None:
    """Who was blocked on a sandbox is blocked for real, and the file's rows are told apart."""
    assert command("block", ANN, BEN, "-o", path, "--sandbox").code == 0
    ran = command("block", ANN, BEN, "-o", path)

    assert ran.code == 0
    assert sandbox.blocklist() == {ANN[1:], BEN[1:]}
    here = sandbox.url.removeprefix("http://") + "/106540352242922"
    assert (
        f"{path}: 2 of its rows are of another blocklist (sandbox) and are ignored;" in ran.stderr
    )
    assert f"this run is for {here}" in ran.stderr
    assert [r["blocklist"] for r in rows(path)] == ["sandbox", "sandbox", here, here]


def test_a_rehearsal_goes_on_too(command: Any, path: Path) -> None:
    """Each sandbox has a port of its own, and they count as one all the same."""
    command("block", ANN, "-o", path, "--sandbox")
    ran = command("block", ANN, BEN, "-o", path, "--sandbox")

    assert "2 inputs = 1 done before + 1 user" in ran.stderr


def test_another_number_is_another_account(command: Any, path: Path, sandbox: Sandbox) -> None:
    """What was done for one business number is not done for the other."""
    command("block", ANN, "-o", path)
    ran = command("block", ANN, "-o", path, WHATSAPP_PHONE_NUMBER_ID="1")

    assert ran.code == 3  # the sandbox does not know that number, so it was asked
    assert "ignored" in ran.stderr


def test_knows_its_region(command: Any, path: Path, sandbox: Sandbox) -> None:
    """A row says whom it means, whatever region it is read with; another region is told."""
    command("block", "(11) 91234-5678", "-o", path, "--region", "BR")
    ran = command("block", "+55 11 91234-5678", "-o", path)
    again = command("block", "(11) 91234-5678", "-o", path, "--region", "br")

    assert len(sandbox.requests) == 1
    assert [r["region"] for r in rows(path)] == ["BR"]
    assert [r["user"] for r in rows(path)] == ["5511912345678"]
    assert f"{path}: written with --region BR so far; this run has no --region" in ran.stderr
    assert "written with" not in again.stderr

    command("block", ANN, "-o", path)
    ran = command("block", ANN, "-o", path, "--region", "DE")
    assert "this run has --region DE" in ran.stderr
    assert "no --region" in ran.stderr


# One process.


def test_one_process_at_a_time(command: Any, path: Path, sandbox: Sandbox) -> None:
    """A second run says who has the file, and does nothing; not even its input is read."""
    with open_journal(path, "here"):
        ran = command("block", "--file", "nowhere.txt", "-o", path)
    assert ran.code == 2
    assert f"--output {path}: process {os.getpid()} is writing this file; wait" in ran.stderr
    assert sandbox.requests == ()

    assert command("block", ANN, "-o", path).code == 0
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_two_processes_at_once(command: Any, environment: dict[str, str], tmp_path: Path) -> None:
    """The first waits for its input when the second comes, and is not disturbed."""
    path = tmp_path / "out.csv"
    line = ["block", "--output", str(path), "--file", "-"]
    env = {**os.environ, **environment}
    with subprocess.Popen(
        [sys.executable, "-m", "blockusers", *line], env=env, stdin=subprocess.PIPE, text=True
    ) as first:
        while not Path(f"{path}.lock").exists():
            time.sleep(0.01)
        second = command(*line, stdin=BEN)
        first.communicate(ANN)

    assert (first.returncode, second.code) == (0, 2)
    assert f"process {first.pid} is writing this file" in second.stderr
    assert [row["input"] for row in rows(path)] == [ANN]


def test_a_killed_process_leaves_no_lock(path: Path) -> None:
    """The system frees it; the file beside it is taken over."""
    Path(f"{path}.lock").write_text("1")
    with open_journal(path, "here"):
        assert Path(f"{path}.lock").read_text() == str(os.getpid())


def test_nobody_knows_who_has_it(path: Path) -> None:
    """Where the file beside it cannot be read, the lock holds all the same."""
    with open_journal(path, "here"):
        Path(f"{path}.lock").write_text("")
        with pytest.raises(UsageError, match="another process is writing"), open_journal(path, "x"):
            pass


def test_without_locks_of_the_system(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows the file beside it is the lock, and may have to be removed by hand."""
    monkeypatch.setattr(module, "fcntl", None)
    beside = Path(f"{path}.lock")
    with open_journal(path, "here"):
        with pytest.raises(UsageError) as caught, open_journal(path, "here"):
            pass
        assert str(caught.value).endswith(f"if no such process runs, delete {beside}")
    with open_journal(path, "here"):
        pass
    assert not beside.exists()


def test_windows_has_no_fcntl(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module can be loaded there."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.delitem(sys.modules, module.__name__)

    assert importlib.import_module(module.__name__).fcntl is None


def test_a_file_system_without_locks(command: Any, path: Path, monkeypatch: Any) -> None:
    """It says so, rather than to hope."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(module.fcntl, "flock", flock)
    ran = command("block", ANN, "-o", path)

    assert ran.code == 2
    assert f"--output {path}: no locks available" in ran.stderr


@pytest.mark.parametrize("name", ["/dev/full", "/dev/null", "pipe", "."])
def test_only_files(command: Any, tmp_path: Path, name: str) -> None:
    """What is written to a device or a pipe cannot be read again."""
    path = tmp_path / name
    if name == "pipe":
        os.mkfifo(path)
    ran = command("block", ANN, "-o", path)

    assert ran.code == 2
    assert f"--output {path}: must be a file, not a folder, device or pipe" in ran.stderr


# Whatever the input holds.

JUNK = [
    "x" * 200_000,
    "a\0b",
    '"',
    '"""',
    "'",
    "\x1b[31m",
    "=cmd|'/C calc'!A0",
    "@SUM(A1)",
    "-1+1|x",
    "+1+1",
    "\t=1",
    "a\rb",
    "\u2028",
    "\ud800",
    ",",
    ";",
]


def test_reads_what_it_wrote(path: Path) -> None:
    """Cells are bounded and on one line; those behind them are whole."""
    odd = [Outcome(text, Status.FAILED, faults=(Fault(None, text, text),)) for text in JUNK]
    with open_journal(path, "here") as journal:
        journal.write(Operation.BLOCK, [*odd, done(ANN)])
    with open_journal(path, "here") as journal:
        assert journal.done(Operation.BLOCK) == {ANN[1:]}

    assert len(rows(path)) == len(JUNK) + 1
    assert path.stat().st_size < 20_000


@given(st.lists(st.text()))
def test_reads_whatever_it_wrote(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    """Whatever text there is."""
    for ending in ("csv", "jsonl"):
        path = tmp_path_factory.mktemp("junk") / f"out.{ending}"
        with open_journal(path, "here") as journal:
            faults = (Fault(None, "no"),)
            odd = [Outcome(text, Status.FAILED, faults=faults) for text in texts]
            journal.write(Operation.BLOCK, [*odd, done(ANN)])
        with open_journal(path, "here") as journal:
            assert journal.done(Operation.BLOCK) == {ANN[1:]}


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "-1+1|x", "+1+A1", "\t=1"])
def test_no_cell_is_a_formula(tmp_path: Path, text: str) -> None:
    """What a spreadsheet would run is text there; numbers are left as they are."""
    path = tmp_path / "out.csv"
    with open_journal(path, "here") as journal:
        faults = (Fault(None, text, text),)
        journal.write(Operation.BLOCK, [Outcome("+1-650-555-0001", Status.FAILED, faults=faults)])
        journal.write(Operation.BLOCK, [Outcome(text, Status.FAILED)])

    first, second = rows(path)
    assert (first["message"], first["details"]) == (f"'{text}", f"'{text}")
    assert first["input"] == "+1-650-555-0001"
    assert second["input"] == f"'{text}"
    values = [entry.value for entry in read_file(path, "input").entries]
    assert values == ["+1-650-555-0001", text if text[0] != "\t" else f"'{text}"]


def test_tells_the_time(path: Path) -> None:
    """Each row has it, in UTC."""
    before = datetime.now(UTC).replace(microsecond=0)
    with open_journal(path, "here") as journal:
        journal.write(Operation.UNBLOCK, [done(ANN)])

    assert before <= datetime.fromisoformat(rows(path)[0]["time"]) <= datetime.now(UTC)
