"""Reports: every user found again by any spelling, counted, written out, and never shown whole."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockusers.values.blocklist import BlockedUser
from blockusers.values.errors import BlocklistFull, RateLimited
from blockusers.values.outcome import Fault, Operation, Outcome, Status, UserFailed, named_by
from blockusers.values.report import Incomplete, PartialFailure, Report

NUMBER = "+1 650 555 1234"
OWN = Fault(131021, "own number")
SILENT = Fault(131047, "not within 24 hours", "16505551234")
LOCAL = Fault(None, "has 3 digits")
BSUID = "US.13491208655302741918"

DONE = Outcome(NUMBER, Status.DONE, wa_id="16505551234")
FAILED = Outcome("+4915112345678", Status.FAILED, faults=(OWN, SILENT))
ALSO_FAILED = Outcome(BSUID, Status.FAILED, user_id=BSUID, faults=(SILENT,))
REJECTED = Outcome("123", Status.FAILED, faults=(LOCAL,))
UNKNOWN = Outcome(4915112345679, Status.UNKNOWN)
REMAINING = Outcome("4915112345670", Status.REMAINING, uncertain=True)
OUTCOMES = (DONE, FAILED, ALSO_FAILED, REJECTED, UNKNOWN, REMAINING)


class Hostile:
    """Cannot even be written out."""

    def __str__(self) -> str:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def report() -> Report:
    return Report(Operation.BLOCK, OUTCOMES, repeats=1, requests=2, rate_limited=1, elapsed=0.5)


# --------------------------------------------------------------------------- outcomes


@pytest.mark.parametrize("status", Status, ids=lambda status: status.value)
def test_only_done_is_ok(status: Status) -> None:
    """A user is only ok if certainly blocked or unblocked."""
    outcome = Outcome(NUMBER, status)

    assert outcome.ok is (status is Status.DONE)
    if outcome.ok:
        outcome.raise_for_failure()
    else:
        with pytest.raises(UserFailed) as caught:
            outcome.raise_for_failure()
        assert caught.value.outcome is outcome


def test_the_fault_is_the_first() -> None:
    """The first fault speaks for all; without any there is none."""
    assert FAILED.fault is OWN
    assert DONE.fault is None


def test_outcomes_are_frozen() -> None:
    """An outcome is a value."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        DONE.status = Status.FAILED  # type: ignore[misc]


@pytest.mark.parametrize(
    ("outcome", "row"),
    [
        (
            FAILED,
            {
                "input": "+4915112345678",
                "status": "failed",
                "wa_id": None,
                "user_id": None,
                "code": 131021,
                "message": "own number",
                "details": "",
                "uncertain": False,
            },
        ),
        (
            REMAINING,
            {
                "input": "4915112345670",
                "status": "remaining",
                "wa_id": None,
                "user_id": None,
                "code": None,
                "message": None,
                "details": None,
                "uncertain": True,
            },
        ),
    ],
    ids=["failed", "remaining"],
)
def test_an_outcome_as_a_row(outcome: Outcome, row: dict[str, Any]) -> None:
    """An outcome can be written out as plain values, whole and in order."""
    assert outcome.to_dict() == row
    assert list(outcome.to_dict()) == list(row)


def test_a_code_of_zero_is_a_code() -> None:
    """Code 0 is not taken for a missing code."""
    outcome = Outcome(NUMBER, Status.FAILED, faults=(Fault(0, "token"),))

    assert outcome.to_dict()["code"] == 0


@pytest.mark.parametrize(
    ("outcome", "shown"),
    [
        (DONE, "<Outcome +1 65…34 done>"),
        (FAILED, "<Outcome +4915…78 failed: is the business's own number (131021)>"),
        (
            ALSO_FAILED,
            (
                "<Outcome US.1…18 failed: has not written to you within 24 hours,"
                " or is not on WhatsApp (131047)>"
            ),
        ),
        (REJECTED, "<Outcome 1… failed: has 3 digits>"),
        (UNKNOWN, "<Outcome 4915…79 unknown>"),
        (Outcome(None, Status.FAILED), "<Outcome N… failed>"),
        (Outcome(b"+16505551234", Status.FAILED), "<Outcome b'+1…4' failed>"),
        (Outcome(["16505551234"], Status.FAILED), "<Outcome ['16…'] failed>"),
    ],
)
def test_the_repr_of_an_outcome(outcome: Outcome, shown: str) -> None:
    """A repr names the user masked, the status and the fault."""
    assert repr(outcome) == shown


# --------------------------------------------------------------------------- lookup


@pytest.mark.parametrize(
    "user",
    [
        "+16505551234",
        "16505551234",
        16505551234,
        "\u202a+1 (650) 555-1234\u202c",
        "1.650.555.1234",
        DONE,
        Outcome(16505551234, Status.UNKNOWN),
        BlockedUser("16505551234"),
        BlockedUser("16505551234", BSUID),
    ],
    ids=repr,
)
def test_lookup_by_any_spelling(report: Report, user: Any) -> None:
    """Whoever spells the number, and however, finds the same outcome."""
    assert report.get(user) is DONE


@pytest.mark.parametrize("user", [BSUID, f" {BSUID}\n", BlockedUser(user_id=BSUID), ALSO_FAILED])
def test_lookup_of_bsuids(report: Report, user: Any) -> None:
    """A user without a number is found by the BSUID."""
    assert report.get(user) is ALSO_FAILED


def test_lookup_of_rejected_inputs() -> None:
    """What names nobody is found as it was passed, and not mixed up with its like."""
    inputs = [None, "None", 123, "123", True, 1.0, b"123", ["123"]]
    outcomes = [Outcome(value, Status.FAILED, faults=(LOCAL,)) for value in inputs]
    report = Report(Operation.BLOCK, tuple(outcomes))

    assert [report.get(value) for value in inputs] == outcomes


@pytest.mark.parametrize(
    "user",
    ["+1 650 555 9999", 16505559999, "US.1349120865530274191", "", None, 10**5000],
    ids=["spaced", "int", "bsuid", "empty", "none", "huge"],
)
def test_lookup_of_strangers(report: Report, user: Any) -> None:
    """Who was not passed has no outcome."""
    assert report.get(user) is None


@pytest.mark.parametrize("value", [10**5000, Hostile()], ids=["huge", "hostile"])
def test_inputs_that_cannot_be_written_out(value: object) -> None:
    """One input that Python cannot write as text does not spoil the report of the others."""
    rejected = Outcome(value, Status.FAILED, faults=(LOCAL,))
    report = Report(Operation.BLOCK, (DONE, rejected))
    name = f"<{type(value).__name__}>"

    assert report.get(NUMBER) is DONE
    assert report.get(rejected) is rejected
    assert report.to_dicts()[1]["input"] == name
    assert "failed: has 3 digits" in repr(rejected)
    assert "failed" in str(UserFailed(rejected))


@pytest.mark.parametrize(
    ("user", "name"),
    [
        (DONE, NUMBER),
        (UNKNOWN, 4915112345679),
        (BlockedUser("16505551234", BSUID), "16505551234"),
        (BlockedUser(None, BSUID), BSUID),
        (BlockedUser(), None),
        ("anything", "anything"),
        (None, None),
    ],
    ids=repr,
)
def test_values_of_earlier_calls_name_users(user: object, name: object) -> None:
    """An outcome and a blocked user can be submitted again."""
    assert named_by(user) == name


# --------------------------------------------------------------------------- reports


def test_the_four_groups(report: Report) -> None:
    """Each status has its group, in the order of the input."""
    assert report.succeeded == (DONE,)
    assert report.failed == (FAILED, ALSO_FAILED, REJECTED)
    assert report.unknown == (UNKNOWN,)
    assert report.remaining == (REMAINING,)


def test_groups_by_code() -> None:
    """Faults are grouped by the first one's code; where there is none, by why it was rejected."""
    empty = Outcome("", Status.FAILED, faults=(Fault(None, "has 0 digits"),))
    also = Outcome("124", Status.FAILED, faults=(LOCAL,))
    report = Report(Operation.BLOCK, (*OUTCOMES, empty, also))

    assert report.faults_by_code == {
        131021: (FAILED,),
        131047: (ALSO_FAILED,),
        "has 3 digits": (REJECTED, also),
        "has 0 digits": (empty,),
    }
    assert Report(Operation.BLOCK, (DONE, UNKNOWN)).faults_by_code == {}


def test_a_report_is_a_sequence_of_outcomes(report: Report) -> None:
    """It has all that a sequence has, in the order of the input."""
    assert isinstance(report, Sequence)
    assert len(report) == 6
    assert tuple(report) == OUTCOMES == report.outcomes
    assert (report[0], report[-1]) == (DONE, REMAINING)
    assert report[1:3] == (FAILED, ALSO_FAILED)
    assert report[::-1] == tuple(reversed(report)) == OUTCOMES[::-1]
    assert report.index(UNKNOWN) == 4
    assert (report.count(DONE), report.count(Outcome("1", Status.DONE))) == (1, 0)
    assert DONE in report
    assert NUMBER not in report


@pytest.mark.parametrize("index", [6, -7])
def test_an_index_out_of_range(report: Report, index: int) -> None:
    """Behind the last outcome there is none."""
    with pytest.raises(IndexError, match=r"^the report has 6 outcomes$"):
        report[index]


def test_users_are_no_index(report: Report) -> None:
    """A user between the brackets is an error that says how users are looked up."""
    with pytest.raises(TypeError, match=r"report\.get\(user\) looks a user up") as caught:
        report[NUMBER]  # type: ignore[call-overload]

    assert "650" not in str(caught.value)


def test_a_report_is_true(report: Report) -> None:
    """Whether there is a report can be asked with `if`, although it may be of nobody."""
    assert report
    assert Report(Operation.BLOCK, ())


def test_the_numbers_of_a_report(report: Report) -> None:
    """The counters are there, and zero by default."""
    assert (report.repeats, report.requests, report.rate_limited, report.elapsed) == (1, 2, 1, 0.5)
    assert attrs.astuple(Report(Operation.UNBLOCK, ()), recurse=False)[2:6] == (0, 0, 0, 0.0)


def test_a_report_is_frozen(report: Report) -> None:
    """A report is a value, also after it was looked into."""
    assert report.get(NUMBER)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        report.repeats = 5  # type: ignore[misc]
    assert report == attrs.evolve(report)


def test_rows(report: Report) -> None:
    """A report can be written as JSON."""
    rows = json.loads(json.dumps(report.to_dicts()))

    assert [row["status"] for row in rows] == [outcome.status.value for outcome in OUTCOMES]
    assert [row["input"] for row in rows] == [str(outcome.input) for outcome in OUTCOMES]


def test_no_failures_no_exception() -> None:
    """A report of users who are all done raises nothing, nor does one of nobody."""
    Report(Operation.BLOCK, (DONE, DONE)).raise_for_failures()
    Report(Operation.BLOCK, ()).raise_for_failures()


@pytest.mark.parametrize("outcome", [FAILED, REJECTED, UNKNOWN, REMAINING], ids=repr)
def test_any_failure_is_an_exception(outcome: Outcome) -> None:
    """One user who is not done is enough for `PartialFailure`."""
    report = Report(Operation.BLOCK, (DONE, outcome))

    with pytest.raises(PartialFailure) as caught:
        report.raise_for_failures()

    assert caught.value.report is report


@pytest.mark.parametrize(
    ("outcomes", "summary"),
    [
        ((), "no users"),
        ((DONE,), "1 done"),
        ((DONE, DONE, REMAINING), "2 done, 1 remaining"),
        (OUTCOMES, "1 done, 3 failed, 1 unknown, 1 remaining"),
    ],
    ids=["none", "one", "two", "all"],
)
def test_the_summary(outcomes: tuple[Outcome, ...], summary: str) -> None:
    """The summary counts each status that occurs."""
    assert Report(Operation.UNBLOCK, outcomes).summary() == summary
    assert repr(Report(Operation.UNBLOCK, outcomes)) == f"<Report unblock: {summary}>"


def test_partial_failure_as_text(report: Report) -> None:
    """The error names the most frequent faults, three at most."""
    more = [
        Outcome(str(n), Status.FAILED, faults=(Fault(n, "x"),))
        for n in (71, 71, 71, 72, 72, 73, 74)
    ]

    assert str(PartialFailure(report)) == (
        "block: 1 done, 3 failed, 1 unknown, 1 remaining;"
        " 1 x is the business's own number (131021); 1 x has not written to you within 24 hours,"
        " or is not on WhatsApp (131047); 1 x has 3 digits"
    )
    assert str(PartialFailure(Report(Operation.BLOCK, tuple(more)))) == (
        "block: 7 failed; 3 x x (code 71); 2 x x (code 72); 1 x x (code 73)"
    )


def test_user_failed_as_text() -> None:
    """The error names the user masked, the status and the fault."""
    assert str(UserFailed(FAILED)) == "+4915…78 failed: is the business's own number (131021)"
    assert str(UserFailed(UNKNOWN)) == "4915…79 is unknown: no answer about it"


def test_incomplete_as_text(report: Report) -> None:
    """The error says what ended the job, how far it came, and how to go on."""
    assert str(Incomplete(report, RateLimited("slow down", 999999))) == (
        "the job ended early (1 done, 3 failed, 1 unknown, 1 remaining): slow down (code 999999);"
        " submit report.unknown and report.remaining again"
    )


def test_incomplete_names_only_what_is_there() -> None:
    """Where nobody is left, nobody is to be submitted; an error of the caller's has its class."""
    settled = Report(Operation.BLOCK, (DONE, UNKNOWN))

    assert str(Incomplete(settled, ValueError())) == (
        "the job ended early (1 done, 1 unknown): ValueError; submit report.unknown again"
    )
    assert str(Incomplete(Report(Operation.BLOCK, (DONE,)), OSError(28, "No space"))) == (
        "the job ended early (1 done): OSError: [Errno 28] No space"
    )


def test_a_full_blocklist_as_text() -> None:
    """The error says once how many are left, and what to do."""
    report = Report(Operation.BLOCK, (DONE, FAILED, REJECTED))

    assert str(Incomplete(report, BlocklistFull("full", 139101))) == (
        "the blocklist is full (64,000): 2 were not blocked; unblock somebody and submit them again"
    )


@pytest.mark.parametrize("looked_into", [False, True])
@pytest.mark.parametrize(
    "wrap",
    [None, PartialFailure, partial(Incomplete, error=OSError(5))],
    ids=["plain", "partial", "incomplete"],
)
def test_reports_travel(report: Report, wrap: Any, looked_into: bool) -> None:
    """A report can be pickled, also inside an error and after a lookup."""
    if looked_into:
        assert report.get(NUMBER)
    copy = pickle.loads(pickle.dumps(wrap(report) if wrap else report))
    copy = getattr(copy, "report", copy)

    assert copy == report
    assert copy.get(16505551234) == DONE


@given(
    st.lists(
        st.builds(
            Outcome,
            st.builds("{}{}".format, st.sampled_from(["", "+"]), st.integers(10**6, 10**15 - 1)),
            st.sampled_from(Status),
            faults=st.just(()) | st.just((OWN,)),
        ),
        unique_by=lambda outcome: outcome.input.removeprefix("+"),
    )
)
def test_the_groups_are_a_partition(outcomes: list[Outcome]) -> None:
    """Each outcome is in one group, and is found again; no text shows a whole number."""
    report = Report(Operation.BLOCK, tuple(outcomes))
    groups = (report.succeeded, report.failed, report.unknown, report.remaining)

    assert sorted(map(id, outcomes)) == sorted(id(one) for group in groups for one in group)
    assert all(report.get(outcome.input) is outcome for outcome in outcomes)
    shown = f"{report!r} {outcomes!r} {PartialFailure(report)!r} {PartialFailure(report)}"
    assert not any(outcome.input.removeprefix("+") in shown for outcome in outcomes)
