"""The log: writes events to the logger `blockusers`, each at its level; `events` has their texts.

The message is the event's line; its values are in `extra`, for logs in JSON.  Levels: WARNING when
a guard stops sending for a number; INFO when it begins or goes on, when a job ends, when a request
is retried after an error, and when the pace changes its mode; DEBUG for everything else, refusals
for the rate limit included.
"""

from __future__ import annotations

import logging
from typing import Final

from blockusers.observe.events import DrainChanged, Event, JobEnded, PaceChanged, Retrying
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
        case DrainChanged():
            return logging.WARNING if event.reason else logging.INFO
        case PaceChanged() if event.before != event.state.mode:
            return logging.INFO
        case _:
            return logging.DEBUG
