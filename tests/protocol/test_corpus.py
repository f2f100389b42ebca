"""The corpus: cases that once went wrong, in review, by fuzzing or by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from multidict import CIMultiDict

from blockusers import ApiError, BlockUsersError, Operation
from blockusers.protocol.messages import Reply
from blockusers.protocol.wire import read_update
from blockusers.values.users import read
from tests.support import identifiers

CORPUS = Path(__file__).parent / "corpus"
ASKED = "+16505551234"


def cases(name: str) -> list[Any]:
    found = json.loads((CORPUS / name).read_text(encoding="utf-8"))
    return [pytest.param(case, id=f"{n} {case['why']}") for n, case in enumerate(found)]


@pytest.mark.parametrize("case", cases("inputs.json"))
def test_inputs(case: dict[str, str]) -> None:
    """An input that once was turned into somebody else's number is refused."""
    with pytest.raises(ValueError, match=".") as caught:
        read(case["input"])

    assert case["input"] not in str(caught.value)


def came_of(reply: Reply) -> BlockUsersError | str:
    try:
        return read_update(reply, Operation.BLOCK, identifiers(ASKED))[0].status.value
    except BlockUsersError as error:
        return error


@pytest.mark.parametrize("case", cases("replies.json"))
def test_replies(case: dict[str, Any]) -> None:
    """A reply that once was misread is read as it should be, and shows nobody's number."""
    headers = CIMultiDict(case.get("headers", {}))
    result = came_of(Reply(case["status"], headers, orjson.dumps(case["body"])))
    if isinstance(result, str):
        assert result == case["expect"]
        return

    assert type(result).__name__ == case["expect"]
    assert ASKED[1:] not in str(result) + repr(result)
    if isinstance(result, ApiError):
        assert result.not_applied is case.get("not_applied", result.not_applied)
        assert result.retry_after == case.get("retry_after")
