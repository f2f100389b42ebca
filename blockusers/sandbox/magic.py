"""Magic numbers: phone numbers that fail on purpose, whatever the language of the client.

A phone number whose last six digits are one of these codes gets that error, before any other rule
is applied, such as `+1 650 555 131047`.  Shorter codes are not magic: padded to six digits, numbers
that are counted up from 0 would meet them.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Magic(NamedTuple):
    """What a magic number does."""

    code: int
    """The error it gets."""
    whole: bool
    """Whether the whole request is refused; otherwise the number fails alone."""
    transient: bool
    """Whether it succeeds after `Rules.magic_attempts` failures; otherwise it never does."""
    blocking_only: bool
    """Whether it fails only when it is blocked; otherwise when it is unblocked, too."""


_WHOLE: Final = (130429, 131005, 131031)
_TRANSIENT: Final = (130429, 131000, 131016, 131057, 133004, 139103)
# Neither the 24-hour rule nor a full blocklist keeps anybody from being unblocked.
_BLOCKING_ONLY: Final = (131047, 139101)
_CODES: Final = (*_WHOLE, *_TRANSIENT, *_BLOCKING_ONLY, 131021)

MAGIC: Final[dict[str, Magic]] = {
    str(code): Magic(code, code in _WHOLE, code in _TRANSIENT, code in _BLOCKING_ONLY)
    for code in _CODES
}
"""Each ending, and what it does."""
