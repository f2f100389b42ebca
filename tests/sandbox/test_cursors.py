"""Cursors are Meta's, byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockusers.sandbox.cursors import Cursor, decode, encode

RECORDED = [
    (
        "eyJvZAmZAzZAXQiOjAsInZAlcnNpb25JZACI6IjE3Mzc2Nzk2ODgzODM1ODQifQZDZD",
        Cursor(0, 1737679688383584),
    ),
    (
        "eyJvZAmZAzZAXQiOjAsInZAlcnNpb25JZACI6IjE3NDEyNTc3OTI1NjY1MDAifQZDZD",
        Cursor(0, 1741257792566500),
    ),
    (
        "eyJvZAmZAzZAXQiOjEsInZAlcnNpb25JZACI6IjE3NDEyNTc3OTI1NjY1MDAifQZDZD",
        Cursor(1, 1741257792566500),
    ),
    (
        "eyJvZAmZAzZAXQiOjAsInZAlcnNpb25JZACI6IjE3NTU1NTM3MDUxNzUwNTQ1MTAifQZDZD",
        Cursor(0, 1755553705175054510),
    ),
]


@pytest.mark.parametrize(("text", "cursor"), RECORDED)
def test_cursors_equal_recorded_ones(text: str, cursor: Cursor) -> None:
    """What Meta sent is what is made here, and is read back."""
    assert text == encode(cursor)
    assert cursor == decode(text)


@given(st.integers(0, 64_000), st.integers(0, 10**19))
def test_any_cursor_is_read_back(offset: int, version: int) -> None:
    """Nothing is lost, and nothing stands in a cursor that a URL would change."""
    text = encode(Cursor(offset, version))

    assert text.isalnum()
    assert Cursor(offset, version) == decode(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "Z",
        "ZX",
        "é",
        "!!!!",
        "eyJvZAmZAzZAXQiOjB9",
        "bm90IGpzb24ZD",
        "ZBZBZBZB",
        "ZCZCZCZC",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """What no server made is no cursor."""
    with pytest.raises(ValueError, match=r".+"):
        decode(text)
