"""Rules are checked when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from blockusers.sandbox import Rules


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 0},
        {"window": -1.0},
        {"window": float("nan")},
        {"capacity": 0},
        {"max_users": 0},
        {"rate": 0},
        {"burst": 0},
        {"retry_after": 0},
        {"regain_minutes": 0},
        {"latency": -1},
        {"largest_page": 0},
        {"mixed_status": 99},
        {"limit_status": 600},
        {"repeats": "twice"},
        {"lists_order": "sorted"},
        {"removed_key": "gone"},
        {"phone_number_ids": ()},
        {"phone_number_ids": ("abc",)},
        {"own_number": "+15550783881"},
        {"access_token": ""},
        {"app_secret": ""},
        {"access_tokens": {"one": "token"}},
        {"access_tokens": {"1": ""}},
        {"webhook_retry_wait": 0},
        {"magic_attempts": -1},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any]) -> None:
    """A rule that cannot be meant fails where it is written, not in the middle of a test."""
    with pytest.raises((ValueError, TypeError)):
        Rules(**wrong)


def test_secrets_stay_out_of_the_repr() -> None:
    """A sandbox may be run with a real-looking secret; it is not printed."""
    text = repr(Rules(access_token="tok-123", app_secret="sec-456", access_tokens={"1": "tok-123"}))

    assert "tok-123" not in text
    assert "sec-456" not in text
