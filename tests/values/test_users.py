"""Reading users: every digit is kept as it stands, or the input is rejected."""

from __future__ import annotations

import unicodedata
from enum import IntEnum
from itertools import product

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from blockusers.values.masking import mask, mask_all
from blockusers.values.users import Identifier, read, same_person

NUMBER = Identifier("16505551234", "16505551234")
PLUS_NUMBER = Identifier("16505551234", "+16505551234")


def digits_of(text: str) -> str:
    """Return the decimal digits of *text*, of whatever script, as ASCII."""
    return "".join(str(unicodedata.decimal(char)) for char in text if char.isdecimal())


def in_script(digits: str, zero: str) -> str:
    """Write *digits* in the script whose zero is *zero*."""
    return "".join(chr(ord(zero) + int(digit)) for digit in digits)


def rejection(user: object) -> str:
    """Return why *user* is rejected."""
    with pytest.raises(ValueError, match=r".") as caught:
        read(user)
    assert type(caught.value) is ValueError
    return str(caught.value)


# --------------------------------------------------------------------------- what is accepted


@pytest.mark.parametrize(
    "text",
    [
        "+16505551234",
        "+1 650 555 1234",
        "+1 (650) 555-1234",
        "+1 [650] 555-1234",
        "+1.650.555.1234",
        "+1/650/555/1234",
        "+1-650-555-1234",
        "+1 650 555-1234-",
        " +16505551234\r\n",
        "\t+16505551234",
        "+1\u00a0650\u202f555\u30001234",
        "\u202a+1 650 555 1234\u202c",
        "\u2066\u202d+16505551234\u202c\u2069",
        "\u200e +16505551234 \u200f",
        "\ufeff+16505551234",
        "+1\u200b6\u200c5\u200d0\u20605551234",
        "+1\u2010650\u2011555\u20131234",
        "+1\u2212650\u2014555\u00ad1234",
        "\uff0b" + in_script("16505551234", "\uff10"),
        "+1\uff08650\uff09555\uff0d1234",
        "+1\uff0f650\uff0e5551234",
        "+" + in_script("16505551234", "\u0660"),
        "+" + in_script("16505551234", "\u06f0"),
        "+" + in_script("16505551234", "\u0966"),
        "+" + in_script("16505551234", "\U0001d7ce"),
    ],
)
def test_spellings_of_one_number(text: str) -> None:
    """However one number is spelt, it is one user, and is sent in one form."""
    assert read(text) == PLUS_NUMBER


@pytest.mark.parametrize(
    "user", [16505551234, "16505551234", "1 650 555 1234", "1-650-555-1234"], ids=repr
)
def test_no_plus_is_added(user: str | int) -> None:
    """A number without a plus is sent without one, and is the same user as with one."""
    assert read(user) == NUMBER
    assert read(user).key == PLUS_NUMBER.key


def test_an_enum_of_ints_is_a_number() -> None:
    """What is an int under another name is read as its value."""
    assert read(IntEnum("Testers", {"ANN": 16505551234}).ANN) == NUMBER


@pytest.mark.parametrize(
    "text",
    [
        "16505551234@s.whatsapp.net",
        "16505551234@c.us",
        "16505551234@S.WhatsApp.NET",
        "16505551234:0@s.whatsapp.net",
        "16505551234:12@s.whatsapp.net",
        " \u202a16505551234@c.us\u202c\n",
        "wa.me/16505551234",
        "wa.me/+16505551234/",
        "http://wa.me/16505551234#",
        "https://wa.me/16505551234?text=Hi%0A4915112345678",
        "HTTPS://www.WA.me/16505551234",
        "https://api.whatsapp.com/send?phone=16505551234",
        "https://api.whatsapp.com/send/?text=4915112345678&phone=%2B16505551234",
        "web.whatsapp.com/send?phone=+16505551234&app_absent=0#x",
        "whatsapp://send?phone=16505551234",
        "whatsapp:+16505551234",
        "WhatsApp: +1 650 555 1234",
        "tel:+1-650-555-1234",
    ],
)
def test_addresses_of_one_number(text: str) -> None:
    """JIDs, also of one device, links and schemes mean the number in them, whole."""
    assert read(text) == PLUS_NUMBER


def test_a_scheme_is_only_dropped() -> None:
    """Behind `tel:` and `whatsapp:` no plus is added, and a BSUID may stand there, too."""
    assert read("tel:16505551234") == NUMBER
    assert read("whatsapp:US.13491208655302741918").is_bsuid


@pytest.mark.parametrize(("digits"), ["1234567", "123456789012345"])
def test_seven_to_fifteen_digits(digits: str) -> None:
    """7 and 15 digits are the shortest and the longest number."""
    assert read(digits) == (digits, digits)
    assert read(int(digits)) == (digits, digits)


@pytest.mark.parametrize("text", ["+49 (151) 1234567", "+49 151/12345678", "+43 5358/12345"])
def test_area_codes_in_brackets_or_before_a_slash(text: str) -> None:
    """Brackets and slashes around an area code are dropped."""
    assert read(text).wire == "+" + digits_of(text)


@pytest.mark.parametrize("text", ["+33 1 23.45.67.00", "+39 02 1234 5678", "+4930 123456-78"])
def test_zeros_inside_a_number_are_its_own(text: str) -> None:
    """A zero that is no trunk prefix and no decimal place is kept."""
    assert read(text).wire == "+" + digits_of(text)


KINDS = (
    PhoneNumberType.MOBILE,
    PhoneNumberType.FIXED_LINE,
    PhoneNumberType.TOLL_FREE,
    PhoneNumberType.VOIP,
    PhoneNumberType.UAN,
)


def spellings(example: phonenumbers.PhoneNumber) -> dict[str, str]:
    return {
        "E164": phonenumbers.format_number(example, PhoneNumberFormat.E164),
        "INTERNATIONAL": phonenumbers.format_number(example, PhoneNumberFormat.INTERNATIONAL),
        "RFC3966": phonenumbers.format_number(example, PhoneNumberFormat.RFC3966)[len("tel:") :],
    }


def test_the_numbers_of_every_region() -> None:
    """Every region's numbers are read, in every international format, with all their digits."""
    examples = [
        phonenumbers.example_number_for_type(region, kind)
        for region, kind in product(phonenumbers.SUPPORTED_REGIONS, KINDS)
    ]
    for texts in map(spellings, filter(None, examples)):
        e164 = texts["E164"]
        if len(digits_of(e164)) < 7:
            continue  # Iran's example of a company number is shorter than any WhatsApp number
        expected = Identifier(e164[1:], e164)

        assert {name: read(text) for name, text in texts.items()} == dict.fromkeys(texts, expected)
        assert read(e164[1:]) == read(int(e164[1:])) == (e164[1:], e164[1:])


# --------------------------------------------------------------------------- what is rejected

SPREADSHEET = "looks like a spreadsheet's decimal number; format that column as text"
NO_NUMBER = "is a link that holds no phone number; pass the number itself"


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("004915112345678", "write + instead of 00"),
        ("+004915112345678", "write + instead of 00"),
        ("00 49 151 12345678", "write + instead of 00"),
        ("015112345678", "write + and the country code instead of the leading 0"),
        ("+015112345678", "write + and the country code instead of the leading 0"),
        (
            in_script("015112345678", "\u0660"),
            "write + and the country code instead of the leading 0",
        ),
        ("0000000", "write + instead of 00"),
        ("+49 (0)151 12345678", "leave that 0 out"),
        ("+49(0151)12345678", "leave that 0 out"),
        ("+49 ( 0 ) 151 12345678", "leave that 0 out"),
        ("+49 [0]151 12345678", "leave that 0 out"),
        ("+49 \uff080\uff09151 12345678", "leave that 0 out"),
        ("+39 (06) 12345678", "leave that 0 out, or the brackets"),
        ("(415) 555-1234", "where the country code belongs; write + and the country code in front"),
        ("[415] 555-1234", "where the country code belongs; write + and the country code in front"),
        (
            "\u202a(415) 555-1234",
            "where the country code belongs; write + and the country code in front",
        ),
        (
            "\uff08650\uff09 555-1234",
            "where the country code belongs; write + and the country code in front",
        ),
        ("-6505551234", "starts with '-'"),
        ("\u22126505551234", "starts with '-'"),
        (".6505551234", "starts with '.'"),
        ("/6505551234", "starts with '/'"),
        (") 650 555 1234", "starts with ')'"),
        ("] 650 555 1234", "starts with ']'"),
        ("+1 650 555 1234 (2)", "ends with a bracket"),
        ("16505551234 [2]", "ends with a bracket"),
        ("16505551234.0", SPREADSHEET),
        ("+16505551234.0", SPREADSHEET),
        ("16505551234.00", SPREADSHEET),
        ("16505551234.000", SPREADSHEET),
        ("16505551234.5", SPREADSHEET),
        ("16505551234.12", SPREADSHEET),
        ("16505551234.123", SPREADSHEET),
        ("1 650 555 1234 . 0", SPREADSHEET),
        ("16505551234\uff0e0", SPREADSHEET),
        ("1.650.555.1234.0", SPREADSHEET),
        ("1.650.0", SPREADSHEET),
        ("1.6505551234E+10", SPREADSHEET),
        ("1.6505551234e10", SPREADSHEET),
        ("+1.65E+10", SPREADSHEET),
        ("165E8", SPREADSHEET),
        ("1,6505551234E+10", SPREADSHEET),
        ("4,91512E+12", SPREADSHEET),
        ("4.91512E+12", SPREADSHEET),
        ("16505551234,0", SPREADSHEET),
        ("16505551234,25", SPREADSHEET),
        ("1,650,555,1234", "',' does not belong"),
        ("1.6505551234E-10", "'E' does not belong"),
        ("+1 650 CALL NOW", "'C' does not belong"),
        ("+1 650 555 1234 ext. 5", "'e' does not belong"),
        ("fax:+16505551234", "'f' does not belong"),
        ("tel:tel:+16505551234", "'t' does not belong"),
        ("tel:+16505551234;ext=5", "';' does not belong"),
        ("tel:015112345678", "write + and the country code instead of the leading 0"),
        ("16505551234:12", "':' does not belong"),
        ("16505551234@example.org", "'@' does not belong"),
        ("16505551234@s.whatsapp.net.example.org", "'@' does not belong"),
        ("1@6505551234@c.us", "'@' does not belong"),
        ("16505551234:123456@c.us", "':' does not belong"),
        ("015112345678@c.us", "instead of the leading 0"),
        ("16505551234-1612345678@g.us", "is a group, not a person; pass the number of the member"),
        ("120363025246125486@G.US", "is a group, not a person"),
        ("123456789012@lid", "is a hidden id (LID), which the API does not take"),
        ("1612345678@broadcast", "is a broadcast list, not a person"),
        ("120363025246125486@newsletter", "is a channel, not a person"),
        ("https://chat.whatsapp.com/AbCdEf12345", NO_NUMBER),
        ("https://wa.me/message/ABCDEF123", NO_NUMBER),
        ("wa.me/", NO_NUMBER),
        ("wa.me/?text=16505551234", NO_NUMBER),
        ("https://wa.me/15551234x", NO_NUMBER),
        ("https://example.org/wa.me/16505551234", NO_NUMBER),
        ("https://example.org/16505551234", NO_NUMBER),
        ("https://api.whatsapp.com/send?text=16505551234", NO_NUMBER),
        ("https://api.whatsapp.com/send?phone=16505551234&phone=4915112345678", NO_NUMBER),
        ("https://api.whatsapp.com/send", NO_NUMBER),
        ("whatsapp://call?phone=16505551234", NO_NUMBER),
        ("wa.me/015112345678", "instead of the leading 0"),
        ("1" * 4097, "has 4,097 characters, which is too long for a phone number"),
        ("1_650_555_1234", "'_' does not belong"),
        ("\N{SUPERSCRIPT ONE}6505551234", "'\N{SUPERSCRIPT ONE}' does not belong"),
        ("16505551234\N{VULGAR FRACTION ONE HALF}", "does not belong"),
        ("1650555\N{CIRCLED DIGIT ONE}234", "does not belong"),
        ("1650\x005551234", "a control character (U+0000) does not belong"),
        ("1650\t5551234", "a control character (U+0009) does not belong"),
        ("16505551234\n14155550000", "a control character (U+000A) does not belong"),
        ("1650\u20285551234", "the character (U+2028) does not belong"),
        ("1650\ud8005551234", "the character (U+D800) does not belong"),
        ("+1+6505551234", "a second + does not belong"),
        ("++16505551234", "a second + does not belong"),
        ("+1650555+", "a second + does not belong"),
        ("+16505551234 +4915112345", "a second + does not belong"),
        ("+16505551234 / +4915112345678", "two numbers in one; pass them one by one"),
        ("1650555/1234567", "two numbers in one; pass them one by one"),
        ("+49 30 1234567/8", "two numbers in one; pass them one by one"),
        ("16505551234/5678", "two numbers in one; pass them one by one"),
        ("16505551234\uff0f5678", "two numbers in one; pass them one by one"),
        ("1/16505551234/2", "two numbers in one; pass them one by one"),
        ("", "has 0 digits; a number with its country code has 7 to 15"),
        (" \u00a0\u200e", "has 0 digits"),
        ("+", "has 0 digits"),
        ("123456", "has 6 digits"),
        ("+12 34 56", "has 6 digits"),
        ("1234567890123456", "has 16 digits"),
        ("16505551234 4915112345678", "has 24 digits"),
        ("1" * 50, "has 50 digits"),
    ],
)
def test_rejections_say_how_to_fix(text: str, fix: str) -> None:
    """What would reach a stranger is rejected; the message says how to fix it."""
    why = rejection(text)

    assert fix in why
    assert mask_all(why) == why
    assert len(text) < 7 or text not in why


def test_no_other_character_is_dropped() -> None:
    """Of the ASCII characters, only blanks and separators are dropped inside a number."""
    for char in set(map(chr, range(128))) - set("0123456789 -()[]./eE"):
        assert "does not belong in a phone number" in rejection(f"+165055{char}51234")


@pytest.mark.parametrize(
    ("user", "why"),
    [
        (None, "a user is a str or an int, not NoneType"),
        (True, "a user is a str or an int, not bool"),
        (False, "a user is a str or an int, not bool"),
        (16505551234.0, "is a decimal number, in which digits may be lost; pass"),
        (float("nan"), "is a decimal number, in which digits may be lost; pass"),
        (b"+16505551234", "a user is a str or an int, not bytes"),
        (["+16505551234"], "a user is a str or an int, not list"),
        (("+16505551234",), "a user is a str or an int, not tuple"),
        (object(), "a user is a str or an int, not object"),
        (-16505551234, "a negative number is nobody's; pass the phone number as text"),
        (0, "starts with 0"),
        (123456, "has 6 digits"),
        (10**15, "more than 15 digits; a phone number has 7 to 15"),
        pytest.param(10**5000, "more than 15 digits; a phone number has 7 to 15", id="huge"),
    ],
)
def test_what_is_no_text_is_rejected(user: object, why: str) -> None:
    """Only text and positive ints name a user."""
    assert why in rejection(user)


# --------------------------------------------------------------------------- BSUIDs


@pytest.mark.parametrize(
    "bsuid",
    [
        "US.13491208655302741918",
        "DE.a",
        "BR." + "Z9" * 64,
        "US.ENT",  # a person's, although it looks like a parent's
        "US.entity1",
    ],
)
def test_bsuids(bsuid: str) -> None:
    """A BSUID is its own key, is sent as it stands, and goes under `user_id`."""
    assert read(bsuid) == (bsuid, bsuid)
    assert read(f"\u202a {bsuid}\n") == (bsuid, bsuid)
    assert read(bsuid).is_bsuid


def test_numbers_are_no_bsuids() -> None:
    """A phone number goes under `user`, dots or no dots."""
    assert not read("+1.650.555.1234").is_bsuid


@pytest.mark.parametrize("case", ["US.ABC", "US.abc"])
def test_the_case_of_a_bsuid_matters(case: str) -> None:
    """Two BSUIDs that differ in case are two users: nothing is known to the contrary."""
    assert read(case).key == case


@pytest.mark.parametrize(
    "text",
    [
        "us.13491208655302741918",
        "Us.13491208655302741918",
        "US..13491208655302741918",
        "US.1349.1208",
        "US.1349.",
        "US." + "1" * 129,
    ],
)
def test_near_bsuids_are_rejected(text: str) -> None:
    """What is nearly a BSUID is rejected, with the form that one has."""
    assert rejection(text).startswith("not a BSUID: two capital letters, one dot")


@pytest.mark.parametrize("text", ["US.ENT.11815799212886844830", "us.ent.1", "US.Ent.", "DE.ENT.x"])
def test_parent_ids_are_rejected(text: str) -> None:
    """A parent id would make the whole request fail, so it is not sent."""
    assert "a parent id" in rejection(text)
    assert "the person's own BSUID" in rejection(text)


@pytest.mark.parametrize(
    "text", ["USA.134", "U.134", "US", "US.", "US. 134", "US-1349120", "US.13_4", "ÄÖ.134", "US.é"]
)
def test_what_only_begins_like_a_bsuid_is_rejected(text: str) -> None:
    """Letters that are no BSUID are no number either."""
    assert "does not belong in a phone number" in rejection(text)


# --------------------------------------------------------------------------- invariants

NOISE = "+-()[]./ \u00a0\u202a\u200e\u2013\u2212,;:eE0123456789\u0660\u0665\u06f9\uff11xUS\t\n\x00"
phone_like = st.text(NOISE, max_size=24) | st.from_regex(
    r"\A\+?[1-9]([0-9]|[0-9][ ./()-]{1,2}){6,16}[.0]{0,2}\Z"
)


@given(phone_like | st.text(max_size=24))
def test_no_digit_is_added_or_dropped(text: str) -> None:
    """Whatever is accepted names the very digits that were passed, in their order."""
    try:
        user = read(text)
    except ValueError:
        return
    if user.is_bsuid:
        assert user.key == text.strip().strip("\u202a\u200e").strip()
    else:
        assert user.key == digits_of(text)
        assert user.wire in {user.key, "+" + user.key}
        assert 7 <= len(user.key) <= 15
        assert not user.key.startswith("0")


@given(phone_like | st.from_regex(r"\A[A-Z]{2}\.[A-Za-z0-9]{1,30}\Z"))
def test_reading_twice_changes_nothing(text: str) -> None:
    """What is sent, and the key, are themselves spellings of the same user."""
    try:
        user = read(text)
    except ValueError:
        return

    assert read(user.wire) == user
    assert read(user.key).key == user.key


@given(
    st.from_regex(r"\A[1-9][0-9]{6,14}\Z"),
    st.data(),
)
def test_separators_make_no_difference(digits: str, data: st.DataObject) -> None:
    """Blanks, separators, marks and other scripts do not change who is meant."""
    zeros = st.sampled_from(["0", "\u0660", "\u06f0", "\u0966", "\uff10"])
    between = st.sampled_from(["", "", " ", "-", "\u00a0", "\u2011", "\u200e", "\u2060", " - "])
    text = "".join(in_script(digit, data.draw(zeros)) + data.draw(between) for digit in digits)
    plus = data.draw(st.sampled_from(["", "+", "\uff0b", "\u202a+"]))

    assert read(plus + text).key == digits
    assert read(plus + text).wire == ("+" if plus else "") + digits


@given(st.integers())
def test_ints_are_read_as_their_digits(value: int) -> None:
    """An int is accepted only as the digits that it is written with."""
    try:
        user = read(value)
    except ValueError:
        assert not 10**6 <= value < 10**15
    else:
        assert user == (str(value), str(value))


@given(st.text(NOISE, min_size=7, max_size=40))
def test_rejections_do_not_repeat_the_input(text: str) -> None:
    """A rejection never shows the number that it rejects."""
    why = ""
    try:
        read(text)
    except ValueError as error:
        why = str(error)

    assert text not in why
    assert len(digits_of(text)) < 7 or digits_of(text) not in digits_of(why)


# --------------------------------------------------------------------------- masks


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("+16505551234", "+1650…34"),
        ("16505551234", "1650…34"),
        ("US.13491208655302741918", "US.1…18"),
        ("+1 650 555 1234", "+1 65…34"),
        ("1234567890", "1234…90"),
        ("123456789", "123…"),
        ("1234567", "12…"),
        ("US.a", "U…"),
        ("ab", "…"),
        ("", "…"),
        ("16\n50555\x1b[1m", "16?5…1m"),
        ("\u202a+1 650 555 1234\u202c", "+1 65…34"),
        ("a\nb", "a…"),
        ("\u202a+16505551234\u202c\n", "+1650…34"),
        ("\ufeff", "…"),
    ],
)
def test_mask(text: str, shown: str) -> None:
    """A masked number shows its country and its end, what is short shows less."""
    assert mask(text) == shown


@given(st.text(min_size=1).filter(lambda text: "…" not in text))
def test_a_mask_hides_something(text: str) -> None:
    """No mask shows the whole, spans lines, or holds what cannot be printed."""
    shown = mask(text)

    assert shown != text
    assert text not in shown
    assert shown.isprintable()
    assert len(shown.replace("…", "", 1)) <= max(2 * len(text) // 3, len(text) // 3)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("(#131021) user +16505551234 is you", "(#131021) user +1650…34 is you"),
        ("16505551234,4915112345678", "1650…34,4915…78"),
        ("1234567", "12…"),
        ("123456", "123456"),
        ("US.13491208655302741918", "US.1…18"),
        ("+1\u00a0650\u202f555\u30001234", "+1?65…34"),
        ("+1\u2013650\u2014555\u22121234", "+1\u201365…34"),
        ("+1/650/555.1234", "+1/65…34"),
        ("(+1) [650] 555 - 1234", "(+1) […34"),
        ("\u202a+1\u200b650\u2060555\u200e1234\u202c", "\u202a+1650…34\u202c"),
        ("\uff0b16505551234", "\uff0b165…34"),
        ("16505551234@s.whatsapp.net", "1650…34@s.whatsapp.net"),
        ("US.ABCDEF1 234567", "US.A…67"),
        ("US.13491208655302741918 within 24 hours", "US.1…18 within 24 hours"),
        ("1234567US.ABCDEFGH", "12…US.A…GH"),
        ("US.ABCDEFCC.DDDDDDD.", "US.A…DD."),
        ("nobody", "nobody"),
        ("", ""),
    ],
)
def test_mask_all(text: str, shown: str) -> None:
    """Every long number inside a sentence is masked, an error code is not."""
    assert mask_all(text) == shown


dropped = st.text(
    st.characters(categories=["Zs"])
    | st.sampled_from("-()[]./\u00ad\u2010\u2013\u2212\uff0d\uff08\uff3d\uff0e\uff0f")
    | st.sampled_from("\u061c\u200b\u200d\u200e\u202a\u202c\u2060\u2066\u2069\ufeff"),
    max_size=5,
)


@given(st.from_regex(r"\A[1-9][0-9]{6,14}\Z"), st.data())
def test_no_spelling_escapes_the_mask(digits: str, data: st.DataObject) -> None:
    """Whatever the parser drops between the digits, a number in a sentence does not stay whole."""
    zeros = st.sampled_from(["0", "\u0660", "\uff10"])
    spelled = "".join(in_script(digit, data.draw(zeros)) + data.draw(dropped) for digit in digits)
    plus = data.draw(st.sampled_from(["", "+", "\uff0b"]))
    shown = mask_all(f"user {plus}{spelled}, please")

    assert digits_of(shown) != digits
    assert len(digits_of(shown)) <= 6
    assert shown.startswith("user ")
    assert shown.endswith(", please")


@given(
    st.text(NOISE)
    | st.lists(
        st.sampled_from(["US.ABCDEF", "1234567", "12345", "1", "CC", "a", ".", " ", "+", "…"])
    ).map("".join)
)
def test_masking_twice_changes_nothing(text: str) -> None:
    """What is masked already stays as it is."""
    shown = mask_all(text)

    assert mask_all(shown) == shown


@given(phone_like | st.text(NOISE, max_size=40))
def test_rejections_pass_the_mask(text: str) -> None:
    """No message of the parser looks like a number, so that none is masked where it is shown."""
    why = ""
    try:
        read(text)
    except ValueError as error:
        why = str(error)

    assert mask_all(why) == why


def test_an_identifier_shows_nobody() -> None:
    """The repr of what was read is masked."""
    assert repr(read("+16505551234")) == "<Identifier 1650…34>"


@pytest.mark.parametrize(
    "spellings",
    [
        {"5511987654321", "551187654321"},  # Brazil
        {"5215512345678", "525512345678"},  # Mexico
        {"5491123456789", "541123456789"},  # Argentina
        {"16505551234"},
        {"US.13491208655302741918"},
        {"4915123456789"},
    ],
    ids=sorted,
)
def test_same_person(spellings: set[str]) -> None:
    """Some countries' numbers come back with or without the digit that marks mobile ones."""
    for key in spellings:
        assert same_person(key) == spellings
