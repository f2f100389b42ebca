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


_LASTING_PER_NUMBER: Final = (131021, 131047, 139101)
_TRANSIENT_PER_NUMBER: Final = (131000, 131016, 131057, 133004, 139103)
_LASTING_WHOLE: Final = (131005, 131031)
_TRANSIENT_WHOLE: Final = (130429,)


def _table(codes: tuple[int, ...], *, whole: bool, transient: bool) -> dict[str, Magic]:
    return {str(code): Magic(code, whole, transient) for code in codes}


MAGIC: Final[dict[str, Magic]] = (
    _table(_LASTING_PER_NUMBER, whole=False, transient=False)
    | _table(_TRANSIENT_PER_NUMBER, whole=False, transient=True)
    | _table(_LASTING_WHOLE, whole=True, transient=False)
    | _table(_TRANSIENT_WHOLE, whole=True, transient=True)
)
"""Each ending, and what it does."""


def magic_of(key: str) -> Magic | None:
    """Return what is magic about *key*. A BSUID may end like this by chance, so it never is."""
    return None if "." in key else MAGIC.get(key[-6:])
