"""Notifies observers of what a client does: the log, OpenTelemetry, functions of the caller's own.

An observer is a function that takes an event.  The log (`logs`) is one and is always there,
OpenTelemetry (`blockusers.otel`) is another; `Client(…, observers=[…])` takes any others.  An
observer that fails is logged, and harms nothing else.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Final, Protocol, TypeVar

import attrs

from blockusers.observe.events import (
    Event,
    JobEnded,
    JobStarted,
    PaceChanged,
    RequestEnded,
    RequestSent,
    Retrying,
)
from blockusers.pace.protocol import PaceState
from blockusers.protocol.messages import Reply, Request
from blockusers.values.masking import mask_all
from blockusers.values.outcome import written
from blockusers.values.report import Incomplete, Report

_LOG: Final = logging.getLogger("blockusers")


class Observer(Protocol):
    """Takes events: a plain function that must return soon, because the event loop waits for it.

    What it raises is logged and otherwise ignored. It must ignore events that it does not know.
    """

    def __call__(self, event: Event, /) -> object:
        """Take note of *event*."""
        ...


T = TypeVar("T")
_numbers: Final = itertools.count(1)  # of jobs and of requests, which share them
_job: Final[ContextVar[int | None]] = ContextVar("blockusers_job", default=None)


def not_of_a_job() -> None:
    """Let events of this task belong to no job from now on."""
    _job.set(None)


def _described(error: BaseException) -> str:
    """Return the class of *error*, its text with numbers masked, and the line that raised it."""
    text = f"{type(error).__name__}: {mask_all(written(error))}".removesuffix(": ")
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    return f"{text} ({frame.f_code.co_filename}:{line})"


class Observers:
    """The observers of one client.

    Args:
        phone_number_id: Of the client's account.
        url: Where its requests go.
        observers: Functions that take events.

    Raises:
        TypeError: One of *observers* is no plain function.
    """

    def __init__(
        self, phone_number_id: str = "", url: str = "", observers: Iterable[Observer] = ()
    ) -> None:
        self._phone_number_id = phone_number_id
        self._url = url
        self._observers = tuple(observers)
        for observer in self._observers:
            if not callable(observer) or inspect.iscoroutinefunction(observer):
                raise TypeError(
                    "observers: must be plain functions that take an event; one that has to"
                    f" wait for something starts a task. Not {observer!r:.50}"
                )

    def tell(self, event: Event) -> None:
        """Call all observers with *event*, and the job that this task belongs to."""
        event = attrs.evolve(event, phone_number_id=self._phone_number_id, job=_job.get())
        for observer in self._observers:
            try:
                observer(event)
            except (Exception, asyncio.CancelledError) as error:
                # Not its traceback: the texts in that may hold anybody's number.
                _LOG.warning("an observer failed: %s", _described(error))

    async def job(self, operation: str, work: Awaitable[Report]) -> Report:
        """Await *work*, between the events that it started and ended."""
        outer = _job.set(next(_numbers))
        started = time.monotonic()
        report: Report | None = None
        error: BaseException | None = None
        self.tell(JobStarted(operation))
        try:
            report = await work
            return report  # noqa: TRY300  # behind `finally` it might be None
        except BaseException as raised:
            error = raised
            report = raised.report if isinstance(raised, Incomplete) else None
            raise
        finally:
            self.tell(JobEnded(operation, time.monotonic() - started, report, error))
            _job.reset(outer)

    async def request(
        self,
        operation: str,
        request: Request,
        send: Callable[[Request], Awaitable[Reply]],
        read: Callable[[Reply], T],
        users: int = 0,
    ) -> T:
        """Send *request* and read the reply, between the events for both."""
        number, started = next(_numbers), time.monotonic()
        status: int | None = None
        error: BaseException | None = None
        self.tell(RequestSent(operation, number, users, request.method, self._url))
        try:
            reply = await send(request)
            status = reply.status
            return read(reply)
        except BaseException as raised:
            error = raised
            raise
        finally:
            seconds = time.monotonic() - started
            self.tell(RequestEnded(operation, number, users, seconds, status, error))

    def retrying(self, operation: str) -> Callable[[BaseException, float], None]:
        """Return a function that makes the event for a retry, given its reason and the wait."""
        return lambda error, wait: self.tell(Retrying(operation, error, wait))

    def pace_changed(self, before: PaceState, now: PaceState) -> None:
        """Make the event for a change of pace."""
        self.tell(PaceChanged(before.mode, now))
