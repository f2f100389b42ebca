"""Learns the largest request that the server takes, from what passed and what was refused."""

from __future__ import annotations

import math
from typing import Final

from blockusers.pace.protocol import LARGEST_REQUEST, Slot
from blockusers.pace.saved import COUNT, FLAG, Number, Saved

_ACCURACY: Final = 1.25
"""Sizes are tried until what was refused is no more than so many times what passed."""
_PATIENCE: Final = 20
"""After so many requests a refused size is tried again; later, after twice as many each time."""


class Sizes(Saved):
    """Learns the largest request that the server takes.

    All requests may be of the largest size until a probe is refused that is larger than all that
    ever passed.  Then sizes are halved until one passes, and from there larger ones are
    tried, one request at a time: twice the size at first, then between what passed and what was
    refused.  A refusal for the rate is mistaken for one of the size now and then, so what was
    refused is tried again later.  Where a size is refused that had passed before, it was the rate:
    once that lets a probe pass, sizes are what they were before they were halved.
    """

    _numbers = {  # noqa: RUF012
        "limit": Number(1, LARGEST_REQUEST, whole=True),
        "_passed": COUNT,
        "_too_large": Number(1),
        "_trying": Number(1, LARGEST_REQUEST, whole=True, optional=True),
        "_patience": Number(1, whole=True),
        "_until_next_doubt": Number(1, whole=True),
        "_before_halving": COUNT,
        "it_was_the_rate": FLAG,
    }

    def __init__(self) -> None:
        self.limit = LARGEST_REQUEST
        """Most users in a request now."""
        self._passed = 0
        self._too_large: float = math.inf
        self._trying: int | None = None
        self._patience = self._until_next_doubt = _PATIENCE
        self._before_halving = 0
        self.it_was_the_rate = False
        """Whether, since a probe passed, a size was refused that had passed before."""

    def begin_trial(self) -> int | None:
        """Return a size above the limit to try with one request; None if there is none."""
        if self._trying is not None or self.limit == LARGEST_REQUEST:
            return None
        if self._too_large > _ACCURACY * self.limit:
            between = (self.limit + min(self._too_large, 3 * self.limit)) / 2
            self._trying = min(int(between), LARGEST_REQUEST)
        return self._trying

    def learn(self, slot: Slot, *, is_probe: bool) -> bool:
        """Learn from an answer; return whether it tells about the size and not about the rate."""
        tried = slot.max_users == self._trying
        if tried:
            self._trying = None
        if slot.was_admitted:
            self._admitted(slot.users)
            if is_probe:
                self._end_of_halving()
        elif is_probe and slot.was_admitted is False and slot.users <= self._passed:
            self.it_was_the_rate = True
        elif slot.was_admitted is False and slot.users > self._passed:
            if is_probe:
                before, self.limit = self.limit, max(self._passed, slot.users // 2, 1)
                self._before_halving = max(self._before_halving, before)
                return self.limit < before
            if tried:
                self._too_large = slot.users
                return True
        return False

    def _end_of_halving(self) -> None:
        """Take the halving back if the sizes were not the reason."""
        if self.it_was_the_rate:
            self.limit = max(self.limit, self._before_halving)
        self._before_halving, self.it_was_the_rate = 0, False

    def _admitted(self, users: int) -> None:
        self._passed = max(self._passed, users)
        self.limit = max(self.limit, users)
        self._until_next_doubt -= 1
        if users >= self._too_large or not self._until_next_doubt:
            self._too_large = math.inf
            self._patience *= 2
            self._until_next_doubt = self._patience
