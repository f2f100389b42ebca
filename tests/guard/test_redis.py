"""What only the Redis store promises: leases, outages in plain English, and how little it keeps."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis

from blockusers.guard import DenyList, LeaseLost, RedisStore
from blockusers.guard.entries import Entry
from blockusers.guard.intents import Counts, Intent, Result
from blockusers.guard.stores import redis_connection
from blockusers.guard.stores.protocol import Filter, Queue, Store, StoreUnavailable
from blockusers.guard.stores.redis_errors import explained
from blockusers.values.outcome import Operation
from tests.guard.support import until
from tests.redis_server import RedisServer
from tests.support import Clock

HERE = "106540352242922"
ANN, BOB, CAT = "16505551231", "16505551232", "16505551233"
ALL = Filter()
LATE = 30.0


@pytest.fixture
async def store(redis_url: str, clock: Clock) -> AsyncIterator[RedisStore]:
    async with RedisStore(redis_url, clock=clock) as store:
        yield store


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """Looks into the server behind the store's back."""
    with redis_server.client() as client:
        yield client


def block(person: str = ANN, **fields: Any) -> Intent:
    given = {"user": person, "ids": (person,), "entry": person, "wrote_at": 1000.0, **fields}
    return Intent(HERE, person, Operation.BLOCK, **given)


def unblock(person: str = ANN) -> Intent:
    return Intent(HERE, person, Operation.UNBLOCK, person, entry=person)


async def has_blocked(store: Store, *people: str) -> None:
    await store.add([Entry(person) for person in people])
    await store.want([block(person) for person in people], {})
    async with store.queue(HERE) as queue:
        await queue.settle([Result(each, done=True) for each in await queue.take(9, LATE)])


# --------------------------------------------------------------------------- URLs and prefixes

SHOWN = {
    "redis://cache": "redis://cache:6379",
    "redis://:secret@cache:6380/2": "redis://:***@cache:6380/2",
    "rediss://anna:secret@cache/?ssl_cert_reqs=none": "rediss://anna:***@cache:6379",
    "redis://[::1]:7000?password=secret": "redis://[::1]:7000",
    "unix://:secret@/run/redis.sock?db=1": "unix://:***@/run/redis.sock",
}


@pytest.mark.parametrize("url", SHOWN)
def test_is_shown_without_its_password(url: str) -> None:
    """Its representation names the server, and no secret."""
    assert repr(RedisStore(url, prefix="shop")) == f"<RedisStore {SHOWN[url]} shop>"


@pytest.mark.parametrize("url", ["http://:secret@cache", "redis://:secret@cache:port", "secret"])
def test_urls_that_are_none(url: str) -> None:
    """What is no URL of Redis is rejected at once, and not repeated."""
    with pytest.raises(ValueError, match="^url: ") as caught:
        RedisStore(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["", "{shop}", "a\0b"])
def test_prefixes_that_are_none(prefix: str) -> None:
    """A prefix cannot break the hash tag that holds all keys together."""
    with pytest.raises(ValueError, match="^prefix: "):
        RedisStore("redis://cache", prefix=prefix)


async def test_prefixes_part_stores(redis_url: str, client: redis.Redis) -> None:
    """Stores with different prefixes share one Redis and nothing else; all keys have one tag."""
    async with RedisStore(redis_url, prefix="one") as one, RedisStore(redis_url) as two:
        await has_blocked(one, ANN)
        assert await two.count(ALL) == 0
    assert {key.partition(b"}")[0] for key in client.scan_iter()} == {
        b"{one:guard",
        b"{blockusers:guard",
    }


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where redis-py is not installed, the import says how to get it."""
    for name in ("redis", "redis_connection", "redis_intents", "redis_queue", "redis_errors"):
        monkeypatch.delitem(sys.modules, f"blockusers.guard.stores.{name}")
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)

    with pytest.raises(
        ModuleNotFoundError, match=r'RedisStore needs redis.*: pip install "blockusers\[redis\]"'
    ):
        importlib.import_module("blockusers.guard.stores.redis")


# --------------------------------------------------------------------------- what is kept


async def test_texts_of_any_characters(store: RedisStore) -> None:
    """No character of a text breaks an entry, or the order."""
    origins = ["", "\0", "\0a", "\1", "\1\2", "\2", " ", "a", "a\0", "a\1", "a b", "é", "🐟"]
    ours = [Entry(ANN, origin=origin, reason=f"{origin}\0", added_at=1.5) for origin in origins]

    assert await store.add(ours[::-1]) == (len(ours), 0)
    assert await store.entries(ALL, None, 100) == ours
    assert [await store.entries(ALL, each, 1) for each in ours[:-1]] == [
        [each] for each in ours[1:]
    ]
    assert await store.remove(Filter(origin="\0")) == 1


async def test_entries_are_small(store: RedisStore, client: redis.Redis) -> None:
    """An entry takes less than 180 bytes of memory, its origin and reason among them."""
    entries = [Entry(f"49151{i:08}", origin="list-2026-11", reason="spam") for i in range(3000)]
    await store.add(entries)

    used = sum(client.memory_usage(key, samples=0) or 0 for key in client.scan_iter())
    assert used / len(entries) < 180


async def test_hashed_lists_keep_nothing_plain(redis_url: str, client: redis.Redis) -> None:
    """With a `hash_key`, plain numbers are only those of open intents and of blocked people."""
    async with RedisStore(redis_url) as store:
        deny_list = DenyList(store, hash_key="0123456789abcdef")
        await deny_list.add([f"+{each}" for each in (ANN, BOB, CAT)])
        for number in (ANN, BOB):
            key = deny_list.key(number)
            await store.want([block(key, user=number, ids=(number,))], {deny_list.key(CAT): key})
        async with store.queue(HERE) as queue:
            ann, bob = await queue.take(9, LATE)
            await queue.settle([Result(ann, done=True), Result(bob, reason="131047")])
        await store.want([block(deny_list.key(CAT), user=CAT)], {})

    kept = everything(client)
    assert [number for number in (ANN, BOB, CAT) if number in kept] == [ANN, CAT]


def everything(client: redis.Redis) -> str:
    """Return all keys and values of a server, as one text."""
    return repr([(key, value_of(client, key)) for key in client.scan_iter()])


def value_of(client: redis.Redis, key: bytes) -> object:
    readers: dict[bytes, Callable[[bytes], object]] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"zset": lambda key: client.zrange(key, 0, -1),
    }
    return readers[client.type(key)](key)


async def test_erases_all(store: RedisStore, client: redis.Redis) -> None:
    """Nobody who was erased is in any key."""
    await has_blocked(store, ANN)
    await store.want([unblock()], {"US.1": ANN})
    await store.move(["US.1"], "US.2", 950.0, "m1")
    await store.move([ANN], BOB, 960.0, "m2")
    await store.erase([BOB, ANN], [ANN])

    kept = everything(client)
    assert [each for each in (ANN, BOB, "US.1", "US.2", "m2") if each in kept] == []


async def test_goes_by_the_clock_of_redis(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose clock is wrong agrees with the others."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    async with RedisStore(redis_url) as store:
        assert store.clock() == pytest.approx(now, abs=20)


# --------------------------------------------------------------------------- at the same time

Change = Callable[[], Awaitable[object]]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Change], None]:
    """Let something be done after the next transaction has read, and before it writes."""
    pending: list[Change] = []
    call = redis_connection.Connection.call

    async def interrupted(self: Any, command: str, **arguments: Any) -> Any:
        if command == "commit" and pending:
            await pending.pop()()
        return await call(self, command, **arguments)

    monkeypatch.setattr(redis_connection.Connection, "call", interrupted)
    return pending.append


async def test_taken_as_it_is_now(store: RedisStore, meanwhile: Callable[[Change], None]) -> None:
    """Who is wanted otherwise in the moment of taking is not sent as before."""
    await store.want([block(), block(BOB)], {})
    async with store.queue(HERE) as queue:
        meanwhile(lambda: store.want([unblock()], {}))
        assert [each.person for each in await queue.take(9, LATE)] == [BOB]
        assert [each.operation for each in await queue.take(9, LATE)] == [Operation.UNBLOCK]


async def test_settled_as_it_is_now(store: RedisStore, meanwhile: Callable[[Change], None]) -> None:
    """Who writes in the moment of settling stays open."""
    await store.want([block()], {})
    async with store.queue(HERE) as queue:
        page = await queue.take(9, LATE)
        meanwhile(lambda: store.want([block(wrote_at=1001.0)], {}))
        await queue.settle([Result(each, done=True) for each in page])
    assert await store.counts(HERE) == Counts(1, 0, 1, 1000.0)


async def test_evicts_nobody_who_is_erased(
    store: RedisStore, meanwhile: Callable[[Change], None]
) -> None:
    """Who is erased in the moment of making room comes back in no intent."""
    await has_blocked(store, ANN, BOB)
    async with store.queue(HERE) as queue:
        meanwhile(lambda: store.erase([ANN], [ANN]))
        assert await queue.make_room(1, []) == 1
        assert [each.person for each in await queue.take(9, LATE)] == [BOB]


async def test_nothing_is_overwritten(redis_url: str, store: RedisStore, clock: Clock) -> None:
    """Whoever wants something of one person at the same moment is heeded, each once."""
    stores = [RedisStore(redis_url, clock=clock) for _ in range(4)]
    async with contextlib.AsyncExitStack() as stack:
        for each in stores:
            await stack.enter_async_context(each)
        wanted = [block(message=f"m{i}") for i in range(8)]
        opened = await asyncio.gather(
            *(stores[i % 4].want([intent], {}) for i, intent in enumerate(wanted))
        )

    assert len({intent.version for (intent,) in opened}) == 8
    async with store.queue(HERE) as queue:
        await queue.settle([Result(each, done=True) for each in await queue.take(9, LATE)])
    assert await store.want(wanted, {}) == []


# --------------------------------------------------------------------------- leases

LOSING: dict[str, Callable[[Queue], Awaitable[object]]] = {
    "take": lambda queue: queue.take(9, LATE),
    "settle": lambda queue: queue.settle([Result(block(), done=True)]),
    "make room": lambda queue: queue.make_room(1, []),
    "rechecked": lambda queue: queue.rechecked({ANN: ANN}, [unblock()]),
    "rechecks": lambda queue: queue.rechecks(9),
    "due at": lambda queue: queue.due_at(),
}


def lease(client: redis.Redis) -> bytes:
    (key,) = client.keys("*:lease")
    return bytes(key)


@pytest.mark.parametrize("call", LOSING)
async def test_a_lost_lease(store: RedisStore, client: redis.Redis, call: str) -> None:
    """Who has lost the number learns it, and changes nothing."""
    await store.want([block(), unblock(BOB)], {})
    async with store.queue(HERE) as queue:
        client.set(lease(client), "another's")
        before = everything(client)
        with pytest.raises(LeaseLost, match=f"^redis://127.*another process drains {HERE} now"):
            await LOSING[call](queue)
        assert everything(client) == before
    assert client.get(lease(client)) == b"another's"  # it frees only its own


async def test_a_lost_lease_ends_waiting(redis_url: str, client: redis.Redis) -> None:
    """A drain that waits for changes does not wait on when the number is another's."""
    async with RedisStore(redis_url, lease=0.2) as store, store.queue(HERE) as queue:
        await queue.wait(0)
        client.delete(lease(client))
        async with asyncio.timeout(20):
            await until(lambda: is_lost(queue))


async def is_lost(queue: Queue) -> bool:
    """Wait until the queue is woken; whether it is because the lease is lost."""
    await queue.wait(60)
    try:
        await queue.due_at()
    except LeaseLost:
        return True
    return False


async def test_a_lease_is_renewed(redis_url: str, client: redis.Redis) -> None:
    """Who holds a number holds it for longer than a lease."""
    async with RedisStore(redis_url, lease=2.0) as store, store.queue(HERE) as queue:
        assert client.pexpire(lease(client), 1000)
        await until(lambda: client.pttl(lease(client)) > 1000)
        assert await queue.due_at() is None


async def test_a_lease_that_is_given_back(redis_url: str, client: redis.Redis) -> None:
    """Who leaves the block leaves the number free at once."""
    async with RedisStore(redis_url) as store:
        async with store.queue(HERE):
            assert client.keys("*:lease")
        assert not client.keys("*:lease")


HOLDER = """
import asyncio, sys
from blockusers.guard import LeaseLost, RedisStore
from blockusers.guard.intents import Result

async def hold():
    async with RedisStore(sys.argv[1], lease=0.5, clock=lambda: 2e9) as store:
        async with store.queue(sys.argv[2]) as queue:
            page = await queue.take(9, 30.0)
            print(len(page), flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            try:
                await queue.settle([Result(each, done=True) for each in page])
            except LeaseLost:
                print("lost", flush=True)

asyncio.run(hold())
"""


@contextlib.contextmanager
def holder(url: str) -> Iterator[subprocess.Popen[str]]:
    """Hold the number, and have taken a page, in a process that is killed at the end."""
    command = [sys.executable, "-c", HOLDER, url, HERE]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "2\n"
            yield child
        finally:
            child.kill()


async def test_a_killed_process_is_taken_over_from(redis_url: str) -> None:
    """Another drain takes what was being sent; the opposite of it waits from then on."""
    clock = Clock(now=2e9)
    async with RedisStore(redis_url, clock=clock) as store:
        await store.want([block(), block(BOB)], {})
        with holder(redis_url) as child:
            child.send_signal(signal.SIGKILL)
            async with asyncio.timeout(20), store.queue(HERE) as queue:
                await store.want([unblock(BOB)], {})
                assert [each.person for each in await queue.take(9, LATE)] == [ANN]
                assert await queue.due_at() == clock.now + LATE


async def test_a_process_that_was_stopped_settles_nothing(redis_url: str) -> None:
    """Who comes back after another has taken over notes nothing any more."""
    async with RedisStore(redis_url, clock=Clock(now=2e9)) as store:
        await store.want([block(), block(BOB)], {})
        with holder(redis_url) as child:
            child.send_signal(signal.SIGSTOP)
            async with asyncio.timeout(20), store.queue(HERE) as queue:
                page = await queue.take(9, LATE)
                child.send_signal(signal.SIGCONT)
                assert child.communicate("go on\n")[0] == "lost\n"
                assert await store.counts(HERE) == Counts(2, 0, 0, 2e9)
                await queue.settle([Result(each, done=True) for each in page])
        assert await store.counts(HERE) == Counts(0, 0, 2, None)


# --------------------------------------------------------------------------- wake-ups


async def test_is_woken_by_messages(redis_url: str, client: redis.Redis) -> None:
    """A message on the channel wakes at once, also after the connection to it broke."""
    async with RedisStore(redis_url, lease=0.4) as store, store.queue(HERE) as queue:
        for _ in range(2):
            await until(lambda: client.pubsub_numsub("{blockusers:guard}:changes")[0][1])
            waiting = asyncio.create_task(queue.wait(60))
            await asyncio.sleep(0)
            client.publish("{blockusers:guard}:changes", "somebody else")
            async with asyncio.timeout(20):
                await waiting
            client.client_kill_filter(_type="pubsub")
            await until(lambda: not client.pubsub_numsub("{blockusers:guard}:changes")[0][1])


async def test_is_woken_again_and_again(redis_url: str, client: redis.Redis) -> None:
    """Each message wakes, however long it is until the store would look by itself."""
    async with RedisStore(redis_url, lease=4000) as store, store.queue(HERE) as queue:
        await until(lambda: client.pubsub_numsub("{blockusers:guard}:changes")[0][1])
        await until(lambda: lasts(queue, 0.1))
        for _ in range(3):
            client.publish("{blockusers:guard}:changes", "somebody else")
            assert not await lasts(queue, 60)


async def test_looks_by_itself(redis_url: str, client: redis.Redis) -> None:
    """A change of which no message came is seen all the same, and each only once."""
    async with RedisStore(redis_url, lease=0.1) as store, store.queue(HERE) as queue:
        for _ in range(2):
            await until(lambda: lasts(queue, 0.2))
            client.incr("{blockusers:guard}:changes")
            assert not await lasts(queue, 60)


async def lasts(queue: Queue, seconds: float) -> bool:
    """Whether a wait is woken by nothing."""
    ends = time.monotonic() + seconds
    await queue.wait(seconds)
    return time.monotonic() >= ends


# --------------------------------------------------------------------------- outages


async def fails(call: Awaitable[object], message: str) -> None:
    with pytest.raises(StoreUnavailable, match=message) as caught:
        await call
    assert "secret" not in str(caught.value)


async def test_nobody_listens() -> None:
    """A server that is not there cannot be opened."""
    await fails(
        RedisStore("redis://:secret@127.0.0.1:1").__aenter__(),
        r"^redis://:\*\*\*@127.0.0.1:1: cannot connect; check that it runs",
    )


async def test_goes_on_when_redis_is_back(own_redis: RedisServer, clock: Clock) -> None:
    """While it is away calls fail; when it is back, even empty, they work."""
    async with RedisStore(own_redis.url, clock=clock) as store:
        await store.add([Entry(ANN)])
        own_redis.kill()
        await fails(store.find([ANN]), "cannot connect")
        own_redis.start()
        assert await store.find([ANN]) == []
        await store.add([Entry(BOB)])
        assert await store.count(ALL) == 1


async def test_a_server_that_hangs(own_redis: RedisServer) -> None:
    """Calls fail when their time is over, and work when it answers again; a lease is lost."""
    async with RedisStore(own_redis.url, timeout=0.1, lease=0.2) as store:
        async with store.queue(HERE) as queue:
            own_redis.pause()
            for _ in range(8):
                await fails(store.count(ALL), "has not answered in time; is it overloaded")
            own_redis.resume()
            await until(lambda: works(store))
            async with asyncio.timeout(20):
                await queue.wait(60)
            with pytest.raises(LeaseLost):
                await queue.due_at()
        async with store.queue(HERE) as queue:
            assert await queue.due_at() is None


async def works(store: Store) -> bool:
    try:
        await store.count(ALL)
    except StoreUnavailable:
        return False
    return True


async def test_closed_while_redis_is_away(own_redis: RedisServer) -> None:
    """A number and a store can be left whatever the state of Redis."""
    async with RedisStore(own_redis.url) as store, store.queue(HERE):
        own_redis.kill()


async def test_scripts_that_were_flushed(store: RedisStore, client: redis.Redis) -> None:
    """A server that has forgotten the script is given it again."""
    client.script_flush()
    assert await store.add([Entry(ANN)]) == (1, 0)


async def test_passwords(own_redis: RedisServer) -> None:
    """A wrong password and a missing one are told apart."""
    with own_redis.client() as client:
        client.config_set("requirepass", "secret")
    place = f"127.0.0.1:{own_redis.port}"
    async with RedisStore(f"redis://:secret@{place}"):
        pass
    await fails(RedisStore(f"redis://:secret2@{place}").__aenter__(), "rejects the password")
    await fails(RedisStore(f"redis://{place}").__aenter__(), "wants a password; add it to the URL")


async def test_out_of_memory(own_redis: RedisServer) -> None:
    """A full server changes nothing, can still be read, and works when it has room again."""
    async with RedisStore(own_redis.url) as store:
        await store.add([Entry(ANN)])
        with own_redis.client() as client:
            client.config_set("maxmemory", 1)
            await fails(store.add([Entry(BOB), Entry(ANN, reason="other")]), "is out of memory")
            assert [found.entry.reason for found in await store.find([ANN, BOB])] == [""]
            async with RedisStore(own_redis.url) as another:
                assert await another.count(ALL) == 1
            client.config_set("maxmemory", 0)
        assert await store.add([Entry(BOB)]) == (1, 0)


async def test_a_replica(own_redis: RedisServer) -> None:
    """A replica that cannot be written to is told from its primary."""
    with own_redis.client() as client:
        client.replicaof("127.0.0.1", 1)
    await fails(RedisStore(own_redis.url).__aenter__(), "read-only replica; use the URL of its pri")


async def test_keys_of_something_else(redis_url: str, client: redis.Redis) -> None:
    """A key that holds something else is found when the store is opened, and left as it is."""
    client.set("{blockusers:guard}:entries", "something else")

    await fails(RedisStore(redis_url).__aenter__(), "keys with this prefix hold something else")
    assert client.get("{blockusers:guard}:entries") == b"something else"


async def test_a_later_format(redis_url: str, client: redis.Redis) -> None:
    """What a newer version has written is not touched."""
    client.set("{blockusers:guard}:format", "2")

    await fails(RedisStore(redis_url).__aenter__(), "newer version of blockusers has written it")


async def test_an_old_server(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that is too old is named with the version that is needed."""
    monkeypatch.setattr(redis_connection, "_OLDEST", (99, 1))

    await fails(RedisStore(redis_url).__aenter__(), r"is Redis \d+\.\d+; 99.1 or newer is needed")


def test_other_errors_are_passed_on() -> None:
    """What has no words of its own is shown in those of Redis, its first line only."""
    error = explained(redis.ResponseError("ERR no\nsecond line"), "redis://cache")
    assert str(error) == "redis://cache: Redis has refused: ERR no"


ACL = (
    "on >secret ~{blockusers:guard}* &{blockusers:guard}*"
    " +@read +@write +@connection +@scripting +@pubsub -@dangerous +time"
)
"""The permissions that docs/howto/replicas.md gives."""


@pytest.mark.parametrize("rules", [ACL, f"{ACL} +info"])
async def test_a_user_with_few_permissions(own_redis: RedisServer, rules: str) -> None:
    """The documented permissions are enough; without INFO there is no warning either."""
    with own_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "guard", *rules.split())
        client.execute_command("ACL", "SETUSER", "other", *rules.replace(":guard", ":x").split())
    place = f"127.0.0.1:{own_redis.port}"
    async with RedisStore(f"redis://guard:secret@{place}") as store:
        await has_blocked(store, ANN)
        assert await store.erase([ANN], [ANN]) == 1
    await fails(RedisStore(f"redis://other:secret@{place}").__aenter__(), "its user may not do")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"appendonly": "yes"}, []),
        ({}, ["append-only"]),
        ({"appendonly": "yes", "maxmemory-policy": "volatile-lru"}, ["evict"]),
    ],
)
async def test_warns_of_settings(
    own_redis: RedisServer,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, str],
    told: list[str],
) -> None:
    """What may lose entries is said once, and nothing is refused for it."""
    with own_redis.client() as client:
        for name, value in settings.items():
            client.config_set(name, value)
    store = RedisStore(own_redis.url.replace("//", "//:secret@"))
    with own_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "on", ">secret")
    with caplog.at_level(logging.WARNING, "blockusers"):
        for _ in range(2):
            async with store:
                pass

    assert len(caplog.messages) == len(told)
    assert all(word in text for word, text in zip(told, caplog.messages, strict=True))
    assert "secret" not in caplog.text


async def test_cancelled_at_any_moment(redis_url: str) -> None:
    """A call that is cancelled ends, whatever it was doing, and the store can be closed."""
    for steps in range(40):
        async with RedisStore(redis_url) as store:
            task = asyncio.create_task(hold(store))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            async with asyncio.timeout(20):
                await asyncio.wait([task])
            assert task.cancelled()


async def hold(store: Store) -> None:
    async with store.queue(HERE) as queue:
        await queue.wait(60)
