"""Recorded requests, and scheduled glitches: which requests a glitch strikes."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Final

import attrs
from attrs import validators

from blockusers.sandbox.glitches import Glitch

_LONG_NUMBER: Final = re.compile(r"([0-9]{4})[0-9]{3,}([0-9]{2})")


def _masked(text: str) -> str:
    return repr(_LONG_NUMBER.sub(r"\1…\2", text))


def _counted(users: tuple[str, ...]) -> str:
    return f"<{len(users)}>"


@attrs.frozen(kw_only=True)
class RecordedRequest:
    """One request that a sandbox got. Its `repr` shows neither tokens nor phone numbers."""

    number: int
    """Counted from 1 over the life of the sandbox."""
    method: str
    path: str = attrs.field(repr=_masked)
    query: Mapping[str, str] = attrs.field(repr=False)
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Names in any case find them."""
    users: tuple[str, ...] = attrs.field(default=(), repr=_counted)
    """The strings sent as users; none yet while the body is not read."""
    status: int | None = None
    """The status that was answered; `None`: no answer has been begun."""
    code: int | None = None
    """The error code at the top level of the answer."""
    glitch: str | None = None
    """The name of the glitch that struck it."""


@attrs.define(kw_only=True)
class ScheduledGlitch:
    """A glitch, and which requests it strikes."""

    glitch: Glitch
    at: frozenset[int] | None
    user: str | None
    method: str | None
    times: int | None = attrs.field(validator=validators.optional(validators.ge(1)))
    probability: float | None = attrs.field(
        validator=validators.optional(validators.and_(validators.ge(0), validators.le(1)))
    )
    seed: int
    _left: int | None = attrs.field(init=False)
    _random: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._left = self.times
        self._random = random.Random(self.seed)  # noqa: S311  # chance, not secrecy

    @property
    def early(self) -> bool:
        """Whether it can strike before the body is read."""
        return self.glitch.early and self.user is None

    def strikes(self, request: RecordedRequest) -> bool:
        """Return whether the glitch strikes *request*, and count it if so."""
        if not self._is_for(request) or not self._by_chance():
            return False
        if self._left is not None:
            self._left -= 1
        return True

    def _is_for(self, request: RecordedRequest) -> bool:
        return (
            self._left != 0
            and (self.at is None or request.number in self.at)
            and self.method in {None, request.method}
            and (self.user is None or self.user in {user.lstrip("+") for user in request.users})
        )

    def _by_chance(self) -> bool:
        return self.probability is None or self._random.random() < self.probability
