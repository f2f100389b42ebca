"""Parses phone numbers as they are written inside a country (`region`), with the extra `phone`.

With a region such as `BR`, `(11) 91234-5678` and `011 91234-5678` name somebody, and what cannot
be anybody's number is rejected before it costs a request.  Nothing is guessed here either: digits
without a `+` may be a national number or one with its country code, and what may be both is
rejected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Self

from blockusers.values.users import (
    Identifier,
    Reader,
    check_length,
    digits_of,
    normalize,
    same_person,
)

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber


class NationalReader(Reader):
    """Reads the national spellings of one region, and all numbers with their country code.

    Args:
        region: The two letters of a country (ISO 3166), such as `BR`.

    Raises:
        ModuleNotFoundError: The extra `phone` is not installed.
        TypeError, ValueError: There is no such region.
    """

    at_once = 50

    def __init__(self, region: str) -> None:
        try:
            import phonenumbers  # noqa: PLC0415  # an extra
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                'region: needs phonenumbers: pip install "blockusers[phone]", or in a clone'
                ' pip install ".[phone]"',
                name="phonenumbers",
            ) from None
        if not isinstance(region, str):
            raise TypeError(f"region: must be a str, not {type(region).__name__}")
        self._region = region.upper()
        if self._region not in phonenumbers.SUPPORTED_REGIONS:
            raise ValueError("region: must be the two letters of a country, such as BR or DE")
        self._library = phonenumbers
        self._country = str(phonenumbers.country_code_for_region(self._region))
        # A single call is read once by itself, and again with those that share its request.
        self._remembered = lru_cache(2048)(self._the_one)

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        return type(self), (self._region,)

    def read(self, user: object) -> Identifier:
        """Read a national or international number, a WhatsApp id or a BSUID.

        Raises:
            ValueError: The input is no user, or may be two; the message says how to fix it.
        """
        found = normalize(user)
        if isinstance(found, Identifier):
            return found
        key = self._remembered(found)
        check_length(key)
        return Identifier(key, f"+{key}")

    def read_plain(self, users: Sequence[object]) -> None:  # noqa: ARG002
        """Return None: each needs a closer look."""
        return

    def _the_one(self, text: str) -> str:
        """Return the digits, with the country code, of the only number that *text* may be."""
        spelled, meant = self._readings(text)
        valid = {self._key(number) for number in (*spelled, *meant) if self._is_valid(number)}
        own = {key for key in valid if key == digits_of(text) and key.startswith(self._country)}
        if len(own or valid) > 1:
            raise ValueError(
                f"may be a number in {self._region} or one with its country code;"
                " write + and the country code first"
            )
        # Nobody knows all numbers, so what was spelled out need not be valid; all else must be.
        for key in (*own, *valid, *(self._key(each) for each in spelled if self._can_be(each))):
            return key
        raise ValueError(
            f"is no possible number, neither in {self._region} nor with a country code:"
            " digits are missing, or there are too many"
        )

    def _readings(self, text: str) -> tuple[list[PhoneNumber], list[PhoneNumber]]:
        """Return what *text* spells out with its country code, and what it may mean else."""
        digits = digits_of(text)
        if text.startswith("+"):
            return self._parse(f"+{digits}"), []
        if text.startswith(("00", "(00")):
            return self._parse(f"+{digits[2:]}"), self._parse(digits)
        if text.startswith(("0", "(", "[")):
            return [], self._parse(digits)
        return self._parse(f"+{digits}"), self._parse(f"+{self._country}{digits}")

    def _parse(self, spelling: str) -> list[PhoneNumber]:
        try:
            return [self._library.parse(spelling, self._region)]
        except self._library.NumberParseException:
            return []

    def _key(self, number: PhoneNumber) -> str:
        return f"{number.country_code}{self._library.national_significant_number(number)}"

    def _is_valid(self, number: PhoneNumber) -> bool:
        return any(map(self._library.is_valid_number, self._forms(number)))

    def _can_be(self, number: PhoneNumber) -> bool:
        # Not `is_possible_number`: that is content with a number that lacks its area code.
        reasons = map(self._library.is_possible_number_with_reason, self._forms(number))
        return self._library.ValidationResult.IS_POSSIBLE in reasons

    def _forms(self, number: PhoneNumber) -> Iterator[PhoneNumber]:
        """Yield *number*, and another form of it that the server may know."""
        yield number
        key = self._key(number)
        for form in same_person(key) - {key}:
            yield self._library.parse(f"+{form}")
