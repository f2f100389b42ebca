"""OpenTelemetry: an observer that makes spans and metrics.  The extra `otel` installs its API.

    from blockusers.otel import OpenTelemetry

    client = Client(account, observers=[OpenTelemetry()])

A job is a span, and each request one below it; a request of single calls is below whatever its
first caller was doing.  Names are those of the semantic conventions for HTTP clients
(https://opentelemetry.io/docs/specs/semconv/http/), others begin with `blockusers.`.

| metric | kind | unit | by |
| --- | --- | --- | --- |
| `http.client.request.duration` | histogram | s | method, status code, server, error, operation |
| `http.client.active_requests` | up-down counter | {request} | method, server |
| `blockusers.users` | counter | {user} | operation, status, error code, phone number id |
| `blockusers.retries` | counter | {retry} | operation, error, phone number id |
| `blockusers.pace.rate` | gauge | {request}/s | phone number id; 0 while it has no rate |
| `blockusers.pace.max_users` | gauge | {user} | phone number id |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import Token
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from blockusers import __version__
from blockusers.observe.events import (
    DrainChanged,
    Event,
    IntentsAnswered,
    JobEnded,
    JobStarted,
    PaceChanged,
    RequestEnded,
    RequestSent,
    Retrying,
    SenderMatched,
    UsersSettled,
    because,
)
from blockusers.pace.protocol import PaceState

try:
    from opentelemetry import context, metrics, trace
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f'blockusers.otel needs {error.name}: pip install "blockusers[otel]", or in a clone'
        ' pip install ".[otel]"',
        name=error.name,
    ) from None

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


@attrs.frozen
class _Open:
    """A span that is not ended."""

    span: trace.Span
    token: Token[context.Context]
    about: Mapping[str, Any]
    """The attributes of its metrics."""


class OpenTelemetry:
    """An observer that makes spans and metrics; several clients may share one.

    Args:
        tracer_provider: Makes the tracer; None is the global one.
        meter_provider: Makes the meter; None is the global one.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer("blockusers", __version__, tracer_provider)
        meter = metrics.get_meter("blockusers", __version__, meter_provider)
        self._duration = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._active = meter.create_up_down_counter(
            "http.client.active_requests", "{request}", "Requests without an answer yet."
        )
        self._users = meter.create_counter("blockusers.users", "{user}", "Users settled.")
        self._retries = meter.create_counter("blockusers.retries", "{retry}", "Requests resent.")
        self._sightings = meter.create_counter(
            "blockusers.guard.sightings", "{message}", "Messages that a guard was shown."
        )
        self._intents = meter.create_counter(
            "blockusers.guard.intents", "{user}", "Users of intents that were answered."
        )
        self._drains: dict[str, str] = {}
        meter.create_observable_gauge(
            "blockusers.guard.draining",
            [self._draining],
            "{number}",
            "1 for a number whose intents are carried out, 0 for one that is stopped.",
        )
        self._paces: dict[str, PaceState] = {}
        meter.create_observable_gauge(
            "blockusers.pace.rate",
            [self._observe(lambda pace: pace.rate or 0.0)],
            "{request}/s",
            "Requests that may start per second.",
        )
        meter.create_observable_gauge(
            "blockusers.pace.max_users",
            [self._observe(lambda pace: pace.max_users)],
            "{user}",
            "Most users that a request may name.",
        )
        self._open: dict[int, _Open] = {}

    def __call__(self, event: Event, /) -> None:
        """Take note of *event*."""
        match event:
            case JobStarted():
                self._begin(event.job or 0, f"blockusers {event.operation}", event)
            case JobEnded():
                self._finish(event.job or 0, event)
            case RequestSent():
                self._request_sent(event)
            case RequestEnded():
                self._request_ended(event)
            case Retrying():
                self._retrying(event)
            case PaceChanged():
                self._paces[event.phone_number_id] = event.state
            case UsersSettled():
                self._users_settled(event)
            case SenderMatched() | IntentsAnswered() | DrainChanged():
                self._of_a_guard(event)

    def _of_a_guard(self, event: SenderMatched | IntentsAnswered | DrainChanged) -> None:
        match event:
            case SenderMatched():
                self._sightings.add(1, event.attributes())
            case IntentsAnswered():
                self._intents_answered(event)
            case _:
                self._drains[event.phone_number_id] = event.state

    def _observe(
        self, value: Callable[[PaceState], float]
    ) -> Callable[[metrics.CallbackOptions], list[metrics.Observation]]:
        return lambda _: [
            metrics.Observation(value(pace), {"blockusers.phone_number_id": whose})
            for whose, pace in self._paces.copy().items()
        ]

    def _begin(self, number: int, name: str, event: Event, about: Mapping[str, Any] = {}) -> None:
        kind = trace.SpanKind.CLIENT if about else trace.SpanKind.INTERNAL
        span = self._tracer.start_span(name, kind=kind, attributes={**event.attributes(), **about})
        token = context.attach(trace.set_span_in_context(span))
        self._open[number] = _Open(span, token, about)

    def _finish(self, number: int, event: JobEnded | RequestEnded) -> Mapping[str, Any]:
        """End a span; return what its metrics are about."""
        begun = self._open.pop(number)
        context.detach(begun.token)
        begun.span.set_attributes(event.attributes())
        if event.error is not None:
            begun.span.set_status(trace.StatusCode.ERROR, because(event.error))
        begun.span.end()
        return begun.about

    def _request_sent(self, event: RequestSent) -> None:
        url = urlsplit(event.url)
        about = {
            "http.request.method": event.method,
            "server.address": url.hostname,
            "server.port": url.port or {"https": 443, "http": 80}.get(url.scheme),
        }
        self._begin(event.request, f"{event.method} block_users", event, about)
        self._active.add(1, about)

    def _request_ended(self, event: RequestEnded) -> None:
        about = self._finish(event.request, event)
        self._active.add(-1, about)
        chosen = ("http.response.status_code", "error.type", "blockusers.operation")
        self._duration.record(event.seconds, {**about, **_chosen(event, *chosen)})

    def _retrying(self, event: Retrying) -> None:
        chosen = ("blockusers.operation", "error.type", "blockusers.phone_number_id")
        self._retries.add(1, _chosen(event, *chosen))
        trace.get_current_span().add_event("retry", event.attributes())

    def _users_settled(self, event: UsersSettled) -> None:
        about = _chosen(event, "blockusers.operation", "blockusers.phone_number_id")
        for (status, code), count in event.tally.items():
            reason = {} if code is None else {"blockusers.code": code}
            self._users.add(count, {**about, "blockusers.status": status.value, **reason})

    def _intents_answered(self, event: IntentsAnswered) -> None:
        about = _chosen(event, "blockusers.operation", "blockusers.phone_number_id")
        counts = {"done": event.done, "failed": event.failed, "put_off": event.put_off}
        for status, count in counts.items():
            self._intents.add(count, {**about, "blockusers.status": status})

    def _draining(self, _: metrics.CallbackOptions) -> list[metrics.Observation]:
        return [
            metrics.Observation(int(state == "draining"), {"blockusers.phone_number_id": whose})
            for whose, state in self._drains.copy().items()
        ]


def _chosen(event: Event, *names: str) -> dict[str, Any]:
    return {name: value for name, value in event.attributes().items() if name in names}
