"""A shared pace without its store: who is given a slot, what is never lost, and going on alone."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockusers import ClientClosed
from blockusers.pace.controller import AdaptiveController
from blockusers.pace.participant import Participant
from blockusers.pace.protocol import Priority
from blockusers.pace.shared import LEASE, SharedState
from tests.support import Clock


@attrs.define
class Store:
    """Keeps the newest state, and lets processes change it one after the other."""

    clock: Clock = attrs.field(factory=Clock)
    text: bytes = b""
    version: int = 0
    members: list[Member] = attrs.field(factory=list)

    def join(self, name: str, *, max_in_flight: int = 16) -> Member:
        member = Member(Participant(name, max_in_flight, self.clock), self)
        self.members.append(member)
        return member

    def run(self) -> None:
        """Let everybody do what is due, until nothing is."""
        while due := [each for each in self.members if each.part.due() <= self.clock.now]:
            due[0].step()

    def run_for(self, seconds: float) -> None:
        """Let time pass, and everybody do what is due meanwhile."""
        ends = self.clock.now + seconds
        self.run()
        while (then := min(each.part.due() for each in self.members)) <= ends:
            self.clock.now = max(self.clock.now, then)
            self.run()
        self.clock.now = ends


@attrs.define
class Member:
    """A process, and those who wait in it."""

    part: Participant
    store: Store
    waiting: dict[str, asyncio.Future[int]] = attrs.field(factory=dict)

    def ask(self, name: str, priority: Priority = Priority.BULK, *, again: bool = False) -> None:
        self.waiting[name] = asyncio.Future()
        self.part.ask(self.waiting[name], priority, again=again)

    def step(self, *, is_lost: bool = False, is_late: bool = False) -> None:
        """Offer a change; the answer may be lost, and others may have been faster."""
        known = self.part.state.version
        proposal = self.part.propose()
        if known == self.store.version and not is_late:
            self.store.text, self.store.version = proposal.dump(), proposal.version
        if not is_lost:
            self.hear()

    def hear(self) -> None:
        if self.store.text:
            self.part.adopt(SharedState.load(self.store.text, self.part.max_in_flight))

    def cancel(self, name: str) -> None:
        waiter = self.waiting.pop(name)
        waiter.cancel()
        self.part.give_up(waiter)

    def granted(self) -> set[str]:
        return {name for name, waiter in self.waiting.items() if waiter.done()}

    def finish(self, name: str, *, admitted: bool | None = True) -> None:
        number = self.waiting.pop(name).result()
        self.part.slot(number).was_admitted = admitted
        self.part.end(number)


@pytest.fixture
def store() -> Store:
    return Store()


async def hold(store: Store, *members: Member) -> None:
    """Let the first be refused, so that single requests go, after a wait."""
    members[0].ask("first")
    store.run()
    members[0].finish("first", admitted=False)
    store.run()
    for member in members:
        member.hear()


def everybody(store: Store) -> None:
    """Tell everybody the news."""
    for member in store.members:
        member.hear()


# --------------------------------------------------------------------------- who goes next


async def test_slots_are_counted_for_all(store: Store) -> None:
    """Never more requests are in flight than `max_in_flight`, in all processes together."""
    one, two = store.join("one", max_in_flight=2), store.join("two", max_in_flight=2)
    for name in "abc":
        one.ask(name)
        two.ask(name)
    store.run()

    assert len(one.granted()) + len(two.granted()) == 2


async def test_a_free_slot_goes_to_another_process(store: Store) -> None:
    """Whoever frees a slot gives it to who is next, in whatever process that waits."""
    one, two = store.join("one", max_in_flight=1), store.join("two", max_in_flight=1)
    one.ask("a")
    store.run()
    two.ask("b")
    store.run()
    one.hear()
    one.finish("a")
    one.step()
    assert not two.granted()
    two.hear()

    assert two.granted() == {"b"}


async def order(store: Store, *asked: tuple[str, Priority]) -> list[str]:
    """Let all wait, each in a process of its own, while the only slot is taken."""
    holder = store.join("holder", max_in_flight=1)
    holder.ask("first")
    store.run()
    for name, priority in asked:
        store.join(name, max_in_flight=1).ask(name, priority)
        store.clock.now += 0.001
        store.run()
        everybody(store)
    holder.finish("first")
    went: list[str] = []
    while len(went) < len(asked):
        store.run()
        everybody(store)
        for member in store.members:
            for name in member.granted():
                went.append(name)
                member.finish(name)
    return went


async def test_single_calls_go_first_in_all_processes(store: Store) -> None:
    """A single call of one process goes before a job of another, and that before a listing."""
    went = await order(
        store, ("page", Priority.LISTING), ("chunk", Priority.BULK), ("single", Priority.SINGLE)
    )

    assert went == ["single", "chunk", "page"]


async def test_nobody_starves_in_another_process(store: Store) -> None:
    """Every fourth slot goes to whoever has waited longest, in whatever process."""
    singles = [(f"single {n}", Priority.SINGLE) for n in range(8)]
    went = await order(store, ("page", Priority.LISTING), *singles)

    assert went.index("page") < 4


async def test_in_turns_within_a_class(store: Store) -> None:
    """Within a class, who asked first is first, in whatever process."""
    went = await order(store, *[(name, Priority.BULK) for name in "acbed"])

    assert went == list("acbed")


async def test_again_goes_before_new_ones_of_others(store: Store) -> None:
    """A request that is sent again goes before the new ones of another process."""
    holder, one, two = (store.join(name, max_in_flight=1) for name in ("holder", "one", "two"))
    holder.ask("first")
    store.run()
    one.ask("new")
    store.run()
    two.ask("refused", again=True)
    store.run()
    everybody(store)
    holder.finish("first")
    store.run()
    everybody(store)

    assert two.granted() == {"refused"}
    assert not one.granted()


# --------------------------------------------------------------------------- what is learned


async def test_one_is_refused_and_all_hold(store: Store) -> None:
    """What one process learns, all know."""
    one, two = store.join("one"), store.join("two")
    await hold(store, one, two)
    two.ask("a")
    store.run()

    assert two.part.controller.mode == "hold"
    assert not two.granted()
    store.run_for(1.0)
    everybody(store)
    assert two.granted() == {"a"}


async def test_a_wait_is_kept_by_all(store: Store) -> None:
    """Where the server asks one process to wait, all do."""
    one, two = store.join("one"), store.join("two")
    one.ask("a")
    store.run()
    one.part.slot(one.waiting["a"].result()).asked_to_wait(60.0)
    one.finish("a", admitted=None)
    store.run()
    two.ask("b")
    store.run_for(50.0)
    everybody(store)
    assert not two.granted()

    store.run_for(11.0)
    everybody(store)
    assert two.granted() == {"b"}


async def test_answers_that_can_wait(store: Store) -> None:
    """At a steady rate, only a refusal is told at once; an answer that passed waits for more."""
    one = store.join("one")
    await hold(store, one)
    one.ask("a")
    store.run_for(1.0)
    one.finish("a")
    one.ask("b")
    store.run()
    one.finish("b", admitted=False)
    store.run()
    assert one.part.controller.mode == "steady"
    one.ask("c")
    store.run_for(5.0)
    one.finish("c")
    assert 0 < one.part.due() - store.clock.now <= 0.25
    one.ask("d")
    store.run_for(5.0)
    one.finish("d", admitted=False)
    assert one.part.due() < store.clock.now
    store.run()

    assert not one.part.state.leases


# --------------------------------------------------------------------------- who dies


async def test_a_dead_process_frees_its_slots(store: Store) -> None:
    """The slot of a process that died is free after a few seconds."""
    one, two = store.join("one", max_in_flight=1), store.join("two", max_in_flight=1)
    one.ask("a")
    store.run()
    store.members.remove(one)
    two.ask("b")
    store.run_for(LEASE - 0.1)
    assert not two.granted()

    store.run_for(1.0)
    assert two.granted() == {"b"}


async def test_a_slow_request_keeps_its_slot(store: Store) -> None:
    """The slot of a request that takes a minute is its own until it ends."""
    one, two = store.join("one", max_in_flight=1), store.join("two", max_in_flight=1)
    one.ask("a")
    store.run()
    two.ask("b")
    store.run_for(60.0)
    everybody(store)
    assert not two.granted()

    one.finish("a")
    store.run()
    everybody(store)
    assert two.granted() == {"b"}


async def test_who_died_waiting_takes_one_slot_at_most(store: Store) -> None:
    """A process that died while it waited is given a slot once, and then forgotten."""
    one, two = store.join("one", max_in_flight=1), store.join("two", max_in_flight=1)
    one.ask("a")
    store.run()
    two.ask("b")
    two.ask("single", Priority.SINGLE)
    store.run()
    store.members.remove(two)
    one.hear()
    one.finish("a")
    one.ask("c")
    store.run_for(2 * LEASE)

    assert one.granted() == {"c"}
    assert set(one.part.state.members) == {"one"}


async def test_whose_turn_it_is_may_sleep(store: Store) -> None:
    """If a process does not take the slot that is its turn, others give it to it and go on."""
    one, two = store.join("one"), store.join("two")
    await hold(store, one, two)
    one.ask("a")
    store.run()
    store.clock.now += 0.01
    two.ask("b")
    two.hear()
    store.run()
    store.members.remove(one)  # it is its turn, and it does nothing
    store.run_for(LEASE + 3.0)

    assert two.granted() == {"b"}


async def test_a_process_that_was_stopped_comes_back(store: Store) -> None:
    """A process that was forgotten while it was stopped takes part again."""
    one, two = store.join("one", max_in_flight=1), store.join("two", max_in_flight=1)
    one.ask("a")
    store.run()
    one.ask("b")
    store.members.remove(one)
    two.ask("c")
    store.run_for(100.0)
    assert set(two.part.state.members) == {"two"}

    store.members.append(one)
    one.hear()
    one.finish("a")
    two.finish("c")
    store.run()
    everybody(store)
    assert one.granted() == {"b"}


async def test_who_leaves_frees_everything(store: Store) -> None:
    """A process that leaves holds no slot, and waits for none."""
    one, two = store.join("one", max_in_flight=1), store.join("two", max_in_flight=1)
    one.ask("a")
    store.run()
    two.ask("b")
    store.run()
    one.hear()
    proposal = one.part.propose_to_leave()

    assert "one" not in proposal.members
    assert {lease.member for lease in proposal.leases.values()} <= {"two"}


async def test_closed(store: Store) -> None:
    """Whoever waits when a process closes its pace ends with an error, cancelled or not."""
    one = store.join("one")
    for name in "abc":
        one.ask(name)
    one.waiting["a"].cancel()
    one.part.give_all_up()
    one.part.give_up(one.waiting["b"])  # it was cancelled in the same moment

    assert isinstance(one.waiting["b"].exception(), ClientClosed)
    assert isinstance(one.waiting["c"].exception(), ClientClosed)
    assert not one.part.state.leases


# --------------------------------------------------------------------------- nothing is lost


async def test_cancelled_at_its_turn(store: Store) -> None:
    """The slot of a waiter that is cancelled in the moment of its turn goes to the next."""
    one = store.join("one", max_in_flight=1)
    one.ask("a")
    one.ask("b")
    store.run()
    waiter = one.waiting.pop("a")
    one.part.give_up(waiter)

    assert one.granted() == {"b"}


async def test_cancelled_where_nobody_else_waits(store: Store) -> None:
    """A slot that nobody wants is given back, and its rate with it."""
    one, two = store.join("one", max_in_flight=1), store.join("two", max_in_flight=1)
    one.ask("a")
    store.run()
    one.part.give_up(one.waiting.pop("a"))
    two.hear()
    two.ask("b")
    store.run()
    everybody(store)

    assert two.granted() == {"b"}
    assert two.part.controller.admitted == 0


async def test_cancelled_and_not_noticed_yet(store: Store) -> None:
    """A slot that comes for a waiter that was just cancelled goes to the next."""
    one = store.join("one", max_in_flight=1)
    one.ask("a")
    one.ask("b")
    one.waiting.pop("a").cancel()
    store.run()

    assert one.granted() == {"b"}


async def test_who_gave_up_is_withdrawn(store: Store) -> None:
    """A waiter that gave up is given no slot by other processes."""
    one, two = store.join("one", max_in_flight=1), store.join("two", max_in_flight=1)
    one.ask("a")
    store.run()
    two.ask("b")
    store.run()
    two.cancel("b")
    store.run()
    one.hear()
    one.finish("a")
    store.run()

    assert not one.part.state.leases


async def test_a_lost_answer(store: Store) -> None:
    """A slot is used although the answer that gave it was lost."""
    one = store.join("one", max_in_flight=1)
    one.ask("a")
    one.step(is_lost=True)
    assert not one.granted()

    one.step()
    assert one.granted() == {"a"}
    assert len(one.part.state.leases) == 1


async def test_an_answer_learned_once(store: Store) -> None:
    """What a request learned counts once, although the answer of the store was lost."""
    one = store.join("one")
    one.ask("a")
    store.run()
    one.finish("a")
    one.step(is_lost=True)
    store.run()

    assert one.part.controller.admitted == 1


async def test_an_older_state_is_taken(store: Store) -> None:
    """A store that lost its last second gives slots again, and none is lost."""
    one = store.join("one", max_in_flight=1)
    one.ask("a")
    store.run()
    older = store.text, store.version
    one.finish("a")
    store.run()
    store.text, store.version = older
    one.hear()
    one.ask("b")
    store.run()

    assert one.granted() == {"b"}


def happen(draw: random.Random, store: Store, member: Member, name: str) -> None:
    """Let one thing happen to one process."""
    match draw.randrange(6):
        case 0:
            member.ask(name, draw.choice(list(Priority)), again=draw.random() < 0.2)
        case 1 if member.granted():
            admitted = draw.choice((True, True, False, None))
            member.finish(draw.choice(sorted(member.granted())), admitted=admitted)
        case 2 if member.waiting:
            member.cancel(draw.choice(sorted(member.waiting)))
        case 3:
            member.hear()
        case 4:
            store.clock.now += draw.random()
        case _:
            member.step(is_lost=draw.random() < 0.2, is_late=draw.random() < 0.2)


@given(st.integers(0, 10_000))
async def test_whatever_happens(seed: int) -> None:
    """However changes, losses and cancellations meet, slots are neither lost nor used twice."""
    draw, store = random.Random(seed), Store()
    members = [store.join(name, max_in_flight=3) for name in "abc"]
    for n in range(60):
        happen(draw, store, draw.choice(members), str(n))
        assert all(len(each.part.state.leases) <= 3 for each in members)
    for _ in range(200):
        if any(each.waiting for each in members):
            store.run_for(5.0)
            everybody(store)
            for member in members:
                for name in member.granted():
                    member.finish(name)
    assert not any(each.waiting for each in members)
    everybody(store)
    store.run()
    assert not store.text or not SharedState.load(store.text, 3).leases


# --------------------------------------------------------------------------- alone


async def test_alone_with_a_part_of_the_rate(store: Store) -> None:
    """While the store is away, processes send at the last rate together, and in turns."""
    one, two = store.join("one"), store.join("two")
    one.ask("a")
    two.ask("b")
    store.run()
    everybody(store)
    state = SharedState.load(store.text, 16)
    state.controller.mode, state.controller.rate = "steady", 2.0
    starts: list[float] = []
    for member in (one, two):
        member.part.adopt(state)
        member.part.go_alone()
        for n in range(20):
            member.ask(str(n))
    while len(starts) < 20:
        waits = [member.part.grant_alone() for member in (one, two)]
        for member in (one, two):
            for name in member.granted():
                member.finish(name, admitted=None)
                starts.append(store.clock.now)
        store.clock.now += min(waits) if min(waits) < 60 else 0.01
    gaps = [later - earlier for earlier, later in pairwise(starts[4:])]

    assert sum(gaps) / len(gaps) == pytest.approx(0.5, abs=0.1)


async def test_alone_it_learns(store: Store) -> None:
    """While the store is away, a process that is refused holds."""
    one = store.join("one")
    one.part.go_alone()
    one.ask("a")
    assert one.part.grant_alone() == float("inf")
    one.finish("a", admitted=False)

    assert one.part.controller.mode == "hold"
    assert one.part.grant_alone() == float("inf")  # nobody waits
    one.ask("b")
    assert 0 < one.part.grant_alone() < 1


async def test_alone_it_measures_its_part(store: Store) -> None:
    """Refused while the store is away, a process measures its own part of the limit."""
    one, two = store.join("one"), store.join("two")
    await hold(store, one, two)
    for n in range(20):
        one.ask(str(n))
        store.run_for(1.0)
        one.finish(str(n))
    store.run()
    one.part.go_alone()
    one.ask("refused")
    one.part.grant_alone()
    store.clock.now += 0.1
    one.finish("refused", admitted=False)

    assert one.part.controller.rate == pytest.approx(0.5, abs=0.1)


async def test_alone_a_slot_that_nobody_wants(store: Store) -> None:
    """A waiter that is cancelled in the moment of its turn leaves no hole while alone either."""
    one = store.join("one", max_in_flight=1)
    one.part.go_alone()
    one.ask("a")
    one.part.grant_alone()
    one.part.give_up(one.waiting.pop("a"))

    assert one.part.controller.in_flight == 0
    one.ask("b")
    one.part.grant_alone()
    assert one.granted() == {"b"}


async def test_back_with_slots_in_flight(store: Store) -> None:
    """Requests that began before the store was away, and while it was, end once it is back."""
    one = store.join("one")
    one.ask("before")
    store.run()
    one.part.go_alone()
    one.ask("meanwhile")
    one.part.grant_alone()
    assert one.part.controller.in_flight == 2
    one.part.come_back()
    one.finish("before")
    one.finish("meanwhile")
    store.run()

    assert not one.part.state.leases
    assert one.part.controller.in_flight == 0


async def test_an_outage_is_not_measured(store: Store) -> None:
    """What passed while the store was away does not make the measured limit smaller."""
    rates = []
    for pause in (0.0, 100.0):
        store = Store()
        one = store.join("one")
        await hold(store, one)
        for n in range(20):
            one.ask(str(n))
            store.run_for(1.0)
            one.finish(str(n))
        one.ask("last")
        store.run_for(1.0)
        store.clock.now += pause
        one.finish("last", admitted=False)
        one.ask("next")
        store.run()
        rates.append(one.part.controller.rate)

    assert rates[1] == pytest.approx(rates[0], rel=0.2)


# --------------------------------------------------------------------------- the saved form


def learned() -> AdaptiveController:
    """Return a controller that knows something of everything."""
    controller = AdaptiveController(16)
    for now, admitted in enumerate((True, False, True, False, True)):
        slot = controller.grant(10.0 * now)
        slot.users, slot.was_admitted = 1000, admitted
        controller.end(10.0 * now + 0.2, slot)
    return controller


def test_saved_and_read() -> None:
    """A state that was saved and read decides as before."""
    state = SharedState(learned(), version=7)
    read = SharedState.load(state.dump(), 16)

    assert read.controller.dump() == state.controller.dump()
    assert read.controller.mode == "steady"
    assert read.controller.wait(40.3) == state.controller.wait(40.3)
    assert read.version == 7


async def test_a_clock_that_is_corrected(store: Store) -> None:
    """What is learned can be read although the clock was set back in the middle of a request."""
    one = store.join("one")
    one.ask("a")
    store.run()
    store.clock.now -= 5.0
    one.finish("a")
    store.run()

    assert SharedState.load(store.text, 16).controller.admitted == 1


def test_a_rate_without_a_limit() -> None:
    """A rate that nothing ever slowed down can be saved and read."""
    state = SharedState(learned())
    for rate in (1e9, 1e30, float("inf")):
        state.controller.rate = rate
        assert SharedState.load(state.dump(), 16).controller.rate in (rate, float("inf"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"not JSON",
        b"7 {}",
        b"7 [1, 2]",
        b'8 {"version": 7}',
        SharedState(learned(), version=7).dump().replace(b"7 ", b"8 ", 1),
        SharedState(learned()).dump().replace(b'"steady"', b'"hasty"'),
        SharedState(learned()).dump().replace(b'"steady"', b'"start"'),
        SharedState(learned()).dump().replace(b'"window":', b'"windows":'),
        SharedState(learned()).dump().replace(b'"window":', b'"window":-5,"w":'),
        SharedState(learned()).dump().replace(b'"sizes":', b'"sizes":7,"s":'),
        SharedState(learned()).dump().replace(b'"granted":', b'"newer":1,"granted":'),
    ],
)
def test_what_cannot_be_read(text: bytes) -> None:
    """A state of another version, or of nobody's, is an error and not a wrong pace."""
    with pytest.raises(ValueError, match="state of the shared pace"):
        SharedState.load(text, 16)
