"""`Outcome`, `Status` and `Fault`: what became of one user, and how a user is named."""

from __future__ import annotations

import enum
from typing import Any, TypeAlias

import attrs

from blockusers.values.blocklist import BlockedUser
from blockusers.values.errors import BlockUsersError, RateLimited, ServiceError, known
from blockusers.values.masking import mask, mask_all
from blockusers.values.users import INTERNATIONAL, Identifier, Reader


class Operation(enum.Enum):
    """What is done to the users of a job."""

    BLOCK = "block"
    UNBLOCK = "unblock"


class Status(enum.Enum):
    """What became of one user."""

    DONE = "done"
    """An answer named the user as added (or removed)."""
    FAILED = "failed"
    """The last answer named the user as failed only, or our own check rejected the input."""
    UNKNOWN = "unknown"
    """It was sent, and the last attempt got no answer about this user."""
    REMAINING = "remaining"
    """Not applied by this job, so it is safe to submit again."""


@attrs.frozen
class Fault:
    """Why one user failed. Numbers in its texts are masked when it is made."""

    code: int | None
    """Meta's error code; None for a check of our own."""
    message: str = attrs.field(converter=mask_all)
    """Meta's words, or ours for an input that was rejected."""
    details: str = attrs.field(default="", converter=mask_all)
    """Meta's `error_data.details`."""

    @property
    def transient(self) -> bool:
        """Whether trying again later may help."""
        code = known(self.code)
        return code is not None and code.error in {ServiceError, RateLimited}

    def __str__(self) -> str:
        if self.code is None:
            return _joined(self.message, self.details)
        if code := known(self.code):
            said = "" if code.advice else self.details or self.message
            return f"{_joined(code.meaning, said)} ({self.code})"
        return f"{_joined(self.message, self.details)} (code {self.code})"


def _joined(*parts: str) -> str:
    return ": ".join(filter(None, parts))


@attrs.frozen(repr=False)
class Outcome:
    """What became of one user."""

    input: Any
    """The user as first passed: text or a number, or whatever was passed and rejected.
    (For a `BlockedUser` its `wa_id` or `user_id`, for an `Outcome` its *input*.)"""
    status: Status
    """What became of the user."""
    wa_id: str | None = None
    """The WhatsApp id that the server named. In Brazil, Mexico and Argentina its digits can
    differ from those that were sent."""
    user_id: str | None = None
    """The business-scoped user id that the server named."""
    faults: tuple[Fault, ...] = ()
    """Why the user failed: from the last answer about this user, or from our own check."""
    uncertain: bool = False
    """Whether some attempt got no answer, so that an effect cannot be excluded although the user
    is not `DONE`."""

    @property
    def ok(self) -> bool:
        """Whether the user is certainly blocked (or unblocked)."""
        return self.status is Status.DONE

    @property
    def fault(self) -> Fault | None:
        """The first fault, if there is one."""
        return self.faults[0] if self.faults else None

    def raise_for_failure(self) -> None:
        """Raise `UserFailed` unless the user is `DONE`."""
        if not self.ok:
            raise UserFailed(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON or CSV; the fault's fields stand beside the user's."""
        fault = self.fault
        return {
            "input": written(self.input),
            "status": self.status.value,
            "wa_id": self.wa_id,
            "user_id": self.user_id,
            "code": fault and fault.code,
            "message": fault and fault.message,
            "details": fault and fault.details,
            "uncertain": self.uncertain,
        }

    def __repr__(self) -> str:
        # Phone numbers are people's; a repr ends up in logs.
        text = f"<Outcome {mask(written(self.input))} {self.status.value}"
        return f"{text}: {self.fault}>" if self.fault else f"{text}>"


User: TypeAlias = str | int | Outcome | BlockedUser
"""What names a user: a phone number or WhatsApp id, a BSUID, or a value from an earlier call."""


def written(named: object) -> str:
    """Return as text whatever was passed; that can be an int too long for Python to write."""
    try:
        return str(named)
    except Exception:
        return f"<{type(named).__name__}>"


def why(error: Exception) -> str:
    """Return what went wrong, with numbers masked; of what is not ours, its class as well."""
    text = mask_all(written(error))
    if isinstance(error, BlockUsersError):
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def named_by(user: object) -> object:
    """Return what names *user*: the text or number itself, taken out of an earlier value."""
    if isinstance(user, Outcome):
        return user.input
    if isinstance(user, BlockedUser):
        return user.wa_id or user.user_id
    return user


def identify(user: object, reader: Reader = INTERNATIONAL) -> Identifier:
    """Read a user; ValueError if it names nobody, or may be two."""
    # Whom the server has named is known by the whole number.
    reader = INTERNATIONAL if isinstance(user, BlockedUser) else reader
    return reader.read(named_by(user))


def names_of(user: object, reader: Reader = INTERNATIONAL) -> tuple[str, ...]:
    """Return all keys under which the list may hold a user, the first the one that was read."""
    known: tuple[str | None, ...] = ()
    if isinstance(user, Outcome | BlockedUser):
        known = (user.wa_id, user.user_id, getattr(user, "parent_user_id", None))
    try:
        known = (identify(user, reader).key, *known)
    except ValueError:
        if not any(known):
            raise
    return tuple(name for name in known if name)


@attrs.define(slots=False)
class UserFailed(BlockUsersError):
    """One user is not `DONE`."""

    outcome: Outcome
    """What became of the user."""

    def __str__(self) -> str:
        name, status = mask(written(self.outcome.input)), self.outcome.status
        became = "failed" if status is Status.FAILED else f"is {status.value}"
        return f"{name} {became}: {self.outcome.fault or 'no answer about it'}"
