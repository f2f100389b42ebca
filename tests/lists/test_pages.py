"""The cursor walk: everybody once, however the list changes meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from itertools import chain, islice
from itertools import count as naturals

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockusers import BlockedUser, BlocklistChanged, InvalidResponse, Page, ServiceError
from blockusers.lists.pages import Paginator
from blockusers.protocol.wire import Listing

CHANGED = BlocklistChanged("changed", 139102, status=400)


@attrs.define
class Shelf:
    """A blocklist behind `fetch`: its cursors hold an offset and the version they were made for."""

    names: list[str]
    page_size: int = 2
    links: bool = False
    before_fetch: Callable[[int], None] = lambda _number: None
    version: int = 0
    fetched: int = 0
    pauses: list[int] = attrs.field(factory=list)

    def change(self, names: list[str]) -> None:
        self.names, self.version = names, self.version + 1

    async def fetch(self, size: int | None, after: str | None, before: str | None) -> Listing:
        self.fetched += 1
        self.before_fetch(self.fetched)
        size = size or self.page_size
        start = 0
        if cursor := after or before:
            offset, version = map(int, cursor.split("@"))
            if version != self.version:
                raise CHANGED
            start = offset + 1 if after else max(0, offset - size)
            size = size if after else offset - start
        rows = tuple(BlockedUser(wa_id=name) for name in self.names[start : start + size])
        if not rows:
            return Listing(Page((), None, None))
        end = start + len(rows) - 1
        page = Page(rows, f"{start}@{self.version}", f"{end}@{self.version}")
        has_next, has_previous = end + 1 < len(self.names), start > 0
        return Listing(page, self.links and has_next, self.links and has_previous)

    async def pause(self, attempt: int) -> None:
        self.pauses.append(attempt)

    @property
    def paginator(self) -> Paginator:
        return Paginator(self.fetch, self.pause)


def scripted(listings: Iterable[Listing | Exception]) -> Paginator:
    """Return a paginator that gets these answers, whatever it asks for."""
    answers = iter(listings)

    async def fetch(*_: object) -> Listing:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def pause(_: int) -> None:
        pass

    return Paginator(fetch, pause)


def listing(
    *wa_ids: str, after: str | None = None, before: str | None = None, more: bool = False
) -> Listing:
    """Return a page with these users; with *more*, it has links in both directions."""
    return Listing(Page(tuple(map(BlockedUser, wa_ids)), before, after), more, more)


async def names(source: AsyncIterator[BlockedUser] | AsyncIterator[Page]) -> list[str | None]:
    found = []
    async for item in source:
        users = item.users if isinstance(item, Page) else (item,)
        found += [user.wa_id for user in users]
    return found


@pytest.mark.parametrize("links", [False, True])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7])
async def test_walk(count: int, links: bool) -> None:
    """All users come in order; where answers carry links, the last page is known as such."""
    everybody = [str(n) for n in range(count)]
    shelf = Shelf(everybody, links=links)

    assert await names(shelf.paginator.blocked()) == everybody
    pages = -(-count // 2)
    assert shelf.fetched == (pages if links and pages > 1 else pages + 1)


@pytest.mark.parametrize("links", [False, True])
async def test_forward_from_a_cursor(links: bool) -> None:
    """From a page's `after`, the walk goes on behind that page."""
    shelf = Shelf(list("abcdefg"), links=links)
    first = await anext(shelf.paginator.pages())

    assert await names(shelf.paginator.pages(after=first.after)) == list("cdefg")


@pytest.mark.parametrize("links", [False, True])
async def test_backward_from_a_cursor(links: bool) -> None:
    """From a page's `before`, the walk goes backward, page by page."""
    shelf = Shelf(list("abcdefg"), links=links)
    pages = [page async for page in shelf.paginator.pages()]
    backward = shelf.paginator.pages(before=pages[-1].before)

    assert [await names(_one(page)) for page in [p async for p in backward]] == [
        ["e", "f"],
        ["c", "d"],
        ["a", "b"],
    ]


async def _one(page: Page) -> AsyncIterator[Page]:
    yield page


async def test_page_size() -> None:
    """The page size is asked for on each page."""
    shelf = Shelf(list("abcdefg"))

    assert [len(page.users) async for page in shelf.paginator.pages(3)] == [3, 3, 1]


@pytest.mark.parametrize("last", [listing("2"), listing("2", after="1"), listing()])
async def test_no_way_on(last: Listing) -> None:
    """Where no page has links, one without a new cursor or without users is the last."""
    paginator = scripted([listing("1", after="1"), last])

    assert await names(paginator.blocked()) == ["1", "2"][: 1 + len(last.page.users)]


NO_WAY_ON = [
    (listing("2", more=True), "has no cursor"),
    (listing("2", after="1", before="1", more=True), "repeats an earlier cursor"),
    (listing(after="2", before="2", more=True), "is empty"),
]


@pytest.mark.parametrize(("last", "why"), NO_WAY_ON)
@pytest.mark.parametrize("linked", [False, True])
async def test_a_link_without_a_way_on(last: Listing, why: str, linked: bool) -> None:
    """A page that says another follows, but not how to get it, is an error, not the end."""
    given = [listing("1", after="1", more=linked), last]

    for walk in (scripted(given).pages(), scripted(given).blocked()):
        with pytest.raises(InvalidResponse, match=f"another page follows, but this one {why};"):
            await names(walk)
    with pytest.raises(InvalidResponse, match=why):
        await scripted(given).snapshot()


@pytest.mark.parametrize(("last", "why"), NO_WAY_ON)
async def test_a_link_without_a_way_back(last: Listing, why: str) -> None:
    """Going backward, the link and the cursor to the page before count."""
    given = [listing("1", before="1", more=True), last]

    with pytest.raises(InvalidResponse, match=why):
        await names(scripted(given).pages(before="0"))


async def test_a_page_fetched_by_its_cursor() -> None:
    """Who fetches page by page does not take a page that leads nowhere for the last either."""
    with pytest.raises(InvalidResponse, match="repeats"):
        await anext(scripted([listing("2", after="1", more=True)]).pages(after="1"))


async def test_the_other_link_does_not_count() -> None:
    """Going forward, a link to the page before does not promise that another follows."""
    last = Listing(listing("2").page, has_previous=True)

    assert await names(scripted([listing("1", after="1"), last]).blocked()) == ["1", "2"]


def endless(pages: Iterable[tuple[str, ...]]) -> Iterable[Listing]:
    """Give each page a cursor of its own, and a link."""
    return (listing(*page, after=str(n), more=True) for n, page in enumerate(pages))


async def test_pages_of_nobody_new() -> None:
    """A hundred pages in a row that list nobody new are an error; users in between are none."""
    only_one = [("1",)] * 100
    paginator = scripted(endless([*only_one, ("1", "2"), *only_one]))
    with pytest.raises(InvalidResponse, match="100 pages in a row listed nobody new"):
        await names(paginator.blocked())

    enough = endless([*only_one, ("1", "2"), *only_one[2:]])
    found = await names(scripted(chain(enough, [listing("1")])).pages())
    assert found.count("1") == 200


async def test_the_end_after_pages_of_nobody_new() -> None:
    """An empty page is the end, and none of a hundred."""
    given = [listing("1", after=str(n)) for n in range(100)]

    assert await names(scripted([*given, listing()]).blocked()) == ["1"]


async def test_nobody_new_counts_within_one_walk() -> None:
    """After a restart everybody is yielded already, and the walk goes on to who is not."""
    everybody = [str(n) for n in range(150)]
    shelf = Shelf(everybody, page_size=1)
    shelf.before_fetch = lambda n: shelf.change([*everybody, "x"]) if n == 150 else None

    assert await names(shelf.paginator.blocked()) == [*everybody, "x"]


@pytest.fixture(scope="module")
def too_many() -> list[Listing]:
    """Return more pages than any blocklist has."""
    numbered = map(str, naturals())
    return list(endless(tuple(islice(numbered, 1000)) for _ in range(150)))


@pytest.mark.parametrize("read", ["pages", "blocked", "snapshot"])
async def test_an_endless_list(read: str, too_many: list[Listing]) -> None:
    """A walk of more than twice the users that a blocklist holds is an error."""
    fetched = 0

    def counted() -> Iterable[Listing]:
        nonlocal fetched
        for page in too_many:
            fetched += 1
            yield page

    walk = getattr(scripted(counted()), read)()
    with pytest.raises(
        InvalidResponse, match="more than 128,000 rows came, and a blocklist holds 64,000 users"
    ):
        await (walk if read == "snapshot" else names(walk))
    assert fetched == 129


async def test_restart() -> None:
    """When the list changes on the way, the walk begins again and yields nobody twice."""
    shelf = Shelf(list("abcdef"))
    shelf.before_fetch = lambda n: shelf.change(list("abcdxef")) if n == 3 else None

    assert await names(shelf.paginator.blocked()) == list("abcdxef")
    assert shelf.pauses == [1]


async def test_pages_do_not_restart() -> None:
    """A walk over pages raises the change: its cursors are the caller's."""
    shelf = Shelf(list("abcdef"))
    shelf.before_fetch = lambda n: shelf.change(list("xyz")) if n == 2 else None

    with pytest.raises(BlocklistChanged):
        await names(shelf.paginator.pages())


async def test_five_fruitless_restarts() -> None:
    """After five restarts in a row that came no further, the change is raised."""
    shelf = Shelf(list("abcdef"))
    shelf.before_fetch = lambda n: shelf.change(shelf.names) if n % 2 == 0 else None

    with pytest.raises(BlocklistChanged):
        await names(shelf.paginator.blocked())
    # The first walk got somewhere; the five restarts after it did not.
    assert shelf.pauses == [1, 2, 3, 4, 5]


async def test_progress_earns_more_restarts() -> None:
    """A walk that gets further than any before may start again more than five times."""
    shelf, changes = Shelf([str(n) for n in range(60)]), iter([2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    patience = [next(changes)]

    def change(_: int) -> None:
        patience[0] -= 1
        if patience[0] == 0:
            patience[0] = next(changes, 1000)
            shelf.change(shelf.names)

    shelf.before_fetch = change

    assert await names(shelf.paginator.blocked()) == shelf.names
    assert len(shelf.pauses) == 10


async def test_fifty_restarts() -> None:
    """After fifty restarts the change is raised, even if each walk came further."""
    shelf, walk, step = Shelf([str(n) for n in range(400)]), 1, 0

    def change(_: int) -> None:
        nonlocal walk, step
        step += 1
        if step > walk:
            walk, step = walk + 1, 0
            shelf.change(shelf.names)

    shelf.before_fetch = change

    with pytest.raises(BlocklistChanged):
        await names(shelf.paginator.blocked())
    assert len(shelf.pauses) == 50


async def test_an_error_is_not_the_end() -> None:
    """A page that cannot be read is raised, never taken for the end of the list."""
    shelf = Shelf(list("abcdef"))

    def fail(number: int) -> None:
        if number == 2:
            raise ServiceError("internal", 139103, status=500)

    shelf.before_fetch = fail

    with pytest.raises(ServiceError):
        await names(shelf.paginator.blocked())


async def test_snapshot() -> None:
    """A snapshot throws the pages of an abandoned version away."""
    shelf = Shelf(list("abcdef"))
    shelf.before_fetch = lambda n: shelf.change(list("xyz")) if n == 3 else None

    snapshot = await shelf.paginator.snapshot()

    assert [user.wa_id for user in snapshot] == list("xyz")


async def test_snapshot_gives_up() -> None:
    """A snapshot is tried five times."""
    shelf = Shelf(list("abcdef"))
    shelf.before_fetch = lambda n: shelf.change(shelf.names) if n % 2 == 0 else None

    with pytest.raises(BlocklistChanged):
        await shelf.paginator.snapshot()
    assert shelf.fetched == 10
    assert shelf.pauses == [1, 2, 3, 4]


@pytest.mark.parametrize("again", ["same page", "next page"])
async def test_somebody_listed_twice(again: str) -> None:
    """Whoever a server lists twice is yielded once, and is in a snapshot once."""
    first, second = (("1", "2", "1"), ("3",)) if again == "same page" else (("1", "2"), ("1", "3"))
    given = [listing(*first, after="1"), listing(*second)]

    assert await names(scripted(given).blocked()) == ["1", "2", "3"]
    assert [user.wa_id for user in await scripted(given).snapshot()] == ["1", "2", "3"]


async def test_user_without_a_number() -> None:
    """Users that are known by their BSUID only are told apart by it."""
    users = tuple(BlockedUser(user_id=f"US.{n}") for n in (1, 2, 1))
    walk = scripted([Listing(Page(users, None, None))]).blocked()

    assert [user.user_id async for user in walk] == ["US.1", "US.2"]


async def test_user_under_two_names() -> None:
    """Somebody who is listed under the other id after a restart is not yielded again."""
    both, one = BlockedUser("1650", "US.1"), BlockedUser(None, "US.1")
    last = Listing(Page((one, BlockedUser("1651")), None, None))
    given: list[Listing | Exception] = [Listing(Page((both,), None, "1")), CHANGED, last]

    assert [user async for user in scripted(given).blocked()] == [both, BlockedUser("1651")]


EDITS = st.lists(st.tuples(st.integers(2, 40), st.booleans(), st.integers(0, 29)), max_size=8)


@given(count=st.integers(0, 30), edits=EDITS, page_size=st.integers(1, 7), links=st.booleans())
async def test_concurrent_edits(
    count: int, edits: list[tuple[int, bool, int]], page_size: int, links: bool
) -> None:
    """Under any edits a walk ends, repeats nobody, and misses nobody who stayed."""
    shelf = Shelf([str(n) for n in range(count)], page_size, links)
    stayed = set(shelf.names)
    known = set(shelf.names)

    def edit(number: int) -> None:
        for at, adds, who in edits:
            if at == number:
                name = f"new {who}" if adds else str(who)
                kept = [n for n in shelf.names if n != name]
                shelf.change([name, *kept] if adds else kept)
                stayed.intersection_update(shelf.names)
                known.update(shelf.names)

    shelf.before_fetch = edit
    try:
        found = await names(shelf.paginator.blocked())
    except BlocklistChanged:
        assert len(shelf.pauses) > 5
        return

    assert len(found) == len(set(found))
    assert stayed <= set(found) <= known
