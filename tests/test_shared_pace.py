"""`SharedPace` on a real Redis: one pace for several processes, and what happens without it."""

from __future__ import annotations

import asyncio
import logging
import runpy
import sys
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from blockusers import Account, Client, ClientClosed, Priority
from blockusers.pace.shared import SharedState
from blockusers.redis import SharedPace, link
from blockusers.sandbox import Rules, Sandbox
from tests.redis_server import RedisServer
from tests.support import PHONE_NUMBER_ID, TOKEN, Clock, numbers

ACCOUNT = Account(PHONE_NUMBER_ID, TOKEN)
KEY = f"blockusers:pace:v1:{{{ACCOUNT.blocklist_key}}}"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Redis be asked again soon; it may take long to answer on a slow machine."""
    monkeypatch.setattr("blockusers.redis.shared_pace._PAUSE", 0.02)
    monkeypatch.setattr(link, "_TIMEOUT", 20.0)


async def until(is_so: Callable[[], object]) -> None:
    """Wait for what happens in another process."""
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.005)


async def refuse(pace: SharedPace, retry_after: float | None = None) -> None:
    async with pace.slot() as slot:
        slot.rate_limited(retry_after)


async def use(pace: SharedPace) -> None:
    async with asyncio.timeout(20), pace.slot():
        pass


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


# --------------------------------------------------------------------------- one pace


async def test_all_learn_what_one_learns(redis_url: str) -> None:
    """A refusal of one process is a hold for all."""
    async with SharedPace(redis_url, ACCOUNT) as one, SharedPace(redis_url, ACCOUNT) as two:
        await use(two)
        await refuse(one)
        await until(lambda: two.state.mode == "hold")

        assert two.state.rate_limited == 1
        assert two.state.hold_for > 0
        assert two.state.hold_until is not None


async def test_a_slot_of_another_process(redis_url: str) -> None:
    """Whoever waits is given the slot that another process frees."""
    one, two = (SharedPace(redis_url, ACCOUNT, max_in_flight=1) for _ in range(2))
    async with one, two:
        async with one.slot():
            waits = asyncio.create_task(use(two))
            await until(lambda: two.state.in_flight == 1)
            assert not waits.done()
        await waits


async def test_single_calls_first(redis_url: str) -> None:
    """A single call of one process goes before a job of another that asked earlier."""
    order: list[str] = []

    async def take(pace: SharedPace, name: str, priority: Priority) -> None:
        async with pace.slot(priority):
            order.append(name)

    paces = [SharedPace(redis_url, ACCOUNT, max_in_flight=1) for _ in range(3)]
    async with paces[0], paces[1], paces[2]:
        async with paces[0].slot():
            chunk = asyncio.create_task(take(paces[1], "chunk", Priority.BULK))
            await until(lambda: paces[1].round_trips)
            single = asyncio.create_task(take(paces[2], "single", Priority.SINGLE))
            await until(lambda: all(len(pace._part.state.members) == 3 for pace in paces))
        await asyncio.gather(chunk, single)

    assert order == ["single", "chunk"]


async def test_jobs_of_several_processes(redis_url: str) -> None:
    """Jobs of three processes on one number get through a limit, with all users accounted for."""
    rules = Rules(window=None, magic=False, rate=200, burst=5)
    users = numbers(90)
    with Sandbox(rules) as sandbox:
        account = Account(**sandbox.credentials)

        async def work(n: int) -> None:
            async with (
                SharedPace(redis_url, account) as pace,
                Client(account, pace=pace, chunk_size=1) as client,
            ):
                report = await client.block(users[n::3])
                report.raise_for_failures()

        await asyncio.gather(*(work(n) for n in range(3)))

        assert len(sandbox.blocklist()) == 90


async def test_few_round_trips(redis_url: str) -> None:
    """A request costs two round trips to Redis: one for its slot, and one for its answer."""
    async with SharedPace(redis_url, ACCOUNT) as pace:
        for _ in range(20):
            await use(pace)
            await until(lambda: not pace.state.in_flight)

        assert pace.round_trips <= 45


async def test_who_leaves_frees_its_slot(redis_url: str) -> None:
    """The slot of a pace that is closed is free at once."""
    one, two = (SharedPace(redis_url, ACCOUNT, max_in_flight=1) for _ in range(2))
    async with two, one, one.slot():
        await one.close()
        await use(two)


async def test_other_numbers_and_prefixes(redis_url: str) -> None:
    """Another number, or another prefix, is another pace."""
    other = Account("2065403522429", TOKEN)
    paces = [
        SharedPace(redis_url, ACCOUNT),
        SharedPace(redis_url, other),
        SharedPace(redis_url, ACCOUNT, prefix="staging"),
    ]
    for pace in paces:
        async with pace:
            await use(pace)
            await until(lambda pace=pace: pace.state.admitted)

    assert [pace.state.admitted for pace in paces] == [1, 1, 1]


async def test_no_secret_in_redis(redis_url: str) -> None:
    """Redis holds neither the token nor anybody's number."""
    async with SharedPace(redis_url, ACCOUNT) as pace, Redis.from_url(redis_url) as client:
        await use(pace)
        keys = await client.keys()
        assert keys == [KEY.encode()]
        value = await client.get(KEY)

    assert TOKEN.encode() not in value


# --------------------------------------------------------------------------- changes that meet


async def change(url: str, by: Callable[[SharedState], object] = lambda _: None) -> None:
    """Change the shared state as another process would."""
    async with Redis.from_url(url) as client:
        state = SharedState.load(await client.get(KEY), 16)
    by(state)
    state.version += 1
    other = link.Link(url, KEY)
    assert (await other.swap(state.version - 1, state.dump())).accepted
    await other.close()


def count_100(state: SharedState) -> None:
    state.controller.admitted += 100


async def test_others_were_faster(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that comes too late is made again, however often."""
    swap, left = link.Link.swap, 5

    async def late(self: link.Link, expected: int, value: bytes) -> link.Swap:
        nonlocal left
        if left and expected:
            left -= 1
            with monkeypatch.context() as patch:
                patch.setattr(link.Link, "swap", swap)
                await change(redis_url)
        return await swap(self, expected, value)

    async with SharedPace(redis_url, ACCOUNT) as pace:
        await use(pace)
        await until(lambda: not pace.state.in_flight)
        monkeypatch.setattr(link.Link, "swap", late)
        await use(pace)
        await until(lambda: pace.state.admitted == 2)

    assert left == 0


async def test_news_was_faster(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that comes after the news of a later change is not taken for the newest state."""
    swap, is_late = link.Link.swap, True

    async def slow(self: link.Link, expected: int, value: bytes) -> link.Swap:
        nonlocal is_late
        answer = await swap(self, expected, value)
        if is_late:
            is_late = False
            await change(redis_url, count_100)
            await until(lambda: pace.state.admitted >= 100)
        return answer

    async with SharedPace(redis_url, ACCOUNT) as pace:
        await use(pace)
        await until(lambda: not pace.state.in_flight)
        monkeypatch.setattr(link.Link, "swap", slow)
        await use(pace)
        await until(lambda: pace.state.admitted == 102)


async def test_old_and_strange_news(redis_url: str) -> None:
    """News that is older than what is known, or of no use, changes nothing."""
    async with SharedPace(redis_url, ACCOUNT) as pace, Redis.from_url(redis_url) as client:
        await use(pace)
        await until(lambda: not pace.state.in_flight)
        for news in (b"0 {}", b"", b"nonsense", b"99999999 nonsense"):
            await client.publish(f"{KEY}:news", news)
        await change(redis_url, count_100)
        await until(lambda: pace.state.admitted == 101)


async def test_a_channel_that_breaks(redis_url: str) -> None:
    """A channel that breaks is followed again."""
    async with SharedPace(redis_url, ACCOUNT) as pace, Redis.from_url(redis_url) as client:
        await use(pace)
        await until(lambda: not pace.state.in_flight)
        assert await client.execute_command("CLIENT KILL TYPE pubsub") == 1
        await until_async(lambda: client.pubsub_numsub(f"{KEY}:news"))
        await change(redis_url, count_100)
        await until(lambda: pace.state.admitted == 101)


async def until_async(count: Callable[[], Awaitable[list[tuple[bytes, int]]]]) -> None:
    async with asyncio.timeout(20):
        while not (await count())[0][1]:
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("value", [b"7 nonsense", b"nonsense", b'7 {"version": 7}'])
async def test_a_state_that_cannot_be_read(
    redis_url: str, value: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """A state that cannot be read is replaced by a fresh one, with one warning."""
    async with Redis.from_url(redis_url) as client:
        await client.set(KEY, value)
    async with SharedPace(redis_url, ACCOUNT) as pace:
        await use(pace)
        await until(lambda: pace.state.admitted == 1)

    assert len(warnings(caplog)) == (1 if value.startswith(b"7") else 0)


async def test_others_change_it_while_one_leaves(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process leaves even if others are faster at first."""
    swap, is_late = link.Link.swap, False

    async def late(self: link.Link, expected: int, value: bytes) -> link.Swap:
        nonlocal is_late
        if is_late:
            is_late = False
            await change(redis_url)
        return await swap(self, expected, value)

    pace = SharedPace(redis_url, ACCOUNT)
    async with pace:
        await use(pace)
        await until(lambda: not pace.state.in_flight)
        monkeypatch.setattr(link.Link, "swap", late)
        is_late = True
    async with Redis.from_url(redis_url) as client:
        state = SharedState.load(await client.get(KEY), 16)

    assert not is_late
    assert state.members == {}


# --------------------------------------------------------------------------- cancellation


async def test_cancelled_while_it_waits(redis_url: str) -> None:
    """A waiter that is cancelled takes no slot with it."""
    one, two = (SharedPace(redis_url, ACCOUNT, max_in_flight=1) for _ in range(2))
    async with one, two:
        async with one.slot():
            waits = asyncio.create_task(use(two))
            await until(lambda: two.state.in_flight == 1)
            waits.cancel()
            await asyncio.wait([waits])
        await use(one)
        await use(two)
        await until(lambda: not one.state.in_flight)


async def test_cancelled_at_once(redis_url: str) -> None:
    """A waiter that is cancelled before Redis was asked leaves no trace."""
    async with SharedPace(redis_url, ACCOUNT, max_in_flight=1) as pace:
        waits = asyncio.create_task(use(pace))
        await asyncio.sleep(0)
        waits.cancel()
        await asyncio.wait([waits])
        await use(pace)
        await until(lambda: pace.state.admitted == 1)


# --------------------------------------------------------------------------- without Redis


async def test_redis_is_away(own_redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """Requests go on while Redis is away, with one warning when it goes and one when it is back."""
    own_redis.kill()
    async with SharedPace(own_redis.url, ACCOUNT) as pace:
        for _ in range(10):
            await use(pace)
        await until(lambda: pace.round_trips > 5)
        assert len(warnings(caplog)) == 1
        own_redis.start()
        await until(lambda: len(warnings(caplog)) == 2)
        await use(pace)
        await until(lambda: pace.state.admitted == 1)

    assert "cannot connect" in warnings(caplog)[0]
    assert "answers again" in warnings(caplog)[1]


async def test_back_and_empty(own_redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """A Redis that comes back empty is told what the processes know."""
    one, two = (SharedPace(own_redis.url, ACCOUNT) for _ in range(2))
    async with one, two:
        for pace in (one, two):
            await use(pace)
        await until(lambda: one.state.admitted == two.state.admitted == 2)
        await refuse(one)
        await until(lambda: two.state.mode == "hold")
        own_redis.kill()
        uses = [asyncio.create_task(use(pace)) for pace in (one, two)]
        await until(lambda: len(warnings(caplog)) == 2)
        own_redis.start()
        await until(lambda: len(warnings(caplog)) == 4)
        await asyncio.gather(*uses)
        async with SharedPace(own_redis.url, ACCOUNT) as three:
            await use(three)
            assert three.state.rate_limited == 1


async def test_it_holds_while_redis_is_away(own_redis: RedisServer) -> None:
    """A process that is refused while Redis is away waits, and then goes on."""
    own_redis.kill()
    async with SharedPace(own_redis.url, ACCOUNT) as pace:
        await refuse(pace)
        assert pace.state.mode == "hold"
        await use(pace)


@pytest.mark.parametrize(
    ("broken", "repaired", "why"),
    [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "out of memory"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "read-only replica"),
        ("CONFIG SET requirepass secret", None, "it wants a password"),
    ],
)
async def test_redis_refuses(
    own_redis: RedisServer,
    caplog: pytest.LogCaptureFixture,
    broken: str,
    repaired: str | None,
    why: str,
) -> None:
    """Requests go on while Redis is full, has failed over, or wants another password."""
    async with SharedPace(own_redis.url, ACCOUNT) as pace, Redis.from_url(own_redis.url) as admin:
        await use(pace)
        await until(lambda: not pace.state.in_flight)
        await admin.execute_command(*broken.split())
        if repaired is None:
            await admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await use(pace)
        await use(pace)
        await until(lambda: warnings(caplog))
        assert why in warnings(caplog)[0]
        if repaired:
            await admin.execute_command(*repaired.split())
            await until(lambda: len(warnings(caplog)) == 2)
            await use(pace)


async def test_redis_hangs(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests go on while Redis does not answer in time."""
    async with SharedPace(own_redis.url, ACCOUNT) as pace:
        await use(pace)
        await until(lambda: not pace.state.in_flight)
        monkeypatch.setattr(link, "_TIMEOUT", 0.05)
        own_redis.pause()
        for _ in range(3):
            await use(pace)
        await until(lambda: pace.round_trips > 5)
        assert len(warnings(caplog)) == 1
        monkeypatch.setattr(link, "_TIMEOUT", 20.0)
        own_redis.resume()
        await until(lambda: len(warnings(caplog)) == 2)
        await use(pace)


# --------------------------------------------------------------------------- its life


async def test_who_listens(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Who listens hears of each change, by whatever process; one that fails holds nobody up."""
    heard: list[tuple[str, str]] = []

    def fail(*_: object) -> None:
        raise RuntimeError("of the listener")

    async with SharedPace(redis_url, ACCOUNT) as one, SharedPace(redis_url, ACCOUNT) as two:
        two.listeners |= {fail, lambda before, now: heard.append((before.mode, now.mode))}
        await use(two)
        await refuse(one)
        await until(lambda: heard)
        await use(two)

    assert heard[0] == ("start", "hold")
    assert warnings(caplog)[0] == "a listener of the pace failed"


async def test_open_again(redis_url: str) -> None:
    """A pace that was closed can be used again."""
    pace = SharedPace(redis_url, ACCOUNT)
    for _ in range(2):
        async with pace:
            await use(pace)
    await pace.close()


async def test_closed_while_requests_wait(redis_url: str) -> None:
    """Whoever waits for a slot of a pace that is closed is told so, and does not hang."""
    pace = SharedPace(redis_url, ACCOUNT, max_in_flight=1)
    async with pace, pace.slot():
        waits = asyncio.create_task(use(pace))
        await until(lambda: pace.round_trips >= 2)
        await pace.close()
        with pytest.raises(ClientClosed, match="the pace was closed"):
            await waits


def test_another_event_loop(redis_url: str) -> None:
    """A pace can be used in one event loop after another, even if nobody closed it."""
    pace = SharedPace(redis_url, ACCOUNT)
    asyncio.run(use(pace))

    async def last() -> None:
        async with pace:
            await use(pace)

    asyncio.run(last())


@pytest.mark.parametrize("decodes", [False, True])
async def test_a_client_of_the_caller(redis_url: str, decodes: bool) -> None:
    """A client that is passed is used, whether it decodes or not, and stays open."""
    async with Redis.from_url(redis_url, decode_responses=decodes) as client:
        one, two = SharedPace(client, ACCOUNT), SharedPace(redis_url, ACCOUNT)
        async with one, two:
            await use(two)
            await use(one)
            await until(lambda: one.state.admitted == two.state.admitted == 2)
        assert await client.ping()


async def test_the_environment(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a URL, that of the environment is used."""
    monkeypatch.setenv("BLOCKUSERS_REDIS_URL", redis_url)
    async with SharedPace(None, ACCOUNT) as pace:
        await use(pace)


def test_no_password_is_shown() -> None:
    """The password of a URL shows nowhere."""
    pace = SharedPace("rediss://me:secret@example.com:6380/2?password=secret", ACCOUNT)

    assert "rediss://me:***@example.com:6380/2" in repr(pace)
    assert "secret" not in repr(pace)


@pytest.mark.parametrize(
    ("url", "error"),
    [(None, ValueError), (7, TypeError), ("http://example.com", ValueError)],
)
def test_bad_urls(url: object, error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no URL of Redis is an error that says so."""
    monkeypatch.delenv("BLOCKUSERS_REDIS_URL", raising=False)
    with pytest.raises(error, match="^url: "):
        SharedPace(url, ACCOUNT)


def test_bad_max_in_flight() -> None:
    """A wrong argument is named in the error."""
    with pytest.raises(ValueError, match="^max_in_flight: "):
        SharedPace("redis://localhost", ACCOUNT, max_in_flight=0)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where redis-py is not installed, the import says how to get it."""
    for name in ("redis", "redis.asyncio"):
        monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ModuleNotFoundError, match=r'needs redis.*: pip install "blockusers\['):
        runpy.run_path(link.__file__)


def test_the_clock_of_redis() -> None:
    """The clock follows Redis' where that was asked in little time, or long ago."""
    clock = Clock()
    redis_clock = link.RedisClock(clock)
    redis_clock.learn(1000.0, 1000.2, 5000.1)
    assert redis_clock() == pytest.approx(5000.0)
    redis_clock.learn(1001.0, 1003.0, 7000.0)
    assert redis_clock() == pytest.approx(5000.0)
    redis_clock.learn(1001.0, 1001.1, 5001.15)

    assert redis_clock() == pytest.approx(5000.1)
