"""The deny list: who is added, matched and removed, in which spelling, and what is hashed."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blockusers import BlockedUser, Outcome, Report, Status
from blockusers.guard.deny_list import DenyList, Verdict
from blockusers.guard.entries import Change, Entry
from blockusers.guard.intents import Intent, Result
from blockusers.guard.stores.sqlite import SqliteStore
from blockusers.values.outcome import Operation
from tests.support import Clock, numbers

HERE, THERE = "106540352242922", "106540352242923"
ANN, BOB = "16505551231", "16505551232"
BSUID = "US.13491208655302741918"
PARENT = "US.ENT.11815799212886844830"
LONG, SHORT = "5511912345678", "551112345678"
SECRET = "a secret of a good length"


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(tmp_path / "deny.db", clock=clock) as store:
        yield store


@pytest.fixture
def deny_list(store: SqliteStore) -> DenyList:
    return DenyList(store)


async def users(deny_list: DenyList, **filters: Any) -> list[str]:
    return [entry.user async for entry in deny_list.entries(**filters)]


# --------------------------------------------------------------------------- adding


async def test_adds(deny_list: DenyList) -> None:
    """Users of every kind are added, each as its digits or BSUID."""
    given = ["+1 (650) 555-1231", 16505551232, BSUID, "wa.me/491511234567"]
    change = await deny_list.add(
        given, scope=HERE, reason="spam", origin="anna", expires_at=2000, action="deny"
    )

    assert change == Change(added=4)
    assert await users(deny_list) == [ANN, BOB, "491511234567", BSUID]
    async for entry in deny_list.entries():
        assert entry == Entry(entry.user, HERE, "deny", "spam", "anna", 1000.0, 2000.0)


async def test_adds_what_the_server_has_named(deny_list: DenyList) -> None:
    """Outcomes and blocked users are added by their number, or by the BSUID if there is none."""
    await deny_list.add(
        [
            Outcome("+1 650 555 1231", Status.DONE, wa_id=ANN, user_id=BSUID),
            BlockedUser(wa_id=BOB, user_id="US.2"),
            BlockedUser(user_id="US.3"),
            Outcome("no number", Status.DONE, wa_id="16505551233"),
        ]
    )

    assert await users(deny_list) == [ANN, BOB, "16505551233", "US.3"]


async def test_adding_again(deny_list: DenyList) -> None:
    """Who is there already is updated or left alone; repeats are one entry."""
    assert await deny_list.add([ANN, f"+{ANN}", ANN]) == Change(added=1)
    assert await deny_list.add([ANN]) == Change()
    assert await deny_list.add([ANN], reason="spam") == Change(updated=1)
    assert await deny_list.add([ANN], origin="anna") == Change(added=1)


async def test_refuses(deny_list: DenyList) -> None:
    """What names nobody comes back in its order, with how to fix it; the rest is added."""
    change = await deny_list.add(["0049151", ANN, PARENT, BOB, True, BlockedUser()])

    assert change.added == 2
    assert [outcome.input for outcome in change.refused] == ["0049151", PARENT, True, None]
    assert {outcome.status for outcome in change.refused} == {Status.FAILED}
    assert "write + instead of 00" in str(change.refused[0].fault)
    assert ANN not in repr(change)


async def test_adds_from_async_sources(deny_list: DenyList) -> None:
    """An async iterable of any length is added like a list."""

    async def source() -> AsyncIterator[str]:
        for number in numbers(2500):
            yield number

    assert await deny_list.add(source()) == Change(added=2500)
    assert await deny_list.count() == 2500


async def test_adds_very_long_lists(deny_list: DenyList) -> None:
    """A list that takes many transactions is added whole."""
    assert await deny_list.add(numbers(33_000)) == Change(added=33_000)
    assert await deny_list.add(numbers(33_000)) == Change()
    assert await users(deny_list) == [number[1:] for number in numbers(33_000)]


@pytest.mark.parametrize("method", ["add", "remove"])
async def test_a_source_that_fails(deny_list: DenyList, method: str) -> None:
    """Its error is raised; what came before has been done."""
    await deny_list.add([BOB])

    def source() -> Iterator[str]:
        yield ANN
        yield BOB
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        await getattr(deny_list, method)(source())
    assert await deny_list.count() == (2 if method == "add" else 0)


@pytest.mark.parametrize("method", ["add", "remove"])
@pytest.mark.parametrize(
    "wrong",
    [ANN, ANN.encode(), int(ANN), Report(Operation.BLOCK, ())],
    ids=["str", "bytes", "int", "report"],
)
async def test_lists_only(deny_list: DenyList, method: str, wrong: Any) -> None:
    """What is no list of users is a TypeError, as in a client; nothing of the text shows."""
    with pytest.raises(TypeError, match="^users: ") as caught:
        await getattr(deny_list, method)(wrong)
    assert ANN not in str(caught.value)


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "scope of letters": ({"scope": "here"}, ValueError, "scope: must be `*` or a phone number id"),
    "scope of digits": ({"scope": "١٢"}, ValueError, "scope: must be `*` or a phone number id"),
    "scope as a number": ({"scope": 1}, TypeError, "scope: must be a str, not int"),
    "action": ({"action": "block"}, ValueError, "action: must be 'deny' or 'allow', not 'block'"),
    "action None": ({"action": None}, TypeError, "action: must be a str, not NoneType"),
    "reason": ({"reason": None}, TypeError, "reason: must be a str, not NoneType"),
    "reason in half": ({"reason": "\ud800"}, ValueError, "reason: has characters that cannot"),
    "origin": ({"origin": b""}, TypeError, "origin: must be a str, not bytes"),
    "expiry": ({"expires_at": "now"}, TypeError, "expires_at: must be a number, not str"),
    "expiry NaN": ({"expires_at": float("nan")}, ValueError, "expires_at: must be at least 0"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_wrong_arguments(deny_list: DenyList, case: str) -> None:
    """A wrong argument is named, and nothing is added."""
    arguments, error, message = WRONG[case]
    with pytest.raises(error, match=f"^{message}".replace("*", r"\*")):
        await deny_list.add([ANN], **arguments)
    assert await deny_list.count() == 0


# --------------------------------------------------------------------------- matching


async def test_matches(deny_list: DenyList) -> None:
    """Who is on the list is matched by any of their ids, with or without `+`."""
    await deny_list.add([ANN, "US.2"], reason="spam")

    entry = await deny_list.match("US.9", f"+{ANN}", phone_number_id=HERE)
    assert entry is not None
    assert (entry.user, entry.reason) == (ANN, "spam")
    assert await deny_list.match("US.2", phone_number_id=HERE)
    assert await deny_list.match(BOB, "US.9", phone_number_id=HERE) is None
    assert await deny_list.match(phone_number_id=HERE) is None


@pytest.mark.parametrize(
    "spellings",
    [(LONG, SHORT), ("5215512345678", "525512345678"), ("5491112345678", "541112345678")],
    ids=["Brazil", "Mexico", "Argentina"],
)
async def test_spellings(deny_list: DenyList, spellings: tuple[str, str]) -> None:
    """With and without the digit of mobile numbers it is one person."""
    for added, other in (spellings, spellings[::-1]):
        await deny_list.add([added])
        entry = await deny_list.match(other, phone_number_id=HERE)
        assert entry is not None
        assert entry.user == added
        assert await deny_list.remove([other]) == Change(removed=1)


async def test_what_names_nobody_is_not_matched(deny_list: DenyList) -> None:
    """An id that the parser rejects is left out; the others count."""
    await deny_list.add([ANN])

    assert await deny_list.match("", "nobody", PARENT, phone_number_id=HERE) is None
    assert await deny_list.match("US.ENT.\ud800", 7.0, phone_number_id=HERE) is None  # type: ignore[arg-type]
    assert await deny_list.match("", "nobody", PARENT, ANN, phone_number_id=HERE) is not None


VERDICTS = {
    "deny": ("*", None, True),
    "allow beats deny": ("*", "allow *", False),
    "an exception here": ("*", f"allow {HERE}", False),
    "an exception elsewhere": ("*", f"allow {THERE}", True),
    "denied only here": (HERE, "allow *", True),
    "denied elsewhere": (THERE, None, False),
    "allowed and denied here": (HERE, f"allow {HERE}", False),
}


@pytest.mark.parametrize("case", VERDICTS)
async def test_verdicts(deny_list: DenyList, case: str) -> None:
    """The narrower scope decides, within it `allow` beats `deny`, whatever id leads there."""
    scope, allowed, is_denied = VERDICTS[case]
    await deny_list.add([ANN], scope=scope)
    if allowed is not None:
        await deny_list.add([BSUID], action="allow", scope=allowed.removeprefix("allow "))

    entry = await deny_list.match(ANN, BSUID, phone_number_id=HERE)
    assert (entry is not None) is is_denied
    assert entry is None or entry.action == "deny"


async def test_recognizes(deny_list: DenyList, store: SqliteStore) -> None:
    """All ids of a sender lead to one entry once they are learned, and are one person."""
    await deny_list.add([SHORT, "US.7"])
    verdict = await deny_list.recognize([LONG, BSUID, PARENT, "US.7", "nobody"], HERE)

    assert verdict.entry is not None
    assert verdict.person == verdict.entry.user == SHORT
    assert verdict.aliases == dict.fromkeys([BSUID, PARENT, "US.7"], SHORT)
    assert BSUID not in repr(verdict)
    assert SHORT not in repr(verdict)
    await store.want([], verdict.aliases)
    for known in (LONG, BSUID, PARENT, "US.7"):
        again = await deny_list.recognize([known], HERE)
        assert (again.entry, again.person, again.aliases) == (verdict.entry, SHORT, {})
    assert await deny_list.recognize(["US.99"], HERE) == Verdict()


async def test_what_one_number_learns_for_itself(deny_list: DenyList, store: SqliteStore) -> None:
    """An alias that is not shared is known on its own number alone."""
    await deny_list.add([ANN])
    verdict = await deny_list.recognize([ANN, BSUID], HERE, is_shared=False)
    await store.want([], verdict.aliases)

    assert BSUID not in verdict.aliases
    assert await deny_list.match(BSUID, phone_number_id=HERE)
    assert not await deny_list.match(BSUID, phone_number_id=THERE)
    assert (await deny_list.recognize([ANN, BSUID], HERE, is_shared=False)).aliases == {}


async def test_removes_by_an_alias(deny_list: DenyList, store: SqliteStore) -> None:
    """Who is removed by an id that was learned is not denied any more."""
    await deny_list.add([ANN])
    await store.want([], {BSUID: ANN})

    assert await deny_list.remove([BSUID]) == Change(removed=1)
    assert await users(deny_list) == []


async def test_an_exception_is_learned_as_well(deny_list: DenyList) -> None:
    """Who is allowed by one id is so by the others."""
    await deny_list.add([ANN], action="allow")

    assert await deny_list.recognize([ANN, BSUID], HERE) == Verdict(None, ANN, {BSUID: ANN})


async def test_keys(deny_list: DenyList) -> None:
    """The key of an id is the same however it is spelled."""
    assert deny_list.key("+1 650 555 1231") == ANN
    assert deny_list.key(PARENT) == PARENT
    assert deny_list.digest("wamid.1") == deny_list.digest("wamid.1") != deny_list.digest("wamid.2")
    assert len(deny_list.digest("wamid.1")) == 16
    with pytest.raises(ValueError, match="^id_: names nobody"):
        deny_list.key("nobody")


async def test_region(store: SqliteStore) -> None:
    """National spellings are read; ids of webhooks are international all the same."""
    deny_list = DenyList(store, region="BR")
    await deny_list.add(["(11) 91234-5678"])

    assert await users(deny_list) == [LONG]
    assert await deny_list.match(LONG, phone_number_id=HERE) is not None
    assert await deny_list.match("011 91234-5678", phone_number_id=HERE) is not None
    assert await deny_list.match("11912345678", phone_number_id=HERE) is None  # in the US


# --------------------------------------------------------------------------- removing


async def test_removes(deny_list: DenyList) -> None:
    """Users are removed with all their entries, or those of a scope or an origin only."""
    for origin in "ab":
        await deny_list.add([ANN, BOB], origin=origin)
    await deny_list.add([ANN], scope=HERE)

    assert await deny_list.remove([BOB, "nobody"], origin="a") == Change(
        removed=1, refused=(await deny_list.add(["nobody"])).refused
    )
    assert await deny_list.remove([f"+{ANN}"], scope="*") == Change(removed=2)
    assert await deny_list.remove(scope=HERE) == Change(removed=1)
    assert await deny_list.remove(origin="b") == Change(removed=1)
    assert await deny_list.count() == 0


async def test_removes_all_names(deny_list: DenyList) -> None:
    """A blocked user is removed by number and BSUID."""
    await deny_list.add([ANN, BSUID])

    assert await deny_list.remove([BlockedUser(wa_id=ANN, user_id=BSUID)]) == Change(removed=2)


async def test_removes_nothing_by_mistake(deny_list: DenyList) -> None:
    """Without any argument nothing is removed; a list of nobody removes nobody."""
    await deny_list.add([ANN])

    with pytest.raises(ValueError, match="^remove: pass users, scope or origin"):
        await deny_list.remove()
    assert await deny_list.remove([]) == Change()
    assert await deny_list.count() == 1


async def test_filters(deny_list: DenyList) -> None:
    """Entries are listed and counted by scope, action and origin."""
    await deny_list.add([ANN], scope=HERE)
    await deny_list.add([BOB], action="allow", origin="anna")

    for filters, user in (
        ({"scope": HERE}, ANN),
        ({"action": "allow"}, BOB),
        ({"origin": "anna"}, BOB),
    ):
        assert await users(deny_list, **filters) == [user]
        assert await deny_list.count(**filters) == 1
    with pytest.raises(ValueError, match="^action: "):
        deny_list.entries(action="block")


async def test_changes_while_it_is_listed(deny_list: DenyList) -> None:
    """Nothing is held open, so that entries can be removed while they are listed."""
    await deny_list.add(numbers(1500))
    seen = 0
    async for entry in deny_list.entries():
        if seen % 500 == 0:
            await deny_list.remove([entry.user])
        seen += 1
    assert (seen, await deny_list.count()) == (1500, 1497)


async def test_erases(deny_list: DenyList, store: SqliteStore) -> None:
    """Whatever is known of a user goes, in any spelling."""
    await deny_list.add([SHORT, ANN])
    await store.want([intent(deny_list, LONG)], {BSUID: SHORT})

    assert await deny_list.erase(f"+{LONG}") == Change(removed=1)
    assert await users(deny_list) == [ANN]
    assert (await store.counts(HERE)).blocks == 0
    with pytest.raises(ValueError, match="write \\+ instead of 00"):
        await deny_list.erase("0049151")


def intent(deny_list: DenyList, number: str, **fields: Any) -> Intent:
    key = deny_list.key(number)
    entry = fields.pop("entry", key)
    return Intent(HERE, key, Operation.BLOCK, f"+{number}", (number,), entry, **fields)


# --------------------------------------------------------------------------- hashing


async def test_hashed(store: SqliteStore) -> None:
    """With a key the list works as without, and shows hashes."""
    deny_list = DenyList(store, hash_key=SECRET)
    await deny_list.add([ANN, SHORT, BSUID])

    assert all(user.startswith("#") and len(user) == 23 for user in await users(deny_list))
    for known in (ANN, LONG, BSUID):
        assert await deny_list.match(known, phone_number_id=HERE) is not None
    assert await deny_list.match(BOB, phone_number_id=HERE) is None
    assert deny_list.key(ANN) in await users(deny_list)
    assert await deny_list.remove([LONG]) == Change(removed=1)


@pytest.mark.parametrize("first", [None, SECRET])
async def test_the_key_cannot_be_changed(store: SqliteStore, first: str | None) -> None:
    """Another key, none, or one for a plain list is found out before anything is done."""
    await DenyList(store, hash_key=first).add([ANN])
    other = DenyList(store, hash_key=SECRET if first is None else "another secret of 26 bytes")
    message = "made without one" if first is None else "is not the one"
    calls: list[Callable[[], Any]] = [
        lambda: other.add([BOB]),
        lambda: other.remove([BOB]),
        lambda: other.remove(origin="a"),
        lambda: other.match(BOB, phone_number_id=HERE),
        other.count,
        lambda: other.erase(BOB),
        lambda: users(other),
    ]

    for call in calls:
        with pytest.raises(ValueError, match=f"^hash_key: .*{message}"):
            await call()
    assert await DenyList(store, hash_key=first).count() == 1


async def test_a_hashed_list_without_its_key(store: SqliteStore) -> None:
    """Nothing would match, so it says that the key is missing."""
    await DenyList(store, hash_key=SECRET).add([ANN])

    with pytest.raises(ValueError, match="^hash_key: this list was made with one; pass it"):
        await DenyList(store).match(ANN, phone_number_id=HERE)


async def test_to_read_a_new_list_decides_nothing(store: SqliteStore) -> None:
    """Only who adds first decides whether it is hashed."""
    assert await DenyList(store).count() == 0
    assert await DenyList(store, hash_key=SECRET.encode()).add([ANN]) == Change(added=1)


def test_keys_that_are_no_secrets() -> None:
    """A short key is a ValueError, another type a TypeError."""
    with pytest.raises(ValueError, match="^hash_key: must have at least 16 bytes, not 15"):
        DenyList(SqliteStore("deny.db"), hash_key="x" * 15)
    with pytest.raises(TypeError, match="^hash_key: must be a str or bytes, not int"):
        DenyList(SqliteStore("deny.db"), hash_key=1234)  # type: ignore[arg-type]


def test_shows_no_secret() -> None:
    """Its representation shows where the list is, and no key."""
    text = repr(DenyList(SqliteStore("deny.db"), hash_key=SECRET))

    assert text.startswith("<DenyList hashed in <SqliteStore /")
    assert SECRET not in text
    assert "hashed" not in repr(DenyList(SqliteStore("deny.db")))


async def test_no_file_holds_a_number(store: SqliteStore, tmp_path: Path, clock: Clock) -> None:
    """With a key nobody's number is in any file but while they are blocked or to be blocked."""
    deny_list = DenyList(store, hash_key=SECRET)
    await deny_list.add([ANN, BOB], reason="spam")
    message = "wamid." + base64.b64encode(f"\x02{ANN}\x15".encode()).decode()
    verdict = await deny_list.recognize([ANN, BSUID], HERE)
    assert verdict.entry is not None
    ours = intent(deny_list, ANN, entry=verdict.entry.user, message=deny_list.digest(message))
    await store.want([ours], verdict.aliases)
    assert ANN in written(tmp_path)

    async with store.queue(HERE) as queue:
        await queue.settle([Result(each, done=True) for each in await queue.take(9, 30)])
        await store.want([Intent(HERE, ours.person, Operation.UNBLOCK, f"+{ANN}", (ANN,))], {})
        await queue.settle([Result(each, done=True) for each in await queue.take(9, 30)])
        await store.forget(0)
        text = written(tmp_path)
    assert "#" in text
    for personal in (ANN, BOB, BSUID, message[6:]):
        assert personal not in text


def written(folder: Path) -> str:
    """Return whatever stands in the files of a store."""
    files = sorted(folder.iterdir())
    assert {file.name for file in files} >= {"deny.db", "deny.db-wal"}
    return "".join(file.read_bytes().decode("latin-1") for file in files)
