"""The errors: which class for which answer, what they show, and that they travel."""

from __future__ import annotations

import copy
import json
import pickle
import re
import traceback

import pytest

from blockusers.guard import InvalidWebhook, LeaseLost, StoreUnavailable, WebhookRejected
from blockusers.lists.sync import SyncIncomplete, SyncReport, TooManyRemovals
from blockusers.protocol.messages import Reply
from blockusers.protocol.wire import read_page, read_update
from blockusers.values import errors
from blockusers.values.blocklist import BlockedUser
from blockusers.values.errors import (
    CODES,
    AccountRestricted,
    ApiError,
    AuthenticationError,
    BlocklistChanged,
    BlocklistFull,
    BlockUsersError,
    ClientClosed,
    ConnectionFailed,
    InvalidRequest,
    InvalidResponse,
    InvalidUser,
    JobTimedOut,
    PermissionDenied,
    QueueFull,
    RateLimited,
    RequestTimeout,
    ServiceError,
    TokenUnavailable,
    TransportError,
    fresh,
    known,
)
from blockusers.values.outcome import Fault, Operation, Outcome, Status, UserFailed
from blockusers.values.report import Incomplete, PartialFailure, Report
from tests.support import identifiers

TREE: dict[type[Exception], type[Exception]] = {
    BlockUsersError: Exception,
    TransportError: BlockUsersError,
    ConnectionFailed: TransportError,
    RequestTimeout: TransportError,
    InvalidResponse: TransportError,
    TokenUnavailable: TransportError,
    ApiError: BlockUsersError,
    AuthenticationError: ApiError,
    PermissionDenied: ApiError,
    InvalidRequest: ApiError,
    AccountRestricted: ApiError,
    RateLimited: ApiError,
    BlocklistFull: ApiError,
    BlocklistChanged: ApiError,
    ServiceError: ApiError,
    Incomplete: BlockUsersError,
    SyncIncomplete: BlockUsersError,
    PartialFailure: BlockUsersError,
    UserFailed: BlockUsersError,
    TooManyRemovals: BlockUsersError,
    ClientClosed: BlockUsersError,
    QueueFull: BlockUsersError,
    StoreUnavailable: BlockUsersError,
    LeaseLost: StoreUnavailable,
    WebhookRejected: BlockUsersError,
    InvalidWebhook: BlockUsersError,
    InvalidUser: BlockUsersError,
    JobTimedOut: BlockUsersError,
}

PYTHONS: dict[type[Exception], type[Exception]] = {
    ConnectionFailed: ConnectionError,
    RequestTimeout: TimeoutError,
    InvalidUser: ValueError,
    InvalidWebhook: ValueError,
    JobTimedOut: TimeoutError,
}
"""Those that are one of Python's own errors, too."""

CLASSES: dict[type[ApiError], set[int]] = {
    AuthenticationError: {0, 104, 190},
    PermissionDenied: {3, 10, 131005, *range(200, 300)},
    InvalidRequest: {100, 33, 803, 139100, 131021, 131047},
    AccountRestricted: {368, 131031},
    RateLimited: {130429, 4, 17, 613, 80007, 80008},
    BlocklistFull: {139101},
    BlocklistChanged: {139102},
    ServiceError: {139103, 1, 2, 131000, 131016, 131057, 133004},
}
CLASS_OF = {code: kind for kind, codes in CLASSES.items() for code in codes}

NUMBER = "+16505551234"
OUTCOME = Outcome(NUMBER, Status.UNKNOWN)
REPORT = Report(Operation.BLOCK, (OUTCOME,), repeats=2, requests=3, rate_limited=1, elapsed=0.5)
SYNC_REPORT = SyncReport(
    (BlockedUser(NUMBER[1:]),), (NUMBER,), (), (OUTCOME,), max_removals=1, removed=REPORT
)
EVERY_ERROR = [
    BlockUsersError("whatever"),
    TransportError("broke"),
    ConnectionFailed("refused", sent=False, cause="ClientConnectorError", errno=111),
    RequestTimeout("no answer", True, "TimeoutError", None),  # noqa: FBT003
    InvalidResponse("HTML"),
    TokenUnavailable("vault: 503", sent=False, cause="OSError"),
    *(
        kind("no", 190, 463, 401, "expired", "AXsgnV2Cm3ZMGF3dF_cfYIn", 7.5)
        for kind in (ApiError, *CLASSES)
    ),
    Incomplete(REPORT, RateLimited("slow down", 130429, retry_after=60.0)),
    SyncIncomplete(SYNC_REPORT, ValueError(f"bad row: {NUMBER}")),
    PartialFailure(REPORT),
    UserFailed(OUTCOME),
    TooManyRemovals(19, 20, 2),
    ClientClosed("closed"),
    QueueFull("full"),
    InvalidUser("+1650…: starts with 0"),
    JobTimedOut("the job took longer than 5 s"),
]


def by_class(error: BaseException) -> str:
    return type(error).__name__


def api_error(code: object, status: int = 400, **fields: object) -> ApiError:
    """Return what an answer with this code is read as."""
    body = json.dumps({"error": {"message": "no", "code": code} | fields}).encode()
    with pytest.raises(ApiError) as caught:
        read_update(Reply(status, {}, body), Operation.BLOCK, identifiers(NUMBER))
    with pytest.raises(ApiError) as listing:
        read_page(Reply(status, {}, body))
    assert type(caught.value) is type(listing.value)
    return caught.value


# --------------------------------------------------------------------------- the tree


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_the_tree(kind: type[Exception]) -> None:
    """Each class has its place in the tree, and is drawn there in the module's docstring."""
    assert kind.__bases__ == (TREE[kind], *([PYTHONS[kind]] if kind in PYTHONS else []))
    assert re.search(rf"\b{kind.__name__}\b", errors.__doc__ or "")
    assert kind.__doc__


def test_the_tree_is_complete() -> None:
    """No class of error is outside the documented tree."""

    def below(kind: type[Exception]) -> set[type[Exception]]:
        return {kind}.union(*map(below, kind.__subclasses__()))

    ours = {kind for kind in below(BlockUsersError) if kind.__module__.startswith("blockusers.")}
    assert ours - set(TREE) == set()


# --------------------------------------------------------------------------- codes


def test_the_class_of_each_code() -> None:
    """The table of codes is the documented one."""
    assert {code: meant.error for code, meant in CODES.items()} == CLASS_OF
    assert {code for code, meant in CODES.items() if meant.of_users} == {139100, 131021, 131047}


def test_every_code_has_words() -> None:
    """Each known code says what it means and what to do; of 100 only Meta's words do."""
    assert all(meant.meaning for meant in CODES.values())
    assert {code for code, meant in CODES.items() if not meant.advice} == {100}


def test_unknown_codes() -> None:
    """Nothing is claimed about a code that is not in the table."""
    for code in (None, -1, 300, 199, 999999):
        assert known(code) is None
        assert not Fault(code, "?").transient


def test_transient_faults() -> None:
    """Trying again later helps against transient errors and call limits, and nothing else."""
    transient = {code for code in CODES if Fault(code, "?").transient}

    assert transient == CLASSES[ServiceError] | CLASSES[RateLimited]


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 500])
def test_a_known_code_decides(status: int) -> None:
    """A known code decides the class, whatever the HTTP status; it may be printed as text."""
    for code, kind in CLASS_OF.items():
        for printed in (code, str(code), f" {code} "):
            error = api_error(printed, status)
            assert type(error) is kind
            assert (error.code, error.status, error.message) == (code, status, "no")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, InvalidRequest),
        (302, InvalidRequest),
        (400, InvalidRequest),
        (401, AuthenticationError),
        (403, PermissionDenied),
        (404, InvalidRequest),
        (408, InvalidRequest),
        (413, InvalidRequest),
        (429, RateLimited),
        (500, ServiceError),
        (502, ServiceError),
        (503, ServiceError),
    ],
)
def test_an_unknown_code_leaves_it_to_the_status(status: int, kind: type[ApiError]) -> None:
    """Without a known code the HTTP status decides."""
    for code in (None, "?", "", 999999, -1, True, 1.5, [190], {}, "190x", 10**9, 10**30):
        assert type(api_error(code, status)) is kind


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        (None, 400, ServiceError),
        (999999, 400, ServiceError),
        (999999, 401, ServiceError),
        (100, 400, ServiceError),
        (131047, 400, ServiceError),
        (190, 400, AuthenticationError),
        (10, 403, PermissionDenied),
        (4, 400, RateLimited),
        (999999, 429, RateLimited),
        (139101, 400, BlocklistFull),
        (139102, 400, BlocklistChanged),
    ],
)
def test_is_transient(code: object, status: int, kind: type[ApiError]) -> None:
    """What Meta calls transient is a transient error, unless something else is known about it."""
    assert type(api_error(code, status, is_transient=True)) is kind


def test_only_true_is_transient() -> None:
    """A flag that is not plainly true changes nothing."""
    for flag in (False, None, "true", 1, "", {}):
        assert type(api_error(100, is_transient=flag)) is InvalidRequest


# --------------------------------------------------------------------------- not applied


def test_which_codes_say_that_nothing_was_applied() -> None:
    """A request refused before it was processed had certainly no effect; no other had."""
    unclear = {139100, 131021, 131047, 139102} | CLASSES[ServiceError]

    assert {code for code in CODES if api_error(code).not_applied} == CODES.keys() - unclear


def test_an_unknown_code_proves_nothing() -> None:
    """Without a known code, nobody knows whether the request had an effect."""
    for status in (400, 401, 403, 404, 429, 500):
        assert not api_error(None, status).not_applied
        assert not api_error(999999, status).not_applied


def test_a_transient_error_proves_nothing() -> None:
    """A refusal that is called transient is none: nobody knows how far the request came."""
    for code in (100, 803):
        assert not api_error(code, is_transient=True).not_applied


def test_what_was_not_sent_had_no_effect() -> None:
    """An error that was raised before anything was sent says so, whatever its code."""
    for kind in (ApiError, *CLASSES):
        assert kind("no token", sent=False).not_applied
        assert not kind("no token").not_applied


# --------------------------------------------------------------------------- texts


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ApiError("no"), "no"),
        (ApiError("no", status=503), "no (HTTP 503)"),
        (ApiError("no", 999999, status=503), "no (code 999999)"),
        (ApiError("no", details="never"), "no: never"),
        (ApiError("", 999999), "(code 999999)"),
        (ApiError("no", trace_id="AXsg"), "no (trace AXsg)"),
        (
            ApiError("no", 190, 463, 401, "expired", "AXsg"),
            (
                "the access token is invalid or expired: create one in Business settings, System"
                " users (190, trace AXsg)"
            ),
        ),
        (ApiError("no", 100, details="bad"), "a parameter of the request is wrong: bad (100)"),
        (ApiError("no", 100), "a parameter of the request is wrong: no (100)"),
        (ApiError(f"no {NUMBER}", details=NUMBER[1:]), "no +1650…34: 1650…34"),
        (ConnectionFailed(f"no way to {NUMBER}"), "no way to +1650…34"),
        (ClientClosed("closed"), "closed"),
    ],
)
def test_an_error_as_text(error: BlockUsersError, text: str) -> None:
    """An error says what happened and what to do, with numbers masked."""
    assert str(error) == text


@pytest.mark.parametrize(
    "error",
    [ApiError("no", 33, status=400), ApiError("no", 803), ApiError("no", 100, 33, 400)],
)
def test_an_unknown_phone_number_id(error: ApiError) -> None:
    """The error for an unknown id asks whether it is the business account's."""
    assert "not of the WhatsApp Business Account (WABA)" in str(error)


@pytest.mark.parametrize("error", EVERY_ERROR, ids=by_class)
def test_no_error_shows_a_number(error: BlockUsersError) -> None:
    """Neither text nor repr nor traceback holds a whole phone number."""
    for field in ("message", "details"):
        if hasattr(error, field):
            error = copy.copy(error)
            setattr(error, field, f"about {NUMBER}")

    shown = [str(error), repr(error), *traceback.format_exception(error)]

    assert NUMBER[1:] not in "".join(shown)


@pytest.mark.parametrize("kind", [TransportError, *CLASSES], ids=lambda kind: kind.__name__)
def test_no_error_keeps_a_number(kind: type[Exception]) -> None:
    """What Python keeps of an error, to show or to pickle it, is masked as well."""
    error = kind(f"about {NUMBER}")

    assert NUMBER[1:] not in repr(error.args) + repr(vars(error))


def test_the_error_of_a_source_is_masked() -> None:
    """What a caller's own iterable complained about does not show a number either."""
    error = Incomplete(REPORT, ValueError(f"bad row: {NUMBER}"))

    assert "ValueError: bad row: +1650…34" in str(error)
    assert NUMBER[1:] not in str(error) + repr(error)


# --------------------------------------------------------------------------- travel


@pytest.mark.parametrize("error", EVERY_ERROR, ids=by_class)
def test_errors_travel(error: BlockUsersError) -> None:
    """Every error can be pickled and copied, and keeps its fields and notes."""
    error = copy.copy(error)
    error.add_note("on the way")
    pickled = [
        pickle.loads(pickle.dumps(error, protocol))
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    ]

    for other in (*pickled, copy.copy(error), copy.deepcopy(error)):
        assert type(other) is type(error)
        assert repr(other) == repr(error)
        assert str(other) == str(error)
        assert other.__notes__ == ["on the way"]
        assert vars(other).keys() == vars(error).keys()


def test_fields_travel() -> None:
    """What a pickled error carries is equal to what went in."""
    (given,) = [error for error in EVERY_ERROR if type(error) is ApiError]
    error = pickle.loads(pickle.dumps(given))
    incomplete = pickle.loads(pickle.dumps(Incomplete(REPORT, error)))

    assert vars(error) == {
        "message": "no",
        "code": 190,
        "subcode": 463,
        "status": 401,
        "details": "expired",
        "trace_id": "AXsgnV2Cm3ZMGF3dF_cfYIn",
        "retry_after": 7.5,
        "sent": True,
    }
    assert incomplete.report == REPORT
    assert vars(incomplete.error) == vars(error)


@pytest.mark.parametrize("error", EVERY_ERROR, ids=by_class)
def test_one_error_for_each_caller(error: BlockUsersError) -> None:
    """An error that several callers get is made anew for each: equal, with no traceback."""
    error = copy.copy(error)
    error.__cause__ = OSError("below")
    other = fresh(error)

    assert other is not error
    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))
    assert (other.__traceback__, other.__cause__) == (None, error.__cause__)


def test_a_foreign_error_is_never_copied() -> None:
    """How an error of somebody else's is made is not known, so callers share it."""

    class Odd(BlockUsersError):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} and {two}")

    error = Odd(1, 2)

    assert fresh(error) is error


@pytest.mark.parametrize("kind", PYTHONS, ids=lambda kind: kind.__name__)
def test_pythons_own_errors(kind: type[Exception]) -> None:
    """What Python has a class for is caught by that class, too, and still shows our text."""
    with pytest.raises(PYTHONS[kind]) as caught:
        raise kind("what happened")

    assert str(caught.value) == "what happened"


def test_errors_are_told_apart() -> None:
    """Two errors with the same fields are two errors, and can stand in a set."""
    assert len({RateLimited("no"), RateLimited("no")}) == 2


def test_causes_and_groups() -> None:
    """Errors chain, and pass through an exception group."""
    cause = RateLimited("no")

    def fail() -> None:
        raise Incomplete(REPORT, cause) from cause

    with pytest.raises(Incomplete) as caught:
        fail()
    matching, rest = ExceptionGroup("jobs", [caught.value, KeyError()]).split(BlockUsersError)

    assert caught.value.__cause__ is cause
    assert matching is not None
    assert matching.exceptions == (caught.value,)
    assert rest is not None
