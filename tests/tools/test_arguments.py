"""Checks of numbers: an error names the argument and says what it takes."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import attrs
import pytest

from blockusers._tools.arguments import check_number, number


@attrs.frozen
class Settings:
    seconds: Any = attrs.field(default=1, validator=number(optional=True))
    _size: Any = attrs.field(default=1, validator=number(whole=True, least=1, most=1000))


@pytest.mark.parametrize("value", [0, 0.0, 1, 0.5, 10**12])
def test_takes_numbers_from_zero(value: float) -> None:
    """Without limits any number from zero on is taken."""
    check_number("wait", value)


@pytest.mark.parametrize("value", [1, 500, 1000])
def test_limits_belong_to_the_span(value: int) -> None:
    """The least and the most are allowed themselves."""
    check_number("size", value, whole=True, least=1, most=1000)


@pytest.mark.parametrize("value", [True, "1", None, 1j, b"1", [1], Fraction(1)], ids=repr)
def test_no_number_is_a_type_error(value: object) -> None:
    """What is no number is refused by its type; a bool is none."""
    with pytest.raises(TypeError) as caught:
        check_number("wait", value)

    assert str(caught.value) == f"wait: must be a number, not {type(value).__name__}"


@pytest.mark.parametrize("value", [1.0, 1.5, True, "1", math.nan], ids=repr)
def test_a_fraction_is_no_whole_number(value: object) -> None:
    """Where a whole number is wanted, a float is refused, even one without a fraction."""
    with pytest.raises(TypeError, match=r"^size: must be a whole number, not (float|bool|str)$"):
        check_number("size", value, whole=True)


@pytest.mark.parametrize("value", [-1, -0.001, math.nan, math.inf, -math.inf])
def test_out_of_range_below(value: float) -> None:
    """What is below the least is refused, and so is what is not a number at all."""
    with pytest.raises(ValueError, match="^wait: must be at least 0, not "):
        check_number("wait", value)


@pytest.mark.parametrize("value", [0, 1001, -5])
def test_out_of_range_names_both_ends(value: int) -> None:
    """With two limits, the message names both."""
    with pytest.raises(ValueError, match=f"^size: must be from 1 to 1000, not {value}$"):
        check_number("size", value, least=1, most=1000)


def test_infinity_exceeds_a_limit() -> None:
    """Infinity is more than any limit."""
    with pytest.raises(ValueError, match="^wait: must be from 0 to 60, not inf$"):
        check_number("wait", math.inf, most=60)


def test_the_validator_names_the_argument() -> None:
    """An error of an attrs field names it as the caller writes it, without an underscore."""
    with pytest.raises(ValueError, match="^size: must be from 1 to 1000, not 0$"):
        Settings(size=0)
    with pytest.raises(TypeError, match="^size: must be a whole number, not NoneType$"):
        Settings(size=None)
    with pytest.raises(ValueError, match="^seconds: must be at least 0, not -1$"):
        Settings(seconds=-1)


def test_the_validator_takes_none_if_optional() -> None:
    """An optional field may be None."""
    assert Settings(seconds=None).seconds is None
