"""An HTTP server with faults for `stress`, written on bare sockets; it logs every request.

Nothing in here comes from blockusers or from aiohttp, so that no mistake of theirs is
shared.  The blocklist is not kept but computed: each request notes when it took effect,
and replaying the effects in their order gives the list at any time.

What the server sees is late by a few turns of the event loop.  So each moment is kept twice: when
the server saw it (`arrived`, `ended`), and the earliest time at which it can have happened for the
client (`arrived_after`, `ended_after`).  Checks use whichever of the two is in the client's favor.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

import attrs

BEAT: Final = 0.001
_START: Final = time.monotonic()
_TURNS: Final = 4  # from a close() of the client to the end of a connection, and one to spare
_MARGIN: Final = 0.002  # timers of uvloop are exact to a millisecond
_NEVER: Final = float("inf")


def now() -> float:
    """Return the seconds since the program started."""
    return time.monotonic() - _START


class Pulse:
    """Beats once a millisecond, each time in a turn of the event loop of its own.

    Four beats ago was at least four turns ago, however long the turns take.
    """

    def __init__(self) -> None:
        self._beats = deque([now()] * (_TURNS + 1), maxlen=_TURNS + 1)
        self._slow: deque[tuple[float, float]] = deque(maxlen=5000)
        self._timer: asyncio.Handle | None = None

    def start(self) -> None:
        """Begin to beat on the running event loop."""
        self._beat()

    def stop(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        self._beats.append(now())
        lag = self._beats[-1] - self._beats[0]
        if lag > 10 * BEAT:
            self._slow.append((self._beats[-1], lag))
        self._timer = asyncio.get_running_loop().call_later(BEAT, self._beat)

    def turns_ago(self) -> float:
        """Return a time that was four turns of the event loop ago."""
        return self._beats[0]

    def lag_since(self, start: float) -> float:
        """Return the longest time that four turns took since *start*."""
        return max((lag for moment, lag in self._slow if moment >= start), default=0.0)


@attrs.define(eq=False)
class Request:
    """What the server knows about one request that changes the blocklist."""

    number: int
    block: bool
    spelled: dict[str, str]
    """The users' digits, and how the request spelled each."""
    arrived: float
    arrived_after: float
    fault: str = "none"
    """What the server did to it."""
    effects: list[tuple[float, frozenset[str]]] = attrs.field(factory=list[Any])
    """When it took effect, and for whom."""
    late: float = 0.0
    """For how long after its end it takes effect, in request timeouts; 0 if it does not."""
    ended: float = _NEVER
    """When it was answered, or its connection was closed."""
    ended_after: float = _NEVER
    answered: bool = False
    """Whether the whole answer was written."""
    done: frozenset[str] = frozenset()
    failed: dict[str, int] = attrs.field(factory=dict[str, int])
    """Whom the answer named, and the code of the failure."""

    def end(self, pulse: Pulse, request_timeout: float) -> None:
        """Note that it ended, for the server and no later for the client."""
        if self.ended < _NEVER:
            return
        self.ended, self.ended_after = now(), max(pulse.turns_ago(), self.arrived_after)
        if self.late:
            moment = self.ended_after + self.late * request_timeout - _MARGIN
            self.apply(max(moment, self.arrived), self.spelled)

    def apply(self, moment: float, users: Iterable[str]) -> None:
        """Note an effect."""
        self.effects.append((moment, frozenset(users)))

    def effect_on(self, user: str) -> float | None:
        """Return when it took effect on *user*, if it did."""
        moments = [moment for moment, users in self.effects if user in users]
        return max(moments) if moments else None


@attrs.define
class Answer:
    """An answer in bytes, and what the server does with the connection afterwards."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[str, ...] = ()

    def wire(self) -> bytes:
        """Return the bytes to send."""
        lines = (
            f"HTTP/1.1 {self.status} Whatever",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            *self.headers,
        )
        return "\r\n".join((*lines, "", "")).encode() + self.body


def _json(status: int, content: dict[str, Any], *headers: str) -> Answer:
    return Answer(status, json.dumps(content).encode(), headers=headers)


def _error(status: int, code: int, *headers: str) -> Answer:
    return _json(status, {"error": {"message": f"error {code}", "code": code}}, *headers)


class Server:
    """One scenario's server: a blocklist, a log of requests, and faults."""

    def __init__(self, seed: str, request_timeout: float, pulse: Pulse, fault_rate: float) -> None:
        self._seed = seed
        self.request_timeout = request_timeout
        self.pulse = pulse
        self.fault_rate = fault_rate
        """The share of requests that meet a fault."""
        self.log: list[Request] = []
        self.listings = 0
        self.faults = 0
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> str:
        """Listen, and return the URL."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Stop listening, and drop all connections."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()

    def joined(self, connection: Connection) -> None:
        """Remember a connection, to drop it at the end."""
        self._connections.add(connection)

    def left(self, connection: Connection) -> None:
        """Forget a connection."""
        self._connections.discard(connection)

    def blocklist(self) -> set[str]:
        """Return who is blocked once all effects so far and to come have happened."""
        return self._blocklist_at(_NEVER)

    def _blocklist_at(self, moment: float) -> set[str]:
        effects = sorted(
            (when, request.number, request.block, users)
            for request in self.log
            for when, users in request.effects
            if when <= moment
        )
        blocked: set[str] = set()
        for _, _, block, users in effects:
            blocked = blocked | users if block else blocked - users
        return blocked

    def update(self, connection: Connection, *, block: bool, spelled: dict[str, str]) -> None:
        """Treat a request that blocks or unblocks, with a fault or without."""
        after, number = self.pulse.turns_ago(), len(self.log)
        request = Request(number, block, spelled, now(), after)
        self.log.append(request)
        connection.request = request
        dice = random.Random(f"{self._seed}/{number}")
        fault: Fault = _normal
        if dice.random() < self.fault_rate:
            self.faults += 1
            fault = dice.choices(list(FAULTS), weights=list(FAULTS.values()))[0]
            request.fault = fault.__name__.strip("_")
        fault(Case(self, connection, request, dice))

    def listing(self, connection: Connection, query: str) -> None:
        """Answer a request for a page: everybody, then nobody; now and then with a fault."""
        self.listings += 1
        dice = random.Random(f"{self._seed}/listing {self.listings}")
        if dice.random() < self.fault_rate:
            self.faults += 1
            _listing_fault(connection, dice)
            return
        blocked = () if "after=" in query else sorted(self._blocklist_at(now()))
        rows = [{"messaging_product": "whatsapp", "wa_id": user} for user in blocked]
        paging = {"cursors": {"before": "b", "after": "a"}} if rows else {}
        connection.write(_json(200, {"data": rows, "paging": paging}).wire())


def _listing_fault(connection: Connection, dice: random.Random) -> None:
    match dice.randrange(4):
        case 0:
            connection.write(_error(400, 139102).wire())
        case 1:
            connection.write(_error(500, 139103).wire())
        case 2:
            connection.abort()
        case _:
            pass  # no answer


class Connection(asyncio.Protocol):
    """One connection: finds the requests in its bytes."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._bytes = b""
        self._transport: Any = None
        self.request: Request | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport
        self._server.joined(self)

    def data_received(self, data: bytes) -> None:
        """Read a request once all of it is there."""
        self._bytes += data
        head, separator, rest = self._bytes.partition(b"\r\n\r\n")
        if not separator:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines)
        length = int(fields.get("content-length", "0"))
        if len(rest) < length:
            return
        self._bytes = rest[length:]
        method, target, _ = first.split(" ")
        if method == "GET":
            self._server.listing(self, target)
            return
        entries = json.loads(rest[:length])["block_users"]
        spelled = {each["user"].removeprefix("+"): each["user"] for each in entries}
        self._server.update(self, block=method == "POST", spelled=spelled)

    def eof_received(self) -> None:
        """Note that the client closed the connection."""
        self.end()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Note that the connection is gone."""
        self.end()
        self._server.left(self)

    @property
    def is_open(self) -> bool:
        """Whether the client can still be answered."""
        return not self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send bytes, unless the connection is gone."""
        if self.is_open:
            self._transport.write(data)

    def end(self) -> None:
        """Note that the request ended."""
        if self.request is not None:
            self.request.end(self._server.pulse, self._server.request_timeout)

    def close(self) -> None:
        """Close the connection once everything is sent."""
        self.end()
        self._transport.close()

    def abort(self) -> None:
        """Reset the connection."""
        self.end()
        self._transport.abort()


# --------------------------------------------------------------------------- faults


@attrs.frozen
class Case:
    """A request, where its answer goes, and the dice for its fault."""

    server: Server
    connection: Connection
    request: Request
    dice: random.Random

    @property
    def users(self) -> list[str]:
        """The users that the request names."""
        return list(self.request.spelled)

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call a function after some seconds; at once if there are none."""
        if seconds <= 0:
            call()
        else:
            asyncio.get_running_loop().call_later(seconds, call)

    def soon(self) -> float:
        """Draw a short time: usually none, at most half a request timeout."""
        return max(0.0, self.dice.uniform(-0.5, 0.5)) * self.server.request_timeout

    def apply(self, users: Iterable[str] | None = None) -> None:
        """Let the request take effect now."""
        self.request.apply(self.request.arrived, self.users if users is None else users)

    def maybe_apply(self) -> None:
        """Let the request take effect now, or never."""
        if self.dice.random() < 0.5:
            self.apply()

    def apply_whenever(self) -> None:
        """Let the request take effect now, never, or late: it will not be answered."""
        request, timeout = self.request, self.server.request_timeout
        match self.dice.randrange(5):
            case 0:
                self.apply()
            case 1:
                moment = request.arrived_after + self.dice.uniform(0.1, 1.0) * timeout - _MARGIN
                request.apply(max(moment, request.arrived), self.users)
            case 2 | 3:
                request.late = self.dice.uniform(0.3, 1.0)
            case _:
                pass

    def answer(self, answer: Answer) -> bool:
        """Send the whole answer, and say so; do nothing if the client is gone."""
        if not self.connection.is_open or self.request.ended < _NEVER:
            return False
        self.request.answered = True
        self.connection.write(answer.wire())
        self.connection.end()
        return True

    def answer_lists(self, done: Iterable[str], failed: dict[str, int] | None = None) -> None:
        """Answer for each of these users what became of it."""
        failed = failed or {}
        if self.answer(self.lists(done, failed)):
            self.request.done, self.request.failed = frozenset(done), failed

    def lists(self, done: Iterable[str], failed: dict[str, int]) -> Answer:
        """Return the answer that names these users."""
        request = self.request
        name = "added_users" if request.block else "removed_users"
        lists: dict[str, list[dict[str, Any]]] = {
            name: [{"input": request.spelled[user], "wa_id": user} for user in done]
        }
        if not failed:
            return _json(200, {"messaging_product": "whatsapp", "block_users": lists})
        lists["failed_users"] = [
            {"input": request.spelled[user], "errors": [{"message": "no", "code": code}]}
            for user, code in failed.items()
        ]
        error = {"message": "some failed", "code": 139100}
        return _json(400, {"block_users": lists, "error": error})


Fault: TypeAlias = Callable[[Case], None]


def _normal(case: Case) -> None:
    case.apply()
    case.later(case.soon() / 2, lambda: case.answer_lists(case.users))


def _some_failed(case: Case) -> None:
    codes = {user: case.dice.choice((0, 131047, 139103)) for user in case.users}
    done = [user for user, code in codes.items() if not code]
    failed = {user: code for user, code in codes.items() if code}
    case.apply(done)
    case.later(case.soon(), lambda: case.answer_lists(done, failed))


def _internal_error(case: Case) -> None:
    case.maybe_apply()
    case.later(case.soon(), lambda: case.answer(_error(500, 139103)))


def _rate_limited(case: Case) -> None:
    hint = case.dice.choice(((), ("Retry-After: 0",), ("Retry-After: 0.02",)))
    case.later(case.soon(), lambda: case.answer(_error(400, 130429, *hint)))


def _token_refused(case: Case) -> None:
    case.answer(_error(401, 190))


def _html(case: Case) -> None:
    status = case.dice.choice((429, 502, 503))
    if status != 429:
        case.maybe_apply()
    page = Answer(status, b"<html>Sorry</html>", "text/html")
    case.later(case.soon(), lambda: case.answer(page))


def _reset(case: Case) -> None:
    case.apply_whenever()
    case.later(case.soon(), case.connection.abort)


def _silence(case: Case) -> None:
    case.apply_whenever()


def _half_an_answer(case: Case) -> None:
    case.apply_whenever()
    data = case.lists(case.users, {}).wire()
    case.later(case.soon(), lambda: case.connection.write(data[: case.dice.randrange(len(data))]))
    if case.dice.random() < 0.5:
        case.later(case.server.request_timeout / 2, case.connection.close)


def _answer_at_time_out(case: Case) -> None:
    case.apply()
    early = case.dice.choice((0.0, 0.0003, 0.001, 0.002, 0.004))
    case.later(case.server.request_timeout - early, lambda: case.answer_lists(case.users))


def _forgetful(case: Case) -> None:
    named = [user for user in case.users if case.dice.random() < 0.5]
    case.apply(named if case.dice.random() < 0.5 else None)
    case.later(case.soon(), lambda: case.answer_lists(named))


def _closed_after_answer(case: Case) -> None:
    case.apply()
    case.answer_lists(case.users)
    case.later(case.dice.choice((0.0, 0.001, 0.005, 0.02)), case.connection.close)


FAULTS: Final[dict[Fault, int]] = {
    _some_failed: 3,
    _internal_error: 2,
    _rate_limited: 2,
    _token_refused: 1,
    _html: 2,
    _reset: 3,
    _silence: 4,
    _half_an_answer: 2,
    _answer_at_time_out: 3,
    _forgetful: 2,
    _closed_after_answer: 2,
}
"""Each fault, and how often it is drawn."""

REFUSALS: Final = ("rate_limited", "token_refused")
"""The faults that refuse a request before anything is done."""
