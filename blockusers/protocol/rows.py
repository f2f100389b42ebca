"""The shapes of the rows in an answer, read with cattrs: ids of users and their errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, override

from blockusers.values.blocklist import BlockedUser
from blockusers.values.masking import mask_all

T = TypeVar("T")


@attrs.define
class Row:
    """One entry of `added_users`, `removed_users` or `failed_users`."""

    input: str | None = None
    wa_id: str | None = None
    user_id: str | None = None
    errors: Any = None


def structure(value: object, shape: type[T]) -> T:
    """Read a row; a text in it that is empty counts as missing.

    Raises:
        ValueError: It is not of that *shape*; the message says where.
    """
    if not isinstance(value, dict):
        raise ValueError("it is malformed: no object")
    try:
        return _CONVERTER.structure(value, shape)
    except cattrs.BaseValidationError as error:
        why = cattrs.transform_error(error, format_exception=lambda reason, _: str(reason))
        raise ValueError(mask_all(f"it is malformed: {'; '.join(why)}")) from None


_DIGITS: Final = re.compile(r"\+?[0-9]{1,32}")
_BSUID: Final = re.compile(r"[A-Z]{2}\.[A-Za-z0-9.]{1,136}")


def _text(value: object, _: object = None) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    raise TypeError(f"text expected, not {type(value).__name__}")


def _wa_id(value: object, _: object) -> str | None:
    text = _text(value)
    if text and not _DIGITS.fullmatch(text):
        raise ValueError("not the digits of a WhatsApp id")
    return text and text.removeprefix("+")


def _user_id(value: object, _: object) -> str | None:
    text = _text(value)
    if text and not _BSUID.fullmatch(text):
        raise ValueError("not a business-scoped user id")
    return text


# Each field is read by its own function, for by itself cattrs makes text of anything.
_READ: Final = {"input": _text, "wa_id": _wa_id, "user_id": _user_id, "parent_user_id": _user_id}
_HOOKS: Final[dict[str, Any]] = {name: override(struct_hook=read) for name, read in _READ.items()}
_CONVERTER: Final = cattrs.Converter()
for _shape in (Row, BlockedUser):
    _read_shape = make_dict_structure_fn(_shape, _CONVERTER, **_HOOKS)
    _CONVERTER.register_structure_hook(_shape, _read_shape)


def are_digits(values: Sequence[Any]) -> bool:
    """Return whether all are the bare digits of a WhatsApp id."""
    try:
        digits = "".join(values)
    except TypeError:
        return False
    lengths = set(map(len, values))
    plain = digits.isascii() and digits.isdecimal() and 0 not in lengths
    return not values or (plain and max(lengths) <= 32)
