"""Decides which requests a glitch strikes: by number, user, method, count or chance."""

from __future__ import annotations

import random

import attrs
from attrs import setters, validators

from blockusers.sandbox.glitches import Glitch
from blockusers.sandbox.records import RecordedRequest

_from_0_to_1 = validators.and_(validators.ge(0), validators.le(1))


@attrs.define(kw_only=True)
class ScheduledGlitch:
    """A glitch, and which requests it strikes."""

    glitch: Glitch
    at: frozenset[int] | None
    user: str | None
    method: str | None
    left: int | None = attrs.field(
        validator=validators.optional(validators.ge(1)), on_setattr=setters.NO_OP
    )
    """How often it still strikes; `None`: always."""
    probability: float | None = attrs.field(validator=validators.optional(_from_0_to_1))
    chance: random.Random

    def strikes(self, request: RecordedRequest) -> bool:
        """Return whether the glitch strikes *request*, and count it if so."""
        due = self._is_for(request)
        if not due or (self.probability is not None and self.chance.random() >= self.probability):
            return False
        if self.left is not None:
            self.left -= 1
        return True

    def _is_for(self, request: RecordedRequest) -> bool:
        return (
            self.left != 0
            and (self.at is None or request.number in self.at)
            and self.method in {None, request.method}
            and (self.user is None or self.user in {user.lstrip("+") for user in request.users})
        )
