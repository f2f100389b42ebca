"""The state that several processes share to keep one pace: what was learned, who waits, who sends.

It is plain data with a version, and it never waits.  Whoever changes it takes the newest state,
makes a new one, and offers that to the store, which takes it only if nobody else was faster; see
`participant`.  All times are those of the store's clock.

A *lease* is a slot in flight.  It expires unless its holder renews it, so that a process that dies
frees its slots.  A *want* says since when the first in a line of a process waits; whoever changes
the state gives slots to whoever is next, in whatever process that is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final, Self

import attrs
import cattrs
import orjson

from blockusers.pace.controller import AdaptiveController
from blockusers.pace.protocol import LARGEST_REQUEST, Slot
from blockusers.pace.queue import first_of
from blockusers.pace.saved import Saved

FORMAT: Final = 1
"""The version of the serialized form; a change of what it holds, or of what it means, raises it."""

LEASE: Final = 3.0
"""Seconds for which a slot in flight is held without being renewed."""
RENEWAL: Final = LEASE / 2
"""After so many seconds it is renewed."""
_SILENCE: Final = 2.0
"""Seconds without a change, while slots are in flight, that mean that the store was away."""
_PATIENCE: Final = 30.0
"""Seconds after which who waits is forgotten, unless its process was heard of."""
_ABSENCE: Final = 90.0
"""Seconds after which a process is forgotten that was not heard of."""


@attrs.define
class Lease:
    """A slot in flight."""

    member: str
    """The process that holds it."""
    line: int
    started: float
    expires: float
    max_users: int = attrs.field(default=LARGEST_REQUEST, validator=attrs.validators.gt(0))
    prompt: bool = True
    claimed: bool = True
    """Whether its holder knows of it; another process may have given it the slot."""

    def slot(self) -> Slot:
        """Return the slot, for the request that gets it or for the controller."""
        return Slot(self.max_users, started=self.started, prompt=self.prompt)


@attrs.define
class Member:
    """A process."""

    seen: float
    """When it last changed the state."""
    wants: dict[int, float] = attrs.field(factory=dict[int, float])
    """Since when the first of each of its lines waits."""


@attrs.define
class SharedState:
    """All that the processes share."""

    controller: AdaptiveController
    version: int = 0
    now: float = 0.0
    """When it was last changed."""
    granted: int = 0
    """Slots given so far; numbers the leases."""
    members: dict[str, Member] = attrs.field(factory=dict[str, Member])
    leases: dict[int, Lease] = attrs.field(factory=dict[int, Lease])

    @classmethod
    def fresh(cls, max_in_flight: int) -> Self:
        """Return the state before anybody sent anything."""
        return cls(AdaptiveController(max_in_flight))

    def dump(self) -> bytes:
        """Return it as text: its version, a blank, and JSON."""
        body = orjson.dumps(_converter.unstructure(self), option=orjson.OPT_NON_STR_KEYS)
        return b"%d %b" % (self.version, body)

    @classmethod
    def load(cls, text: bytes, max_in_flight: int) -> Self:
        """Read what `dump` returned.

        Raises:
            ValueError: It is something else.
        """
        version, _, body = text.partition(b" ")
        try:
            state = _converter.structure(orjson.loads(body), cls)
        except Exception as error:
            raise ValueError("the state of the shared pace cannot be read") from error
        if b"%d" % state.version != version:
            raise ValueError("the state of the shared pace has two versions")
        state.controller.max_in_flight = max_in_flight
        state.controller.in_flight = len(state.leases)
        return state

    def hear_of(self, name: str, now: float) -> Member:
        """Note that a process is alive and still holds its slots, and forget who is not."""
        if self.leases and now - self.now > _SILENCE:  # what passed meanwhile was not counted
            self.controller.leave_out(now - self.now)
        self.now = max(self.now, now)
        member = self.members.setdefault(name, Member(self.now))
        member.seen = self.now
        for lease in self.leases.values():
            if lease.member == name:
                lease.claimed, lease.expires = True, self.now + LEASE
        self._expire()
        return member

    def _expire(self) -> None:
        """Free slots that were not renewed, and forget processes that are silent for too long."""
        for number, lease in tuple(self.leases.items()):
            if lease.expires <= self.now and number in self.leases:
                self.end(number, lease.slot())
                if not lease.claimed:
                    self.leave(lease.member)
        for name, member in tuple(self.members.items()):
            if self.now - member.seen >= _PATIENCE:
                member.wants.clear()
            if self.now - member.seen >= _ABSENCE:
                self.leave(name)

    def leave(self, name: str) -> None:
        """Forget a process, and free what it holds."""
        self.members.pop(name, None)
        for number, lease in tuple(self.leases.items()):
            if lease.member == name:
                self.end(number, lease.slot())

    def end(self, number: int, slot: Slot, ended: float = math.inf) -> None:
        """Free a slot, and learn from the answer, which may have come some time ago."""
        del self.leases[number]
        self.controller.end(min(ended, self.now), slot)

    def retract(self, number: int) -> None:
        """Take back a slot whose request never left."""
        self.controller.retract(self.leases.pop(number).slot())

    def grant(self, name: str, line: int, *, claimed: bool) -> None:
        """Give a slot to a line of a process."""
        slot = self.controller.grant(self.now)
        self.granted += 1
        self.leases[self.granted] = Lease(
            name, line, slot.started, self.now + LEASE, slot.max_users, slot.prompt, claimed
        )

    def next_head(self) -> tuple[int, float, str] | None:
        """Return who gets the next slot: the line, since when it waits, and the process."""
        heads = list(self._heads())
        return first_of(heads, self.granted) if heads else None

    def _heads(self) -> Iterator[tuple[int, float, str]]:
        """Yield who is first in each line of each process that can be given a slot.

        A process that was given one and did not answer yet is given no other: it may be dead.
        """
        silent = {lease.member for lease in self.leases.values() if not lease.claimed}
        for name, member in self.members.items():
            if name not in silent:
                for line, since in member.wants.items():
                    yield line, since, name

    def rank(self, name: str) -> int:
        """Return how many processes are to act before *name* does: 0 if it has the next slot."""
        head = self.next_head()
        if head is None or head[2] == name:
            return 0
        return 1 + sorted({other for _, _, other in self._heads()} | {name}).index(name)

    def opens_at(self) -> float:
        """Return when the next slot can be given.

        Where an answer has to come first, that is when the first lease ends, at the latest.
        """
        wait = self.controller.wait(self.now)
        if wait < math.inf:
            return self.now + wait
        return min((lease.expires for lease in self.leases.values()), default=math.inf)


_converter = cattrs.Converter(forbid_extra_keys=True)
_converter.register_unstructure_hook(Saved, lambda saved: saved.dump())


def _controller(values: Any, _: Any) -> AdaptiveController:
    controller = AdaptiveController(1)
    controller.restore(values)
    return controller


_converter.register_structure_hook(AdaptiveController, _controller)
