"""The protocol over HTTP: what is asked, what is answered, and what each rule changes in it."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING

import pytest

from blockusers.sandbox.cursors import Cursor, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.support import Api
    from tests.support import Clock

ANN, BEN, CAT = "16505550001", "16505550002", "16505550003"
BSUID = "US.13491208655302741918"
NUMBER_ID = "106540352242922"


def test_blocking_one_person(api: Api) -> None:
    """The answer echoes what was sent, names the person, and has no list of failures."""
    reply = api.post(f"+{ANN}")

    assert reply.status == 200
    assert {
        "messaging_product": "whatsapp",
        "block_users": {"added_users": [{"input": f"+{ANN}", "wa_id": ANN}]},
    } == reply.json
    assert reply.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert {ANN} == api.sandbox.blocklist()


def test_unblocking_one_person(api: Api) -> None:
    """DELETE carries the same body and answers with a list of its own."""
    api.sandbox.block(ANN, BEN)
    reply = api.delete(ANN)

    assert reply.json["block_users"] == {"removed_users": [{"input": ANN, "wa_id": ANN}]}
    assert {BEN} == api.sandbox.blocklist()


def test_a_business_scoped_id_has_no_wa_id(api: Api) -> None:
    """It is echoed as `user_id`, in POST and in the listing."""
    reply = api.post(BSUID)

    assert reply.json["block_users"]["added_users"] == [{"input": BSUID, "user_id": BSUID}]
    assert api.get().json["data"] == [{"messaging_product": "whatsapp", "user_id": BSUID}]


def test_user_wins_over_user_id(api: Api) -> None:
    """Where both keys stand in one entry, the phone number counts."""
    entry = {"user": ANN, "user_id": BSUID}
    body = {"messaging_product": "whatsapp", "block_users": [entry]}

    assert api.send("POST", body=json.dumps(body)).added == [ANN]
    assert {ANN} == api.sandbox.blocklist()


@pytest.mark.parametrize("nonsense", ["", "abc", "+", "12345", "0049301234567", "+1 650 555 1234"])
def test_what_is_no_number_fails_alone(api: Api, nonsense: str) -> None:
    """The others are blocked, the answer has both lists and a top-level error, and no `wa_id`."""
    reply = api.post(ANN, nonsense)

    assert (reply.status, reply.code) == (400, 139100)
    assert reply.added == [ANN]
    assert {nonsense: 131047} == reply.failed
    assert "wa_id" not in reply.json["block_users"]["failed_users"][0]


def test_a_bsuid_under_user_is_nobody(api: Api) -> None:
    """It belongs under `user_id`, and what stands there must look like one."""
    entries = [{"user": BSUID}, {"user_id": "16505550001"}]
    body = {"messaging_product": "whatsapp", "block_users": entries}
    reply = api.send("POST", body=json.dumps(body))

    assert reply.failed == {BSUID: 131047, ANN: 131047}


def test_the_own_number_cannot_be_blocked(api: Api) -> None:
    """It fails alone; a row that failed names the person all the same."""
    reply = api.post("+15550783881", ANN)
    row = reply.json["block_users"]["failed_users"][0]

    assert (
        row["input"],
        row["wa_id"],
        row["errors"][0]["code"],
    ) == ("+15550783881", "15550783881", 131021)
    assert {"details"} == row["errors"][0]["error_data"].keys()
    assert {ANN} == api.sandbox.blocklist()


def test_the_window_is_on_by_default(serve: Callable[..., Api]) -> None:
    """Only people who wrote within a day can be blocked."""
    api = serve(window=86_400.0)
    for user in (f"+{ANN}", BSUID):
        api.sandbox.message_from(user)

    assert api.post(ANN, BEN, BSUID).failed == {BEN: 131047}
    assert {ANN, BSUID} == api.sandbox.blocklist()


def test_a_full_list(serve: Callable[..., Api]) -> None:
    """Those who do not fit fail alone, and room is made by unblocking."""
    api = serve(capacity=1)

    assert api.post(ANN, BEN).failed == {BEN: 139101}
    assert api.delete(ANN).status == 200
    assert api.post(BEN).failed == {}


def test_a_full_list_may_refuse_everything(serve: Callable[..., Api]) -> None:
    """By the rules the whole request fails, and has no lists."""
    api = serve(capacity=1, full_per_number=False)
    reply = api.post(ANN, BEN)

    assert (reply.status, reply.code) == (400, 139101)
    assert "block_users" not in reply.json


@pytest.mark.parametrize(
    ("body", "details"),
    [
        (None, "JSON object"),
        ("{", "JSON object"),
        ("[]", "JSON object"),
        ("{}", "messaging_product"),
        ('{"messaging_product": "sms"}', "messaging_product"),
        ('{"messaging_product": "whatsapp"}', "must be a list"),
        ('{"messaging_product": "whatsapp", "block_users": {}}', "must be a list"),
        ('{"messaging_product": "whatsapp", "block_users": []}', "names nobody"),
        ('{"messaging_product": "whatsapp", "block_users": ["1"]}', "must be an object"),
        ('{"messaging_product": "whatsapp", "block_users": [{}]}', "needs a string"),
        ('{"messaging_product": "whatsapp", "block_users": [{"user": 1}]}', "needs a string"),
        (
            '{"messaging_product": "whatsapp", "block_users": [{"user_id": "US.ENT.1"}]}',
            "Parent",
        ),
        ('{"messaging_product": "whatsapp", "block_users": [{"user": "US.ENT.1"}]}', "Parent"),
        (
            '{"messaging_product": "whatsapp", "block_users": [{"user": "1", "x": "US.ENT.1"}]}',
            "Parent",
        ),
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_a_wrong_body_is_refused(api: Api, method: str, body: str | None, details: str) -> None:
    """The answer is 100, says what is wrong, and nothing is carried out."""
    reply = api.send(method, body=body)

    assert (reply.status, reply.code) == (400, 100)
    assert details in reply.details
    assert frozenset() == api.sandbox.blocklist()


def test_too_many_users(serve: Callable[..., Api]) -> None:
    """More than the limit is refused with the very code of too many requests."""
    api = serve(max_users=2)

    assert api.post(ANN, BEN, CAT).code == 130429
    assert api.post(ANN, BEN).failed == {}


def test_too_many_requests(serve: Callable[..., Api], clock: Clock) -> None:
    """After the burst comes 130429, without hints by default, until time has passed."""
    api = serve(rate=1.0, burst=2)
    codes = [api.post(ANN).json.get("error", {}).get("code") for _ in range(3)]
    refused = api.get()

    assert codes == [None, None, 130429]
    assert (refused.status, refused.code) == (400, 130429)
    assert "Retry-After" not in refused.headers
    assert "x-business-use-case-usage" not in refused.headers
    clock.now += 1
    assert api.get().status == 200


def test_hints(serve: Callable[..., Api]) -> None:
    """By the rules a refusal says how long to wait, in either header; a success says 0."""
    api = serve(rate=1.0, burst=1, retry_after=1.5, regain_minutes=2, limit_status=429)
    regains = []
    for _ in range(2):
        reply = api.get()
        usage = json.loads(reply.headers["x-business-use-case-usage"])
        regains.append(usage[NUMBER_ID][0]["estimated_time_to_regain_access"])

    assert regains == [0, 2]
    assert (reply.status, reply.headers["Retry-After"]) == (429, "1.5")


def test_listing_may_be_free(serve: Callable[..., Api]) -> None:
    """By the rules GET takes nothing from the limit."""
    api = serve(rate=1.0, burst=1, listing_costs=False)

    assert [api.get().status for _ in range(3)] == [200] * 3
    assert api.post(ANN).status == 200


def test_business_numbers_share_nothing(serve: Callable[..., Api]) -> None:
    """Each has a blocklist and a limit of its own."""
    api = serve(phone_number_ids=("1", "2"), rate=1.0, burst=1)
    body = json.dumps({"messaging_product": "whatsapp", "block_users": [{"user": ANN}]})
    statuses = [api.send("POST", f"/v25.0/{one}/block_users", body).status for one in "112"]
    api.sandbox.block(BEN, phone_number_id="2")
    api.sandbox.unblock(ANN, phone_number_id="1")

    assert statuses == [200, 400, 200]
    assert frozenset() == api.sandbox.blocklist("1")
    assert {ANN, BEN} == api.sandbox.blocklist("2")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v25/1/block_users", 400, 2500),
        ("/v25.0/block_users", 404, 803),
        (f"/v25.0/{NUMBER_ID}", 400, 2500),
        ("/favicon.ico", 400, 2500),
        ("/v25.0/my-number/block_users", 404, 803),
        ("/v25.0/999/block_users", 400, 100),
    ],
)
def test_a_wrong_path(api: Api, path: str, status: int, code: int) -> None:
    """What does not exist is refused as Graph refuses it."""
    reply = api.send("GET", path)

    assert (status, code) == (reply.status, reply.code)


def test_an_unknown_number_id_has_a_subcode(api: Api) -> None:
    """Code 100 alone would not tell it from a bad parameter."""
    error = api.send("POST", "/v25.0/999/block_users").json["error"]

    assert (error["code"], error["error_subcode"]) == (100, 33)
    assert "999" in error["message"]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_wrong_method(api: Api, method: str) -> None:
    """There is nothing but POST, DELETE and GET."""
    assert api.send(method).code == 100


@pytest.mark.parametrize(
    ("authorization", "status", "code"),
    [(None, 400, 104), ("Bearer ", 400, 104), ("Basic abc", 400, 104), ("Bearer no", 401, 190)],
)
def test_a_wrong_token(api: Api, authorization: str | None, status: int, code: int) -> None:
    """A missing token and a wrong one are two errors."""
    headers = {} if authorization is None else {"Authorization": authorization}
    reply = api.send("GET", headers=headers)

    assert (status, code) == (reply.status, reply.code)


def test_each_business_number_may_have_a_token(serve: Callable[..., Api]) -> None:
    """The token of another number is valid, and not permitted; a path of 360dialog has no id."""
    api = serve(phone_number_ids=("1", "2", "3"), access_tokens={"1": "one", "2": "two"})
    token = api.sandbox.rules.access_token

    def code(path: str, **headers: str) -> int | None:
        return api.send("GET", path, headers=headers).code

    assert api.sandbox.credentials_of("2")["access_token"] == "two"
    assert api.sandbox.credentials_of("3")["access_token"] == token
    assert code("/v25.0/1/block_users", Authorization="Bearer one") is None
    assert code("/v25.0/3/block_users", Authorization=f"Bearer {token}") is None
    assert code("/v25.0/2/block_users", Authorization="Bearer one") == 131005
    assert code("/v25.0/1/block_users", Authorization=f"Bearer {token}") == 131005
    assert code("/v25.0/9/block_users", Authorization="Bearer one") == 100

    body = json.dumps({"messaging_product": "whatsapp", "block_users": [{"user": ANN}]})
    assert api.send("POST", "/block_users", body, {"D360-API-KEY": "two"}).status == 200
    assert {ANN} == api.sandbox.blocklist("2")


def test_a_path_without_a_version(api: Api) -> None:
    """Meta's guide prints it."""
    api.sandbox.block(ANN)

    assert api.send("GET", f"/{NUMBER_ID}/block_users").listed == [ANN]


def test_the_token_in_the_query(api: Api) -> None:
    """It counts where there is none in the header."""
    path = f"/v25.0/{NUMBER_ID}/block_users?access_token="

    assert api.send("GET", path + api.token["Authorization"][7:], headers={}).status == 200
    assert api.send("GET", path + "no", headers={}).code == 190
    assert api.send("GET", path + "no").status == 200


@pytest.mark.parametrize(("coding", "body"), [("gzip", b"{}"), ("deflate", b"\xff")])
def test_a_body_that_cannot_be_unpacked(api: Api, coding: str, body: bytes) -> None:
    """It is a wrong body like others."""
    reply = api.send("POST", body=body, headers={**api.token, "Content-Encoding": coding})

    assert (reply.status, reply.code) == (400, 100)


def test_the_proof(serve: Callable[..., Api]) -> None:
    """With an app secret, every call must carry the right `appsecret_proof`."""
    api = serve(app_secret="secret")
    token = api.sandbox.credentials["access_token"].encode()
    proof = hmac.new(b"secret", token, hashlib.sha256).hexdigest()

    assert "Missing" in api.get().json["error"]["message"]
    assert "Invalid" in api.get("appsecret_proof=0").json["error"]["message"]
    assert api.get(f"appsecret_proof={proof}").status == 200
    assert api.sandbox.credentials["app_secret"] == "secret"


def test_the_form_of_360dialog(api: Api) -> None:
    """A short path and another header reach the first business number."""
    key = {"D360-API-KEY": api.sandbox.credentials["access_token"]}
    body = json.dumps({"messaging_product": "whatsapp", "block_users": [{"user": ANN}]})
    reply = api.send("POST", "/block_users", body, key)

    assert reply.status == 200
    assert {ANN} == api.sandbox.blocklist()
    assert api.send("GET", "/block_users", headers={"D360-API-KEY": "x"}).code == 190
    assert api.send("GET", "/block_users").code == 104


def test_repeats_are_answered_once(api: Api) -> None:
    """Two spellings of one person get one row, under the first."""
    assert [f"+{ANN}", BEN] == api.post(f"+{ANN}", ANN, BEN).added


def test_repeats_may_be_refused(serve: Callable[..., Api]) -> None:
    """By the rules a request that names somebody twice is wrong as a whole."""
    api = serve(repeats="refuse")

    assert api.post(ANN, f"+{ANN}").code == 100
    assert api.post(ANN, BEN).added == [ANN, BEN]


def test_a_mixed_answer_may_look_like_success(serve: Callable[..., Api]) -> None:
    """By the rules it comes with 200 and no top-level error."""
    reply = serve(mixed_status=200, mixed_error=False).post(ANN, "abc")

    assert (reply.status, reply.code) == (200, None)
    assert reply.failed == {"abc": 131047}


def test_a_mixed_answer_may_carry_another_code(serve: Callable[..., Api]) -> None:
    """By the rules the top-level code differs from 139100."""
    assert serve(mixed_code=131047).post(ANN, "abc").code == 131047


def test_when_all_fail_there_is_one_list(api: Api) -> None:
    """A list without rows is left out."""
    assert {"failed_users"} == api.post("abc").json["block_users"].keys()


def test_lists_may_be_empty(serve: Callable[..., Api]) -> None:
    """By the rules both lists are always there."""
    assert serve(empty_lists=True).post(ANN).json["block_users"]["failed_users"] == []


def test_rows_may_come_in_another_order(serve: Callable[..., Api]) -> None:
    """By the rules nobody can match answers by position."""
    users = [f"1650555{number:04}" for number in range(20)]
    shuffled = serve(lists_order="shuffled").post(*users).added

    assert users[::-1] == serve(lists_order="reversed").post(*users).added
    assert users == sorted(shuffled)
    assert shuffled not in (users, users[::-1])


def test_failed_rows_may_be_worded_otherwise(serve: Callable[..., Api]) -> None:
    """By the rules codes are text, details stand bare, and nobody is named but by input."""
    api = serve(codes_as_text=True, bare_error_data=True, failed_wa_ids=False)
    row = api.post("15550783881").json["block_users"]["failed_users"][0]

    assert {"input", "errors"} == row.keys()
    assert row["errors"][0]["code"] == "131021"
    assert isinstance(row["errors"][0]["error_data"], str)


def test_unblocking_may_answer_with_added_users(serve: Callable[..., Api]) -> None:
    """By the rules DELETE has the list name of POST."""
    assert serve(removed_key="added_users").delete(ANN).added == [ANN]


def test_wa_ids_may_differ_from_what_was_sent(serve: Callable[..., Api]) -> None:
    """By the rules both spellings of a Brazilian number are one person."""
    api = serve(rewrite_wa_ids=True)
    row = api.post("+5511987654321").json["block_users"]["added_users"][0]

    assert row == {"input": "+5511987654321", "wa_id": "551187654321"}
    assert {"551187654321"} == api.sandbox.blocklist()
    api.sandbox.unblock("5511987654321")
    assert frozenset() == api.sandbox.blocklist()


def test_an_empty_list_has_no_cursors(api: Api) -> None:
    """An empty page is bare."""
    assert api.get().json == {"data": []}


def test_a_page_has_the_cursors_of_its_first_and_last_row(api: Api, clock: Clock) -> None:
    """A page of one row has the recorded cursor twice, if the list changed at the recorded time."""
    clock.now = 1_737_679_688.383584
    api.post(ANN)
    reply = api.get()
    cursor = "eyJvZAmZAzZAXQiOjAsInZAlcnNpb25JZACI6IjE3Mzc2Nzk2ODgzODM1ODQifQZDZD"

    assert reply.json["data"] == [{"messaging_product": "whatsapp", "wa_id": ANN}]
    assert {"before": cursor, "after": cursor} == reply.cursors


def test_walking_forward_and_back(api: Api) -> None:
    """Pages follow each other without gap or overlap, and end in an empty one."""
    users = [f"1650555{number:04}" for number in range(7)]
    api.post(*users)
    last = api.get("limit=100").cursors["after"]

    assert users == api.walk(3)
    back = api.get(f"limit=3&before={last}")
    assert users[3:6] == back.listed
    assert users[0:3] == api.get(f"limit=3&before={back.cursors['before']}").listed
    assert api.get(f"limit=3&before={api.get('limit=3').cursors['before']}").listed == []


def test_a_change_ends_the_walk(api: Api) -> None:
    """A cursor of an older version is refused, and the details say what to do."""
    api.post(ANN, BEN)
    after = api.get("limit=1").cursors["after"]
    api.sandbox.unblock(ANN)
    reply = api.get(f"after={after}")

    assert reply.code == 139102
    assert "retry with offset 0" in reply.details


@pytest.mark.parametrize("query", ["limit=0", "limit=-1", "limit=ten", "limit=", "after=x"])
def test_a_wrong_query(api: Api, query: str) -> None:
    """A limit is a positive whole number, and a cursor one that was given out."""
    assert api.get(query).code == 100


def test_page_sizes(serve: Callable[..., Api]) -> None:
    """A page has the default size unless asked for, and the largest size at most."""
    api = serve(default_page=2, largest_page=4)
    api.sandbox.block(*(f"1650555{number:04}" for number in range(9)))

    assert [len(api.get(query).listed) for query in ("", "limit=3", "limit=5000")] == [2, 3, 4]


def test_next_links_are_traps(serve: Callable[..., Api]) -> None:
    """By the rules pages carry links to a host that does not exist."""
    api = serve(next_links=True)
    api.sandbox.block(ANN, BEN, CAT)
    pages = [api.get("limit=1")]
    pages += [api.get(f"limit=1&after={pages[0].cursors['after']}")]
    pages += [api.get(f"limit=1&after={pages[1].cursors['after']}")]

    assert [
        {"cursors", "next"},
        {"cursors", "next"},
        {"cursors"},
    ] == [page.json["paging"].keys() for page in pages]
    assert pages[0].json["paging"]["next"].startswith("https://never-follow-next-links.invalid/")


def test_the_older_shape_of_the_list(serve: Callable[..., Api]) -> None:
    """By the rules the rows are nested."""
    api = serve(nested_listing=True)
    api.sandbox.block(ANN, BSUID)
    rows = [{"input": ANN, "wa_id": ANN}, {"input": BSUID, "user_id": BSUID}]

    assert [{"block_users": rows}] == api.get().json["data"]


def test_a_late_page_of_a_long_list(api: Api) -> None:
    """A full list is held, and its end is as near as its beginning."""
    api.sandbox.block(*(f"1650{number:07}" for number in range(64_000)))
    version = decode(api.get("limit=1").cursors["after"]).version
    page = api.get(f"after={encode(Cursor(59_999, version))}")

    assert [f"1650{number:07}" for number in range(60_000, 60_100)] == page.listed
