"""What OpenTelemetry sees, by its own exporters."""

from __future__ import annotations

import asyncio
import runpy
import sys
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from blockusers import Account, Client, Incomplete, otel
from blockusers.observe.events import DrainChanged, IntentsAnswered, SenderMatched
from blockusers.otel import OpenTelemetry
from blockusers.sandbox import Rules, Sandbox, glitches
from tests.support import Clock, adaptive, number, numbers, quick

ID = "blockusers.phone_number_id"


class Watched:
    """An observer whose spans and metrics can be looked at."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.observer = OpenTelemetry(
            tracer_provider=self.tracers, meter_provider=MeterProvider([self._reader])
        )

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def points(self, name: str) -> list[tuple[dict[str, object], object]]:
        """Return the attributes of each point of a metric, and its value or count."""
        data = self._reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        (metric,) = (m for scope in scopes for m in scope.metrics if m.name == name)
        return [
            (dict(point.attributes), getattr(point, "value", None) or getattr(point, "count", 0))
            for point in metric.data.data_points
        ]


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Rules(window=None)) as sandbox:
        yield sandbox


def client_of(sandbox: Sandbox, watched: Watched, **settings: object) -> Client:
    settings = {"retry": quick(), "chunk_size": 10, "observers": [watched.observer]} | settings
    return Client(Account(**sandbox.credentials), **settings)


async def test_spans_of_a_job(sandbox: Sandbox, watched: Watched) -> None:
    """A job is a span below the caller's, and each of its requests one below that."""
    tracer = trace.get_tracer("a bot", tracer_provider=watched.tracers)
    async with client_of(sandbox, watched) as client:
        with tracer.start_as_current_span("moderate"):
            await client.block(numbers(25))
        assert trace.get_current_span() is trace.INVALID_SPAN

    (outer,) = watched.spans("moderate")
    (job,) = watched.spans("blockusers block")
    requests = watched.spans("POST block_users")
    assert job.parent == outer.context
    assert [span.parent for span in requests] == [job.context] * 3
    assert job.kind is trace.SpanKind.INTERNAL
    assert job.attributes["blockusers.done"] == 25
    assert job.attributes["blockusers.requests"] == 3
    assert job.status.is_ok


async def test_span_of_a_request(sandbox: Sandbox, watched: Watched) -> None:
    """The span of a request has the attributes that the conventions ask for."""
    async with client_of(sandbox, watched) as client:
        await client.block_one("4915131047")

    (span,) = watched.spans("POST block_users")
    path = f"/v25.0/{client.account.phone_number_id}/block_users"
    wanted = {
        "http.request.method": "POST",
        "http.response.status_code": 400,
        "server.address": "127.0.0.1",
        "server.port": urlsplit(sandbox.url).port,
        "url.full": f"{sandbox.url}{path}",
        "blockusers.operation": "block",
        "blockusers.users": 1,
        ID: client.account.phone_number_id,
    }
    assert wanted.items() <= dict(span.attributes).items()
    assert span.kind is trace.SpanKind.CLIENT
    assert span.parent is None
    assert span.status.is_unset, "a 400 that says of each user what became of them is no error"


async def test_errors(sandbox: Sandbox, watched: Watched) -> None:
    """A request and a job that fail say why; a retry is an event of the job."""
    sandbox.glitch(glitches.html(503), at=1)
    sandbox.glitch(glitches.answer(400, {"error": {"code": 190, "fbtrace_id": "A1b2"}}), at=2)
    async with client_of(sandbox, watched) as client:
        with pytest.raises(Incomplete):
            await client.unblock(numbers(3))

    first, second = watched.spans("DELETE block_users")
    (job,) = watched.spans("blockusers unblock")
    assert first.attributes["error.type"] == "ServiceError"
    assert second.attributes["blockusers.code"] == 190
    assert second.attributes["blockusers.trace_id"] == "A1b2"
    assert not job.status.is_ok
    assert job.attributes["error.type"] == "AuthenticationError"
    assert "the access token is invalid" in job.status.description
    assert [event.name for event in job.events] == ["retry"]
    ((about, count),) = watched.points("blockusers.retries")
    assert count == 1
    assert about["error.type"] == "ServiceError"


async def test_counters(sandbox: Sandbox, watched: Watched) -> None:
    """Users are counted by what became of them, requests by how they ended."""
    async with client_of(sandbox, watched) as client:
        await client.block([*numbers(12), "4915131047", "0151"])
        await client.unblock_one(number(1))
        await client.snapshot()

    by = ("blockusers.operation", "blockusers.status", "blockusers.code")
    users = watched.points("blockusers.users")
    assert {(*map(about.get, by), count) for about, count in users} == {
        ("block", "done", None, 12),
        ("block", "failed", 131047, 1),
        ("block", "failed", None, 1),
        ("unblock", "done", None, 1),
    }
    assert {about[ID] for about, _ in users} == {client.account.phone_number_id}
    by = ("http.request.method", "http.response.status_code")
    durations = watched.points("http.client.request.duration")
    assert {(*map(about.get, by), count) for about, count in durations} == {
        ("POST", 200, 1),
        ("POST", 400, 1),
        ("DELETE", 200, 1),
        ("GET", 200, 2),
    }
    assert {count for _, count in watched.points("http.client.active_requests")} == {0}


async def test_active_requests(sandbox: Sandbox, watched: Watched) -> None:
    """A request that waits for its answer is active; a cancelled one is not."""
    sandbox.glitch(glitches.hang_before())
    async with client_of(sandbox, watched) as client:
        task = asyncio.create_task(client.block(numbers(3)))
        while not sandbox.requests:
            await asyncio.sleep(0.01)
        ((_, before),) = watched.points("http.client.active_requests")
        task.cancel()
        await asyncio.wait([task])
        ((_, after),) = watched.points("http.client.active_requests")

    assert (before, after) == (1, 0)
    (span,) = watched.spans("POST block_users")
    assert span.attributes["error.type"] == "CancelledError"


async def test_gauges(watched: Watched, clock: Clock) -> None:
    """The pace's rate and its largest request can be read at any time."""
    with Sandbox(Rules(window=None, rate=50, burst=3), clock=clock) as sandbox:
        async with client_of(sandbox, watched, pace=adaptive(clock), chunk_size=1) as client:
            ((about, rate),) = watched.points("blockusers.pace.rate")
            assert (about, rate) == ({ID: client.account.phone_number_id}, 0)
            await client.block(numbers(20))

    ((_, rate),) = watched.points("blockusers.pace.rate")
    assert rate == (client.pace.state.rate or 0)
    ((_, size),) = watched.points("blockusers.pace.max_users")
    assert size == 1000


def test_a_guard(watched: Watched) -> None:
    """Sightings, intents, and whether a number is drained are counted; nobody is named."""
    for event in (
        SenderMatched(denied=True, phone_number_id="1"),
        SenderMatched(denied=False, phone_number_id="1"),
        IntentsAnswered("block", done=3, failed=2, put_off=1, phone_number_id="1"),
        DrainChanged("draining", phone_number_id="1"),
        DrainChanged("paused", "the token is invalid", phone_number_id="2"),
    ):
        watched.observer(event)

    sightings = watched.points("blockusers.guard.sightings")
    assert sightings == [
        ({"blockusers.denied": True, ID: "1"}, 1),
        ({"blockusers.denied": False, ID: "1"}, 1),
    ]
    about = {"blockusers.operation": "block", ID: "1"}
    assert watched.points("blockusers.guard.intents") == [
        ({**about, "blockusers.status": "done"}, 3),
        ({**about, "blockusers.status": "failed"}, 2),
        ({**about, "blockusers.status": "put_off"}, 1),
    ]
    assert watched.points("blockusers.guard.draining") == [({ID: "1"}, 1), ({ID: "2"}, 0)]


def test_other_events_are_ignored(watched: Watched) -> None:
    """An event that a later version brings is no error."""
    watched.observer(NamedTuple("Later", [])())


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where OpenTelemetry is not installed, the import says how to get it."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(
        ModuleNotFoundError, match=r'needs opentelemetry: pip install "blockusers\['
    ):
        runpy.run_path(otel.__file__)
