"""The protocol: the exact bytes that are sent, and what every kind of answer is read as."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from itertools import product
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from blockusers.protocol.messages import Reply
from blockusers.protocol.wire import Listing, build_listing, build_update, read_page, read_update
from blockusers.values.blocklist import BlockedUser, Page
from blockusers.values.columns import Verdict, Verdicts
from blockusers.values.errors import (
    ApiError,
    AuthenticationError,
    BlocklistChanged,
    BlocklistFull,
    BlockUsersError,
    InvalidRequest,
    InvalidResponse,
    PermissionDenied,
    RateLimited,
    ServiceError,
)
from blockusers.values.outcome import Fault, Operation, Status
from blockusers.values.users import Identifiers
from tests.support import identifiers

DONE, FAILED, UNKNOWN = Status.DONE, Status.FAILED, Status.UNKNOWN
NO_REASON = Fault(None, "the server gave no reason")

ANN, BOB, CAT, EVE = "16505551234", "4915112345678", "5215512345678", "393331234567"
BSUID = "US.13491208655302741918"
ASKED = identifiers("+" + ANN, BOB, "+" + CAT, BSUID)
WIRE_OF = dict(zip(ASKED.keys, ASKED.wires, strict=True))
KEYS = [ANN, BOB, CAT, BSUID]


def reply(body: object, status: int = 200, **headers: str) -> Reply:
    """Return a reply with *body* as JSON, or as it is if it is bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return Reply(status, named, data)


def row(key: str, *codes: int, **fields: object) -> dict[str, Any]:
    """Return a row as Meta writes it: of a failed user, if there are *codes*."""
    named = {"user_id": key} if "." in key else {"wa_id": key}
    errors = [{"message": "no", "code": code, "error_data": {"details": "why"}} for code in codes]
    return {
        "input": WIRE_OF.get(key, key),
        **named,
        **({"errors": errors} if codes else {}),
        **fields,
    }


def lists(
    done: object = None, failed: object = None, name: str = "added_users", **more: object
) -> dict[str, Any]:
    """Return the body of a per-number answer."""
    found = {name: done, "failed_users": failed}
    users = {key: rows for key, rows in found.items() if rows is not None}
    return {"messaging_product": "whatsapp", "block_users": users, **more}


def envelope(code: object = 139100, **fields: object) -> dict[str, Any]:
    """Return a top-level `error`."""
    return {"message": "no", "type": "OAuthException", "code": code, **fields}


def block(body: object, status: int = 200, asked: Identifiers = ASKED) -> dict[str, Any]:
    """Read an answer to a POST; return the verdicts by key."""
    return by_key(read_update(reply(body, status), Operation.BLOCK, asked), asked)


def by_key(verdicts: Verdicts, asked: Identifiers = ASKED) -> dict[str, Verdict]:
    assert len(verdicts) == len(asked)
    return dict(zip(asked.keys, verdicts, strict=True))


def statuses(verdicts: dict[str, Verdict]) -> list[Status]:
    return [verdict.status for verdict in verdicts.values()]


def fails(body: object, status: int = 200, **headers: str) -> BlockUsersError:
    """Return the error that an answer is read as, whatever was asked."""
    found = []
    for read_it in (
        lambda r: read_update(r, Operation.BLOCK, ASKED),
        lambda r: read_update(r, Operation.UNBLOCK, ASKED),
        read_page,
    ):
        with pytest.raises(BlockUsersError) as caught:
            read_it(reply(body, status, **headers))
        found.append(caught.value)
    assert len({repr(error) for error in found}) == 1
    return found[0]


# --------------------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("operation", "method"), [(Operation.BLOCK, "POST"), (Operation.UNBLOCK, "DELETE")]
)
def test_the_bytes_of_an_update(operation: Operation, method: str) -> None:
    """Blocking and unblocking send the same body; a BSUID goes under `user_id`."""
    request = build_update(operation, ASKED)

    assert request.method == method
    assert request.query == {}
    assert request.body == (
        b'{"messaging_product":"whatsapp","block_users":['
        b'{"user":"+16505551234"},{"user":"4915112345678"},{"user":"+5215512345678"},'
        b'{"user_id":"US.13491208655302741918"}]}'
    )


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ((None, None, None), {}),
        ((100, None, None), {"limit": "100"}),
        ((None, "abc", None), {"after": "abc"}),
        ((None, None, "abc"), {"before": "abc"}),
        ((1, "a", "b"), {"limit": "1", "after": "a", "before": "b"}),
    ],
)
def test_the_query_of_a_listing(arguments: tuple[Any, Any, Any], query: dict[str, str]) -> None:
    """A listing asks for what it was told, and leaves the rest to the server."""
    request = build_listing(*arguments)

    assert (request.method, request.query, request.body) == ("GET", query, None)


@pytest.mark.parametrize(("count", "size"), [(1, 69_632), (1000, 4_161_536)])
def test_the_largest_answer_to_an_update(count: int, size: int) -> None:
    """An answer may have so many bytes as the users of its request call for."""
    users = identifiers(*[ANN] * count)

    assert build_update(Operation.UNBLOCK, users).largest_reply == size


def test_the_largest_answer_to_a_listing() -> None:
    """A page may have 4 MB, in which all 64,000 users have room."""
    row = {"messaging_product": "whatsapp", "wa_id": "1" * 15}

    assert len(json.dumps([row] * 64_000)) < build_listing(None, None, None).largest_reply < 2**23


def test_reprs_show_no_body() -> None:
    """Neither a request nor a reply shows the people in it."""
    shown = repr(build_update(Operation.BLOCK, ASKED)) + repr(reply(lists([row(ANN)])))

    assert not any(key in shown for key in KEYS)


# --------------------------------------------------------------------------- per-number answers


@pytest.mark.parametrize("status", [200, 201, 207, 302, 400, 401, 403, 404, 429, 500, 503])
def test_a_mixed_answer(status: int) -> None:
    """An answer with lists is read user by user, whatever its status and top-level error."""
    body = lists([row(BOB), row(ANN)], [row(CAT, 131047), row(BSUID, 131021, 131047)])
    expected = {
        ANN: Verdict(DONE, wa_id=ANN),
        BOB: Verdict(DONE, wa_id=BOB),
        CAT: Verdict(FAILED, CAT, None, (Fault(131047, "no", "why"),)),
        BSUID: Verdict(
            FAILED, None, BSUID, (Fault(131021, "no", "why"), Fault(131047, "no", "why"))
        ),
    }

    for error in ({}, {"error": envelope()}, {"error": envelope(139101)}, {"error": "?"}):
        assert block(body | error, status) == expected


def test_the_verdicts_are_in_the_order_asked() -> None:
    """The order of the answer does not matter."""
    verdicts = block(lists([row(BSUID), row(CAT), row(BOB), row(ANN)]))

    assert list(verdicts) == KEYS
    assert statuses(verdicts) == [DONE] * 4


@pytest.mark.parametrize("name", ["removed_users", "added_users"])
def test_unblocking_answers_under_either_name(name: str) -> None:
    """DELETE has been said to answer with `added_users`."""
    body = lists([row(ANN)], name=name)

    verdicts = by_key(read_update(reply(body), Operation.UNBLOCK, ASKED))
    assert verdicts[ANN] == Verdict(DONE, wa_id=ANN)


def test_unblocking_reads_both_names_at_once() -> None:
    """Users may stand under either name in one answer."""
    body = {"block_users": {"removed_users": [row(ANN)], "added_users": [row(BOB)]}}

    verdicts = by_key(read_update(reply(body), Operation.UNBLOCK, ASKED))

    assert statuses(verdicts) == [DONE, DONE, UNKNOWN, UNKNOWN]


def test_removed_is_not_blocked() -> None:
    """An answer to blocking that says only "removed" is none."""
    with pytest.raises(InvalidResponse, match="has no list of users"):
        block(lists([row(ANN)], name="removed_users"))


def test_removed_beside_failed_is_not_blocked() -> None:
    """Beside other lists, "removed" says nothing about a user who was to be blocked."""
    body = lists([row(ANN)], [row(BOB, 131047)], name="removed_users")

    assert statuses(block(body)) == [UNKNOWN, FAILED, UNKNOWN, UNKNOWN]


def test_a_forgotten_user_is_unknown() -> None:
    """A reply that forgets a user leaves it UNKNOWN."""
    verdicts = block(lists([row(ANN)], [row(CAT, 131047)]))

    assert verdicts[BOB] == verdicts[BSUID] == Verdict(UNKNOWN)


@pytest.mark.parametrize("body", [lists([]), lists(None, []), lists([], [])], ids=repr)
def test_empty_lists_forget_everybody(body: object) -> None:
    """Empty lists are an answer, in which nobody is named."""
    assert block(body) == dict.fromkeys(KEYS, Verdict(UNKNOWN))


@pytest.mark.parametrize("empty", [[], None])
def test_nobody_failed(empty: object) -> None:
    """`failed_users` may be there without anybody in it."""
    body = {"block_users": {"added_users": [row(ANN)], "failed_users": empty}}

    assert block(body)[ANN].status is DONE


def test_a_user_in_both_lists_is_unknown() -> None:
    """Whom an answer names as done and as failed, nobody knows about; the faults are kept."""
    verdicts = block(lists([row(ANN), row(BOB)], [row(ANN, 131047)]))

    assert verdicts[ANN] == Verdict(UNKNOWN, ANN, None, (Fault(131047, "no", "why"),))
    assert verdicts[BOB].status is DONE


@pytest.mark.parametrize("name", ["added_users", "removed_users"])
def test_done_with_errors_is_unknown(name: str) -> None:
    """A row that says done and brings errors contradicts itself; its faults are kept."""
    body = {"block_users": {name: [row(ANN, 131047), row(BOB, errors=[]), row(CAT, errors=None)]}}

    verdicts = by_key(read_update(reply(body), Operation.UNBLOCK, ASKED))

    assert verdicts[ANN] == Verdict(UNKNOWN, ANN, None, (Fault(131047, "no", "why"),))
    assert statuses(verdicts)[1:3] == [DONE, DONE]


def test_done_with_errors_beside_a_plain_row() -> None:
    """One of two rows that brings errors is enough to doubt both."""
    assert block(lists([row(ANN), row(ANN, 1)]))[ANN].status is UNKNOWN


@pytest.mark.parametrize("name", ["added_users", "failed_users"])
def test_rows_beyond_those_asked_for(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """At most two rows for each user of the request are looked at; the others are counted."""
    body = {"block_users": {name: [{"input": EVE}] * 7 + [row(ANN)] + [row(BOB)] * 100}}

    assert statuses(block(body)) != statuses(block({"block_users": {name: []}}))
    assert statuses(block(body))[1:] == [UNKNOWN] * 3
    assert "ignored rows of an answer: 107, the first because there are 108 rows for 4 users" in (
        caplog.text
    )


def test_faults_beyond_a_few(caplog: pytest.LogCaptureFixture) -> None:
    """Of one user four faults are kept, of all rows together; the others are counted."""
    verdicts = block(lists(None, [row(ANN, 1, 2, 3), row(ANN, 4, 5), row(BOB, 1)]))

    assert [fault.code for fault in verdicts[ANN].faults] == [1, 2, 3, 4]
    assert "ignored errors in an answer: 1, for there were more than 4 of one user" in caplog.text


def test_an_input_that_is_too_long_to_be_one() -> None:
    """A text far longer than any user's name is not parsed; the ids beside it count."""
    verdicts = block(
        lists([{"input": "\u0661" * 100_000, "wa_id": ANN}, {"input": "\u0661" * 200}])
    )

    assert statuses(verdicts) == [DONE, UNKNOWN, UNKNOWN, UNKNOWN]


def test_a_user_in_both_lists_under_two_names() -> None:
    """A contradiction is noticed although the rows name the user differently."""
    body = lists([row(ANN)], [{"input": "+1 650 555 1234", "errors": []}, {"wa_id": "+" + BOB}])

    assert statuses(block(body))[:2] == [UNKNOWN, FAILED]


def test_a_user_twice_in_one_list() -> None:
    """Repeats agree with each other; all their faults are kept."""
    verdicts = block(lists([row(ANN), row(ANN)], [row(BOB, 1), row(BOB, 131047)]))

    assert verdicts[ANN] == Verdict(DONE, wa_id=ANN)
    assert [fault.code for fault in verdicts[BOB].faults] == [1, 131047]


@pytest.mark.parametrize("named", [row(EVE), {"wa_id": EVE}, {"input": EVE, "wa_id": ANN}])
@pytest.mark.parametrize("name", ["added_users", "failed_users"])
def test_a_stranger_is_ignored(
    named: dict[str, str], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody who was not asked for is ignored and logged, without the number."""
    verdicts = block({"block_users": {name: [named, row(BOB)]}})

    assert list(verdicts) == KEYS
    assert verdicts[ANN] == Verdict(UNKNOWN)
    assert verdicts[BOB].status is not UNKNOWN
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "was not asked for" in caplog.text
    assert not re.search(r"[0-9]{7}", caplog.text)


# --------------------------------------------------------------------------- matching


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"input": "+" + ANN}, ANN),
        ({"input": ANN}, ANN),
        ({"input": "+1 (650) 555-1234"}, ANN),
        ({"input": "+" + BOB}, BOB),
        ({"input": "+" + CAT, "wa_id": "525512345678"}, CAT),
        ({"input": None, "wa_id": ANN}, ANN),
        ({"input": "", "wa_id": ANN}, ANN),
        ({"input": "?", "wa_id": ANN}, ANN),
        ({"wa_id": ANN}, ANN),
        ({"wa_id": "+" + ANN}, ANN),
        ({"user_id": BSUID}, BSUID),
        ({"input": BSUID}, BSUID),
        ({"wa_id": EVE, "user_id": BSUID}, BSUID),
        ({"input": "+" + ANN, "wa_id": None, "user_id": ""}, ANN),
        ({"input": "+" + ANN, "wa_id": BOB}, ANN),
        ({"input": "+" + ANN, "status": "ok", "extra": {"deep": [1]}}, ANN),
    ],
    ids=repr,
)
def test_matching(fields: dict[str, Any], key: str) -> None:
    """A row is matched by its input, then by the digits of `wa_id`, then by `user_id`."""
    verdicts = block(lists([fields]))

    assert {name for name, verdict in verdicts.items() if verdict.status is DONE} == {key}


def test_the_servers_ids_are_kept() -> None:
    """The server's `wa_id` may differ from the digits that were sent, and is handed on."""
    verdicts = block(lists([row(CAT, wa_id="525512345678", user_id=BSUID)]))

    assert verdicts[CAT] == Verdict(DONE, "525512345678", BSUID)


@pytest.mark.parametrize("fields", [{}, {"input": None}, {"wa_id": ""}, {"input": "?"}])
def test_a_row_without_a_name_is_nobodys(fields: dict[str, Any]) -> None:
    """Position says nothing: a row that names nobody is ignored."""
    verdicts = block(lists([fields]), asked=identifiers("+" + ANN))

    assert verdicts == {ANN: Verdict(UNKNOWN)}


# --------------------------------------------------------------------------- malformed rows

JUNK: list[Any] = [5, 0, -1, 1.5, True, False, [], ["x"], {}, {"a": 1}, "junk", "x" * 100_000]
JUNK_IDS = [repr(junk)[:12] for junk in JUNK]


@pytest.mark.parametrize("junk", JUNK, ids=JUNK_IDS)
def test_ids_of_a_wrong_shape(junk: object, caplog: pytest.LogCaptureFixture) -> None:
    """A row whose ids are no ids makes its user UNKNOWN, never DONE, and spoils no other."""
    for name, field in product(("added_users", "failed_users"), ("wa_id", "user_id")):
        caplog.clear()
        verdicts = block({"block_users": {name: [row(ANN, **{field: junk}), row(BOB)]}})

        assert verdicts[ANN].status is UNKNOWN
        assert verdicts[BOB].status is not UNKNOWN
        assert "malformed" in caplog.text
        assert not re.search(r"[0-9]{7}", caplog.text)
        assert len(caplog.text) < 1000


@pytest.mark.parametrize(
    "junk", [junk for junk in JUNK if not isinstance(junk, str)], ids=JUNK_IDS[:-2]
)
def test_an_input_of_a_wrong_shape(junk: object) -> None:
    """A row whose input is no text makes the user that its ids name UNKNOWN."""
    verdicts = block(lists([row(ANN, input=junk), row(BOB)]))

    assert statuses(verdicts) == [UNKNOWN, DONE, UNKNOWN, UNKNOWN]


@pytest.mark.parametrize("missing", [None, ""])
@pytest.mark.parametrize("field", ["wa_id", "user_id"])
def test_ids_may_be_missing(field: str, missing: object) -> None:
    """`wa_id` and `user_id` may be null or empty."""
    assert block(lists([row(ANN, **{"wa_id": ANN, field: missing})]))[ANN].status is DONE


@pytest.mark.parametrize("junk", [5, None, "junk", [], [[]], True, 1.5])
def test_rows_that_are_no_objects(junk: object) -> None:
    """What is no row is skipped; the rows beside it count."""
    verdicts = block(lists([junk, row(ANN)], [junk, row(BOB, 131047)]))

    assert statuses(verdicts) == [DONE, FAILED, UNKNOWN, UNKNOWN]


def test_a_bare_name_among_the_failed() -> None:
    """A row that is only a name is malformed, and casts doubt on what the other list says."""
    verdicts = block(lists([row(ANN), row(BOB)], ["+" + ANN]))

    assert statuses(verdicts)[:2] == [UNKNOWN, DONE]


def test_a_malformed_row_beside_a_good_one() -> None:
    """A user named by a good and by a malformed row is UNKNOWN, whichever list they are in."""
    bad = row(ANN, wa_id=5)

    for body in (lists([row(ANN), bad]), lists([row(ANN)], [bad]), lists([bad], [row(ANN, 1)])):
        assert block(body)[ANN].status is UNKNOWN


@pytest.mark.parametrize("junk", [{}, {"0": {}}, "users", 5, True, 1.5], ids=repr)
@pytest.mark.parametrize("name", ["added_users", "failed_users"])
def test_lists_that_are_no_lists(name: str, junk: object) -> None:
    """A list that is none makes the whole answer unreadable."""
    body = lists([row(ANN)], [row(BOB, 131047)])
    body["block_users"][name] = junk

    with pytest.raises(InvalidResponse, match=f"has {name} that is no list"):
        block(body)


# --------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("errors", "faults"),
    [
        ([{"code": 131047, "message": "m"}], [Fault(131047, "m")]),
        ([{"code": "131047", "message": "m"}], [Fault(131047, "m")]),
        ([{"code": 131047, "title": "t"}], [Fault(131047, "t")]),
        ([{"code": 131021}], [Fault(131021, "is the business's own number")]),
        ([{"code": 999}], [Fault(999, "the server gave no reason")]),
        ([{"code": True, "message": "m"}], [Fault(None, "m")]),
        ([{"code": [], "message": {}, "error_data": 5}], [NO_REASON]),
        ([{"message": "m", "error_data": {"details": "d"}}], [Fault(None, "m", "d")]),
        ([{"message": "m", "error_data": "d"}], [Fault(None, "m", "d")]),
        ([{"message": "m", "error_data": {"details": 5}}], [Fault(None, "m")]),
        ([{"message": "m", "error_data": []}], [Fault(None, "m")]),
        ([{"message": "m", "error_user_msg": "d"}], [Fault(None, "m", "d")]),
        ([{}], [NO_REASON]),
        (["m"], [Fault(None, "m")]),
        ([5, None], [NO_REASON, NO_REASON]),
        ([], [NO_REASON]),
        ([[]], [NO_REASON]),
        ({"code": 1, "message": "m"}, [Fault(1, "m")]),
        ("m", [Fault(None, "m")]),
        (5, [NO_REASON]),
        (None, [NO_REASON]),
        ([{"message": "x" * 501}], [Fault(None, "x" * 500)]),
        (
            [{"code": 2}, {"code": 10, "message": "m"}],
            [
                Fault(2, "a transient error at Meta"),
                Fault(10, "m"),
            ],
        ),
    ],
    ids=lambda value: repr(value)[:60] if not isinstance(value, list) or value else None,
)
def test_faults(errors: object, faults: list[Fault]) -> None:
    """Whatever explains a failure is read as far as it can be; the failure stands in any case."""
    verdict = block(lists(None, [{"input": ANN, "errors": errors}]))[ANN]

    assert verdict.status is FAILED
    assert list(verdict.faults) == faults


def test_a_failure_without_errors() -> None:
    """A failed user without any errors has failed all the same."""
    assert block(lists(None, [{"input": ANN}]))[ANN].faults == (NO_REASON,)


# --------------------------------------------------------------------------- whole errors


@pytest.mark.parametrize(
    "body",
    [
        {"error": envelope(190)},
        {"error": envelope(190), "block_users": {}},
        {"error": envelope(190), "block_users": []},
        {"error": envelope(190), "block_users": None},
        {"error": envelope(190), "block_users": "none"},
        lists([], error=envelope(190)),
        lists([], [], error=envelope(190)),
        lists(None, [], error=envelope("190")),
    ],
    ids=repr,
)
def test_an_error_beside_nobody(body: dict[str, Any]) -> None:
    """A top-level error counts where no list names anybody."""
    with pytest.raises(AuthenticationError):
        block(body, 400)


def test_a_partial_failure_of_nobody() -> None:
    """Code 139100 sends us to the lists, even to empty ones; without lists it is an error."""
    assert statuses(block(lists([], [], error=envelope()), 400)) == [UNKNOWN] * 4
    with pytest.raises(InvalidRequest):
        block({"error": envelope()}, 400)


@pytest.mark.parametrize("code", [139101, 190, 100, 999999])
def test_a_list_beats_the_error(code: int) -> None:
    """Those in the list are blocked, whatever is said above."""
    verdicts = block(lists([row(ANN)], error=envelope(code)), 400)

    assert statuses(verdicts) == [DONE, UNKNOWN, UNKNOWN, UNKNOWN]


def test_every_field_of_an_error() -> None:
    """An error keeps all that the envelope says."""
    error = fails(
        {
            "error": envelope(
                190,
                error_subcode=463,
                error_data={"details": "expired"},
                error_user_msg="unused",
                fbtrace_id="AXsg",
            )
        },
        401,
        retry_after="7",
    )

    assert type(error) is AuthenticationError
    assert vars(error) == {
        "message": "no",
        "code": 190,
        "subcode": 463,
        "status": 401,
        "details": "expired",
        "trace_id": "AXsg",
        "retry_after": 7.0,
        "sent": True,
    }


@pytest.mark.parametrize(
    ("error", "message", "details"),
    [
        ("broken", "broken", ""),
        ({"message": "m", "error_data": "bare"}, "m", "bare"),
        ({"message": "m", "error_user_msg": "please"}, "m", "please"),
        ({"code": 190}, "the access token is invalid or expired", ""),
        ({"message": 5, "x": 1}, "the server gave no reason", ""),
        ([1], "the server gave no reason", ""),
        (True, "the server gave no reason", ""),
        (5, "the server gave no reason", ""),
        ({"message": "m" * 9000, "error_data": {"details": "d" * 9000}}, "m" * 500, "d" * 500),
        ({"message": "m", "error_subcode": [], "fbtrace_id": 5}, "m", ""),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_envelopes_of_any_shape(error: object, message: str, details: str) -> None:
    """Any part of an envelope may be missing or of a wrong type."""
    found = fails({"error": error}, 400)

    assert isinstance(found, ApiError)
    assert (found.message, found.details) == (message, details)


@pytest.mark.parametrize("nothing", [None, {}, [], "", 0, False])
def test_an_empty_error_is_none(nothing: object) -> None:
    """An `error` that is there without a content means success."""
    assert block(lists([row(ANN)], error=nothing))[ANN].status is DONE
    assert read_page(reply({"data": [], "error": nothing})).page.users == ()
    assert type(fails({"error": nothing})) is InvalidResponse


# --------------------------------------------------------------------------- no answers

BY_STATUS = {
    401: AuthenticationError,
    403: PermissionDenied,
    404: InvalidRequest,
    429: RateLimited,
    500: ServiceError,
    502: ServiceError,
    503: ServiceError,
}
BODIES = {
    "empty": b"",
    "blank": b" \r\n",
    "html": b"<!DOCTYPE html><html><body>Sorry, something went wrong.</body></html>",
    "text": b"Too Many Requests",
    "list": b"[]",
    "number": b"5",
    "null": b"null",
    "string": b'"error"',
    "too many parts": b'{"data": [' + b"{}," * 256_000 + b"{}]}",
    "truncated": b'{"messaging_product": "whatsapp", "block_users": {"added_us',
    "trailing": b'{"data": []} x',
    "not utf-8": b'{"data": ["\xff"]}',
    "surrogate": b'{"data": "\\ud800"}',
    "nan": b'{"data": NaN}',
    "deep": b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "binary": bytes(range(256)),
    "bom": b'\xef\xbb\xbf{"data": []}',
    "utf-16": '{"data": []}'.encode("utf-16"),
    "object": b"{}",
    "gateway's": b'{"message": "no API key found in request"}',
    "nested": b'{"meta": {"http_code": 401, "success": false}}',
    "lists elsewhere": b'{"added_users": [{"input": "+16505551234"}]}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_answers_that_are_not_the_apis(body: bytes) -> None:
    """What is no answer of the API's is judged by its status; it is never a success."""
    for status in (200, 204, 302, 400, 408, 413, *BY_STATUS):
        error = fails(body, status, retry_after="7")

        blank_refusal = status == 400 and not body.strip()
        expected = BY_STATUS.get(status, InvalidRequest if blank_refusal else InvalidResponse)
        assert type(error) is expected
        if isinstance(error, ApiError):
            assert (error.code, error.status, error.retry_after) == (None, status, 7.0)
            assert not error.not_applied
        else:
            assert f"(HTTP {status})" in str(error)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("empty", "is empty"),
        ("html", "is no JSON object"),
        ("list", "is no JSON object"),
        ("truncated", "is broken JSON"),
        ("too many parts", "has more than 256,000 objects and lists"),
        ("object", "has no list of users"),
    ],
)
def test_an_unusable_answer_says_what_it_is(body: str, what: str) -> None:
    """The error says what came instead of an answer, and repeats none of it."""
    assert str(fails(BODIES[body])) == f"the answer (HTTP 200) {what}"
    assert str(fails(BODIES[body], 503)) == f"the answer {what} (HTTP 503)"


def test_blanks_around_an_answer() -> None:
    """Blanks before and after the JSON do not matter."""
    body = b"\r\n " + json.dumps(lists([row(ANN)])).encode() + b"\n"

    assert block(body)[ANN].status is DONE


# --------------------------------------------------------------------------- hints


NOW = "Wed, 21 Oct 2026 07:26:30 GMT"


def usage(*waits: object) -> str:
    entries = [{"type": "whatsapp", "estimated_time_to_regain_access": wait} for wait in waits]
    return json.dumps({"106540352242922": entries})


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({}, None),
        ({"Retry_After": "7"}, 7.0),
        ({"retry_after": "7"}, 7.0),
        ({"RETRY_AFTER": " 7.5 "}, 7.5),
        ({"Retry_After": "86400"}, 86400.0),
        ({"Retry_After": "86401"}, None),
        ({"Retry_After": "31536000"}, None),
        ({"Retry_After": "0"}, None),
        ({"Retry_After": "-5"}, None),
        ({"Retry_After": "nan"}, None),
        ({"Retry_After": "inf"}, None),
        ({"Retry_After": "1e999"}, None),
        ({"Retry_After": ""}, None),
        ({"Retry_After": "soon"}, None),
        ({"Retry_After": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": NOW}, 90.0),
        ({"Retry_After": "Wed, 21 Oct 2026 07:28:00 -0000", "Date": NOW}, 90.0),
        ({"Retry_After": "Wed, 21 Oct 2026 09:28:00 +0200", "Date": NOW}, 90.0),
        ({"Retry_After": NOW, "Date": NOW}, None),
        ({"Retry_After": "Wed, 21 Oct 2026 07:26:00 GMT", "Date": NOW}, None),
        ({"Retry_After": "Fri, 23 Oct 2026 07:28:00 GMT", "Date": NOW}, None),
        ({"Retry_After": "Wed, 21 Oct 1999 07:28:00 GMT"}, None),
        ({"Retry_After": "Wed, 99 Oct 2026 07:28:00 GMT", "Date": NOW}, None),
        ({"Retry_After": "Wed, 21 Oct 99999 07:28:00 GMT", "Date": NOW}, None),
        ({"Retry_After": "7", "Date": "yesterday"}, 7.0),
        ({"X_Business_Use_Case_Usage": usage(2)}, 120.0),
        ({"x_business_use_case_usage": usage("2")}, 120.0),
        ({"x_business_use_case_usage": usage(0)}, None),
        ({"x_business_use_case_usage": usage(-2)}, None),
        ({"x_business_use_case_usage": usage(None)}, None),
        ({"x_business_use_case_usage": usage("soon", [], {}, 0.5)}, 30.0),
        ({"x_business_use_case_usage": usage(1e300)}, None),
        ({"x_business_use_case_usage": usage(60 * 24 * 365)}, None),
        ({"x_business_use_case_usage": usage(2, 5, 3)}, 300.0),
        ({"x_business_use_case_usage": ""}, None),
        ({"x_business_use_case_usage": "{"}, None),
        ({"x_business_use_case_usage": "\udcff"}, None),
        ({"x_business_use_case_usage": "NaN"}, None),
        ({"x_business_use_case_usage": "5"}, None),
        ({"x_business_use_case_usage": "[]"}, None),
        ({"x_business_use_case_usage": "null"}, None),
        ({"x_business_use_case_usage": '{"1": null, "2": 5, "3": {}, "4": "x"}'}, None),
        ({"x_business_use_case_usage": '{"1": [null, 5, [], {}]}'}, None),
        (
            {
                "x_business_use_case_usage": '{"1": 5, "2": [5, '
                '{"estimated_time_to_regain_access": 1}]}'
            },
            60.0,
        ),
        ({"retry_after": "7", "x_business_use_case_usage": usage(1)}, 60.0),
        ({"retry_after": "90", "x_business_use_case_usage": usage(1)}, 90.0),
        ({"retry_after": "soon", "x_business_use_case_usage": usage(1)}, 60.0),
        ({"retry_after": "7", "x_business_use_case_usage": "{"}, 7.0),
    ],
    ids=repr,
)
def test_hints(headers: dict[str, str], wait: float | None) -> None:
    """The longest wait that the headers ask for is kept; an absurd or unreadable one is none."""
    limited = fails({"error": envelope(130429)}, 400, **headers)
    edge = fails(BODIES["html"], 429, **headers)

    for error in (limited, edge):
        assert isinstance(error, RateLimited)
        assert error.retry_after == wait


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_a_hint_without_the_time(date: str | None) -> None:
    """A date to wait for counts from our clock where the answer does not say what time it is."""
    headers = {"Retry_After": formatdate(time.time() + 60, usegmt=True)} | (
        {"Date": date} if date else {}
    )

    with pytest.raises(ServiceError) as caught:
        read_page(reply(b"", 503, **headers))

    assert 50 < caught.value.retry_after <= 60


# --------------------------------------------------------------------------- pages


def page(*rows: object, **more: object) -> dict[str, Any]:
    cursors = {"before": "abc", "after": "def"}
    return {"data": list(rows), "paging": {"cursors": cursors, **more}}


@pytest.mark.parametrize(
    ("fields", "user"),
    [
        ({"messaging_product": "whatsapp", "wa_id": ANN}, BlockedUser(ANN)),
        ({"wa_id": "+" + ANN}, BlockedUser(ANN)),
        ({"user_id": BSUID}, BlockedUser(None, BSUID)),
        ({"wa_id": "", "user_id": BSUID}, BlockedUser(None, BSUID)),
        (
            {"wa_id": ANN, "user_id": BSUID, "parent_user_id": "US.ENT.1181"},
            BlockedUser(ANN, BSUID, "US.ENT.1181"),
        ),
        ({"wa_id": ANN, "user_id": None, "parent_user_id": ""}, BlockedUser(ANN)),
        ({"block_users": [{"input": "+" + ANN, "wa_id": ANN}]}, BlockedUser(ANN)),
        ({"wa_id": ANN, "block_users": None, "extra": 5}, BlockedUser(ANN)),
    ],
    ids=repr,
)
def test_rows_of_a_page(fields: dict[str, Any], user: BlockedUser) -> None:
    """A row names a number, a BSUID or both, plainly or in the older, nested form."""
    listing = read_page(reply(page(fields)))

    assert listing == Listing(Page((user,), "abc", "def"))


def test_nested_rows_keep_their_order() -> None:
    """Nested and plain rows may be mixed; nobody is lost."""
    body = page({"block_users": [{"wa_id": ANN}, {"wa_id": BOB}]}, {"block_users": []})
    body["data"].append({"wa_id": CAT})

    users = read_page(reply(body)).page.users

    assert [user.wa_id for user in users] == [ANN, BOB, CAT]


@pytest.mark.parametrize(
    "paging",
    [None, {}, {"cursors": None}, {"cursors": {}}, {"cursors": {"before": None, "after": ""}}],
    ids=repr,
)
def test_a_page_without_cursors(paging: object) -> None:
    """A page without cursors is the only one, however that is said."""
    assert read_page(reply({"data": [], "paging": paging})) == Listing(Page((), None, None))
    assert read_page(reply({"data": []})) == Listing(Page((), None, None))


def test_links_are_noticed_not_kept() -> None:
    """Whether there is a next page is told; where it is said to be is not."""
    listing = read_page(reply(page(next="https://evil.example/?a", previous="https://b.example")))

    assert (listing.has_next, listing.has_previous) == (True, True)
    assert "example" not in repr(listing)


@pytest.mark.parametrize(
    "body",
    [
        {"data": [5]},
        {"data": [None]},
        {"data": ["16505551234"]},
        {"data": [[]]},
        {"data": [{}]},
        {"data": [{"wa_id": None, "user_id": ""}]},
        {"data": [{"parent_user_id": "US.ENT.1"}]},
        {"data": [{"wa_id": 16505551234}]},
        {"data": [{"wa_id": ["16505551234"]}]},
        {"data": [{"wa_id": "nobody"}]},
        {"data": [{"wa_id": ANN, "user_id": "nobody"}]},
        {"data": [{"wa_id": ANN, "user_id": True}]},
        {"data": [{"wa_id": ANN}, {"block_users": [5]}]},
        {"data": [{"block_users": {"wa_id": ANN}}]},
        {"data": {}},
        {"data": None},
        {"data": "users"},
        {"data": 5},
        {"paging": {}},
        {"data": [], "paging": [1]},
        {"data": [], "paging": "next"},
        {"data": [], "paging": 5},
        {"data": [], "paging": {"cursors": [1]}},
        {"data": [], "paging": {"cursors": "abc"}},
        {"data": [], "paging": {"cursors": {"after": 5}}},
        {"data": [], "paging": {"cursors": {"before": ["abc"]}}},
        {"data": [], "paging": {"cursors": {"after": False}}},
    ],
    ids=repr,
)
def test_pages_of_a_wrong_shape(body: object, caplog: pytest.LogCaptureFixture) -> None:
    """A page that cannot be read whole is an error: never a short list, never the end."""
    with pytest.raises(InvalidResponse, match=r"^the answer \(HTTP 200\) (has|lists) "):
        read_page(reply(body))

    assert not re.search(r"[0-9]{7}", caplog.text)


def test_a_page_longer_than_any_blocklist() -> None:
    """A page may hold a whole blocklist; one of more users is no answer of the API's."""
    users = [{"messaging_product": "whatsapp", "wa_id": str(10**9 + i)} for i in range(64_001)]

    assert len(read_page(reply({"data": users[1:]})).page.users) == 64_000
    for rows in (users, [{"block_users": users}]):
        with pytest.raises(InvalidResponse, match="has a page of more than 64,000 users"):
            read_page(reply({"data": rows}))


@pytest.mark.parametrize("status", [200, 400, 500])
def test_a_cursor_of_an_older_list(status: int) -> None:
    """A listing that has to start again says so, even beside rows."""
    body = {"error": envelope(139102, error_data={"details": "retry with offset 0"}), "data": []}

    with pytest.raises(BlocklistChanged, match="changed during the listing: list again") as caught:
        read_page(reply(body, status))
    assert caught.value.details == "retry with offset 0"


def test_a_full_list_is_an_error_of_blocking() -> None:
    """A whole request refused because the list is full is its own error."""
    assert type(fails({"error": envelope(139101)}, 400)) is BlocklistFull


# --------------------------------------------------------------------------- fuzzing

TRUE_UPDATES = [
    lists([row(ANN), row(BOB), row(CAT), row(BSUID)]),
    lists([row(ANN), row(BOB)], [row(CAT, 131047), row(BSUID, 131021, 1)], error=envelope()),
    lists(None, [row(ANN, 139103)], error=envelope(error_data={"details": "why"})),
    lists([row(ANN), row(CAT)], [], name="removed_users"),
    {"error": envelope(130429, error_data={"details": "slow down"}, is_transient=True)},
]
TRUE_PAGES = [
    page({"messaging_product": "whatsapp", "wa_id": ANN}, {"wa_id": BOB, "user_id": BSUID}),
    page({"block_users": [{"input": "+" + ANN, "wa_id": ANN}]}, next="https://a.example"),
    {"error": envelope(139102, error_data={"details": "changed"})},
]

names = st.sampled_from(["+" + ANN, ANN, BOB, EVE, BSUID, "+1 650 555 1234", "", "US.ENT.1"])
codes = st.sampled_from([0, 1, 190, 130429, 139100, 139101, 139103, "190", 10**18])
scalars = (
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5) | names | codes
) | st.floats(allow_nan=False, allow_infinity=False)
rows = st.fixed_dictionaries(
    {},
    optional={
        "input": scalars,
        "wa_id": scalars,
        "user_id": scalars,
        "errors": scalars
        | st.lists(scalars | st.fixed_dictionaries({}, optional={"code": scalars})),
    },
)
keys = st.sampled_from(
    [
        "block_users",
        "added_users",
        "removed_users",
        "failed_users",
        "input",
        "wa_id",
        "error",
        "code",
        "data",
        "paging",
        "cursors",
        "after",
        "next",
    ]
)
junk_values = st.recursive(
    scalars | rows,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


def places(node: Any) -> Iterator[tuple[Callable[[Any], None], Callable[[], None]]]:
    """Yield a function that replaces, and one that removes, each node below *node*."""
    found = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(found):
        yield (lambda new, key=key: node.__setitem__(key, new)), lambda key=key: node.pop(key)
        if isinstance(value, dict | list):
            yield from places(value)


@st.composite
def mutants(draw: st.DrawFn, originals: list[Any]) -> Any:
    """Draw a true answer with a few nodes replaced by junk, or removed."""
    body = json.loads(json.dumps(draw(st.sampled_from(originals))))
    for _ in range(draw(st.integers(1, 3))):
        spots = list(places(body))
        if spots:
            replace, remove = draw(st.sampled_from(spots))
            if draw(st.booleans()):
                replace(draw(junk_values))
            else:
                remove()
    return body


def text_or_nothing(value: object, pattern: str) -> bool:
    return value in (None, "") or (isinstance(value, str) and bool(re.fullmatch(pattern, value)))


def well_formed(entry: object) -> bool:
    """Say, by a second reading of the promise, whether *entry* is a row."""
    return (
        isinstance(entry, dict)
        and text_or_nothing(entry.get("input"), r"(?s).*")
        and text_or_nothing(entry.get("wa_id"), r"\+?[0-9]+")
        and text_or_nothing(entry.get("user_id"), r"[A-Z]{2}\.[A-Za-z0-9.]+")
    )


def named(entry: dict[str, Any]) -> set[str]:
    """Return all keys that the texts of a row could mean."""
    texts = [entry.get(name) for name in ("input", "wa_id", "user_id")]
    found = {text for text in texts if isinstance(text, str)}
    return found | {re.sub(r"[^0-9]", "", text) for text in found}


def may_be_done(body: Any, operation: Operation) -> set[str]:
    """Return whom the lists of an answer could at most prove to be done."""
    names = {Operation.BLOCK: ["added_users"]}.get(operation, ["added_users", "removed_users"])
    found = body["block_users"]
    entries = [entry for name in names for entry in found.get(name) or () if well_formed(entry)]
    failed = [entry for entry in found.get("failed_users") or () if well_formed(entry)]
    denied = {key for entry in failed for key in KEYS if entry.get("input") == WIRE_OF[key]}
    return set().union(*map(named, entries)) - denied


def result_or_error(call: Callable[[], Any]) -> Any:
    """Return what *call* returns, or the error of ours that it raises; let any other pass."""
    try:
        return call()
    except BlockUsersError as error:
        return error


def check_private(error: BlockUsersError) -> None:
    """Check that *error* is of a kind that an answer can be, and shows no number."""
    assert isinstance(error, ApiError | InvalidResponse)
    assert not re.search(r"[0-9]{10}", f"{error} {error!r}")


@given(
    mutants(TRUE_UPDATES) | st.dictionaries(keys, junk_values) | junk_values,
    st.sampled_from(Operation),
    st.sampled_from([200, 400, 401, 429, 500]),
)
@example(lists([row(ANN, wa_id=5)]), Operation.BLOCK, 200)
def test_no_answer_confuses_the_reader(body: Any, operation: Operation, status: int) -> None:
    """However an answer is mangled: everybody asked for is accounted for, nobody done on a guess.

    No error but ours is raised.
    """
    found = result_or_error(lambda: read_update(reply(body, status), operation, ASKED))
    if isinstance(found, BlockUsersError):
        check_private(found)
        return

    verdicts = by_key(found)
    done = {key for key, verdict in verdicts.items() if verdict.status is DONE}
    assert done <= may_be_done(body, operation)
    for verdict in verdicts.values():
        assert verdict.status in {DONE, FAILED, UNKNOWN}
        assert (verdict.status is not FAILED) or verdict.faults
        assert verdict.status is not DONE or not verdict.faults


@given(
    st.lists(st.tuples(st.sampled_from(KEYS[:3]), st.booleans()), max_size=5),
    st.permutations(["1", "22", "+3", "", "x"]),
)
def test_plain_rows_are_read_as_any_others(rows: list[tuple[str, bool]], wa_ids: list[str]) -> None:
    """The quick way of reading rows of `input` and `wa_id` finds what the thorough way finds."""
    done = [{"input": WIRE_OF[who], "wa_id": w} for (who, ok), w in zip(rows, wa_ids) if ok]  # noqa: B905
    failed = [row(who, 131047) for who, ok in rows if not ok]
    slow = [{**entry, "note": "that nobody knows"} for entry in done]

    assert block(lists(done, failed)) == block(lists(slow, failed))


@given(st.lists(st.sampled_from(["1", "+22", "", "x", None, 5, "3" * 33, "44\n5"]), max_size=3))
def test_plain_pages_are_read_as_any_others(wa_ids: list[object]) -> None:
    """The quick way of reading rows of a page finds what the thorough way finds."""
    plain = [{"messaging_product": "whatsapp", "wa_id": wa_id} for wa_id in wa_ids]
    slow = [{**entry, "note": "that nobody knows"} for entry in plain]
    quick, thorough = (
        result_or_error(lambda rows=rows: read_page(reply({"data": rows})).page)
        for rows in (plain, slow)
    )

    assert repr(quick) == repr(thorough)
    assert getattr(quick, "users", None) == getattr(thorough, "users", None)


@given(mutants(TRUE_PAGES) | st.dictionaries(keys, junk_values) | junk_values)
def test_no_page_confuses_the_reader(body: Any) -> None:
    """However a page is mangled: it is read whole, a name for each row, or an error of ours."""
    found = result_or_error(lambda: read_page(reply(body)).page)
    if isinstance(found, BlockUsersError):
        check_private(found)
        return

    assert all(user.wa_id or user.user_id for user in found.users)
    assert len(found.users) == sum(
        len(entry["block_users"])
        if isinstance(entry, dict) and isinstance(entry.get("block_users"), list)
        else 1
        for entry in body["data"]
    )
    assert all(isinstance(cursor, str | None) for cursor in (found.before, found.after))


@given(st.binary(max_size=60) | st.binary(max_size=60).map(b"{".__add__), st.integers(100, 599))
def test_no_bytes_confuse_the_reader(body: bytes, status: int) -> None:
    """Random bytes are never an answer, and never an error that is not ours."""
    assert isinstance(fails(body, status), ApiError | InvalidResponse)


@given(st.text(max_size=40), st.text(max_size=60) | junk_values.map(json.dumps))
def test_no_headers_confuse_the_reader(retry_after: str, usage_header: str) -> None:
    """Whatever the hints hold, a wait is a number of seconds up to a day, or none."""
    error = fails(b"", 503, retry_after=retry_after, x_business_use_case_usage=usage_header)

    assert isinstance(error, ServiceError)
    assert error.retry_after is None or 0 < error.retry_after <= 24 * 3600


def test_a_verdict_shows_nobody() -> None:
    """The repr of a verdict has no id in it."""
    verdict = Verdict(Status.FAILED, "16505551234", "US.13491208655", (Fault(131047, "no"),))

    assert "131047" in repr(verdict)
    assert not re.search("[0-9]{7}", repr(verdict))
