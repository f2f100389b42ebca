"""The log: an observer that writes what a client does to the logger `blockusers`.

Each record carries the event's values under the names that OpenTelemetry has for them (`extra`),
for those whose log is JSON.  A client's normal life is at DEBUG; INFO tells of jobs that end, of
faults after which a request is sent again and of each change of the pace's mode.
"""

from __future__ import annotations

import logging
from typing import Final

from blockusers.observe.events import Event, JobEnded, PaceChanged, Retrying
from blockusers.values.errors import RateLimited

_LOG: Final = logging.getLogger("blockusers")


def log(event: Event) -> None:
    """Write *event* to the log."""
    level = _level(event)
    if _LOG.isEnabledFor(level):
        name = type(event).__name__
        _LOG.log(level, "%s", event, extra={"blockusers.event": name, **event.attributes()})


def _level(event: Event) -> int:
    match event:
        case JobEnded() | Retrying() if not isinstance(event.error, RateLimited):
            return logging.INFO
        case PaceChanged() if event.before != event.state.mode:
            return logging.INFO
        case _:
            return logging.DEBUG
