"""`Webhook`: checks and reads what Meta posts about incoming messages, without any I/O."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

import attrs
import orjson

from blockusers.guard.payload import (
    Delivery,
    Json,
    Message,
    PayloadReader,
    text,
)
from blockusers.values.errors import BlockUsersError
from blockusers.values.masking import mask

AppSecret: TypeAlias = str | Iterable[str] | Mapping[str, str | Iterable[str]]
"""The app secret; several while it is rotated; or those of each phone number id."""


def _tuple(ids: str | Iterable[str]) -> tuple[str, ...]:
    return (ids,) if isinstance(ids, str) else tuple(ids)


def _masked(ids: tuple[str, ...]) -> str:
    return f"({', '.join(map(mask, ids))})"


@attrs.frozen
class Sighting:
    """Somebody wrote to a business number."""

    phone_number_id: str
    """The business number."""
    ids: tuple[str, ...] = attrs.field(repr=_masked, converter=_tuple)
    """All ids that the message gives for its sender: WhatsApp id, BSUID, parent id."""
    wrote_at: float = attrs.field(factory=time.time)
    """When, in seconds since 1970."""
    message_id: str | None = attrs.field(default=None, repr=False)
    """Meta's id of the message; it holds the sender's number."""


@attrs.frozen
class IdentityChanged:
    """Somebody has another number or another id now. One message may tell of both."""

    old: str = attrs.field(repr=mask)
    """The id before."""
    new: str = attrs.field(repr=mask)
    """The id now."""
    phone_number_id: str = ""
    """The business number that was told."""
    changed_at: float = attrs.field(factory=time.time)
    """When, in seconds since 1970."""
    message_id: str | None = attrs.field(default=None, repr=False)
    """Meta's id of the message that told it."""


class InvalidWebhook(BlockUsersError, ValueError):
    """The body of a webhook is no JSON of Meta's; answer it with 400."""


class WebhookRejected(BlockUsersError):
    """A webhook, or its verification, does not come from Meta; answer it with 401 or 403."""


_SIGNATURE: Final = re.compile("sha256=[0-9a-f]{64}")
_LONGEST_CHALLENGE: Final = 256
_DAY: Final = 86400.0
_NUMBER_CHANGED: Final = ("user_changed_number", "customer_changed_number")
_USER_ID_CHANGED: Final = (*_NUMBER_CHANGED, "user_changed_user_id")


class Webhook:
    """Checks that a webhook is signed by Meta, and reads who wrote to which number.

    Args:
        app_secret: Signs the webhooks. While it is rotated, both the old and the new one. With
            numbers of several apps, a mapping from phone number ids to the secrets of each, so
            that the owner of one app cannot forge messages to the numbers of another.
        verify_token: Meta shows it when it verifies the URL of the webhook.
        clock: Gives the time in seconds since 1970.

    Raises:
        TypeError, ValueError: A secret or the token is missing or no text; the message says where
            Meta shows it.
    """

    def __init__(
        self,
        app_secret: AppSecret,
        verify_token: str,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._reader = PayloadReader()
        self._secrets = _read_secrets(app_secret)
        self._token = _checked("verify_token", verify_token, _CHOOSE_IT).encode()
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Webhook, secrets: {len(self._secrets)}>"

    @property
    def skipped(self) -> int:
        """How many parts of webhooks had an unknown shape, or messages no sender."""
        return self._reader.skipped

    def challenge(self, query: Mapping[str, str]) -> str:
        """Return what to answer when Meta verifies the URL, with 200 and as `text/plain`.

        Args:
            query: The query of the GET request, decoded.

        Raises:
            WebhookRejected: The verify token is wrong, or something is missing.
        """
        mode, token, challenge = (
            query.get(f"hub.{name}") for name in ("mode", "verify_token", "challenge")
        )
        given = token.encode(errors="surrogatepass") if isinstance(token, str) else b""
        if not hmac.compare_digest(given, self._token):
            raise WebhookRejected("the verify token is missing or wrong")
        if mode != "subscribe" or not isinstance(challenge, str) or not challenge:
            raise WebhookRejected("hub.mode or hub.challenge is missing or wrong")
        if len(challenge) > _LONGEST_CHALLENGE:
            raise WebhookRejected("hub.challenge is longer than Meta's are")
        return challenge

    def verify(self, raw: bytes, signature: str | None) -> frozenset[str] | None:
        """Check the signature of a webhook; nothing of *raw* is parsed.

        Args:
            raw: The body, exactly as it was received.
            signature: The header `X-Hub-Signature-256`.

        Returns:
            The phone number ids for which the signature speaks; None if it does for all.

        Raises:
            WebhookRejected: The signature is missing, malformed or wrong.
        """
        numbers = [self._secrets[secret] for secret in self._signers(raw, signature)]
        if None in numbers:
            return None
        return frozenset().union(*(each for each in numbers if each is not None))

    def read(self, raw: bytes) -> list[Sighting | IdentityChanged]:
        """Return who wrote, and who has another number or id, by a webhook.

        Messages under `messages` and `standby` are sightings, those in groups too. Statuses,
        echoes, history and messages of the business itself are not. What has an unknown shape is
        skipped, and counted in `skipped`.

        Raises:
            InvalidWebhook: *raw* is no JSON object.
        """
        now = self._clock()
        told: list[Sighting | IdentityChanged] = []
        for delivery in self._reader.deliveries(parse(raw)):
            number = delivery.phone_number_id
            told += [_sighting(number, message, now) for message in delivery.messages]
            told += self._identity_changes(delivery, now)
        return told

    def sign_again(self, part: bytes, raw: bytes, signature: str) -> str:
        """Sign what is left of a webhook with the secret that its signature was made with.

        So *part* is believed by those who would have believed *raw*, and by nobody else.

        Args:
            part: The new body.
            raw: The body as it was received.
            signature: The signature of *raw*.

        Raises:
            WebhookRejected: *signature* is wrong.
        """
        return _signature(self._signers(raw, signature)[0], part)

    def _signers(self, raw: bytes, signature: str | None) -> list[bytes]:
        """Return the secrets with which *raw* may have been signed."""
        if not isinstance(signature, str) or not signature:
            raise WebhookRejected("the webhook has no signature (X-Hub-Signature-256)")
        if not _SIGNATURE.fullmatch(signature):
            raise WebhookRejected("the signature is malformed: not sha256= and 64 hex digits")
        # All are tried, so that the time taken does not tell which one it was.
        found = [
            secret
            for secret in self._secrets
            if hmac.compare_digest(_signature(secret, raw), signature)
        ]
        if not found:
            raise WebhookRejected("the signature is wrong; is it the secret of the same app?")
        return found

    def _identity_changes(self, delivery: Delivery, now: float) -> Iterator[IdentityChanged]:
        for message in delivery.system:
            pairs = [(old, new) for old, new in _changed_ids(message) if old and new != old]
            for old, new in pairs:
                yield IdentityChanged(
                    old=old,
                    new=new,
                    phone_number_id=delivery.phone_number_id,
                    changed_at=_seconds(message.get("timestamp"), now),
                    message_id=_message_id(message),
                )


# ----------------------------------------------------------------------- secrets

_FIND_IT: Final = "Meta shows it in the App Dashboard under App settings > Basic > App secret"
_CHOOSE_IT: Final = (
    "it is any text of your own, which you also enter in the App Dashboard under"
    " WhatsApp > Configuration > Verify token"
)


def _read_secrets(given: AppSecret) -> dict[bytes, frozenset[str] | None]:
    """Return the phone number ids for which each secret speaks; None stands for all."""
    if not isinstance(given, Mapping):
        return dict.fromkeys(_secrets_of("app_secret", given))
    if not given:
        raise ValueError(f"app_secret: must not be empty; {_FIND_IT}")
    numbers: dict[bytes, set[str]] = {}
    for phone_number_id, secrets in given.items():
        _checked("app_secret: a phone number id", phone_number_id, "Meta's API Setup shows it")
        for secret in _secrets_of(f"app_secret of {phone_number_id}", secrets):
            numbers.setdefault(secret, set()).add(phone_number_id)
    return {secret: frozenset(ids) for secret, ids in numbers.items()}


def _secrets_of(name: str, given: object) -> list[bytes]:
    many = isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping)
    secrets = list(given) if many else [given]  # type: ignore[call-overload]
    if not secrets:
        raise ValueError(f"{name}: must not be empty; {_FIND_IT}")
    return [_checked(name, secret, _FIND_IT).encode() for secret in secrets]


def _checked(name: str, value: object, where: str) -> str:
    """Return a secret if it is one. The message of an error does not show it."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: must be a str, not {type(value).__name__}; {where}")
    if not value or value.strip() != value or not value.isprintable():
        raise ValueError(f"{name}: must not be empty, nor have blanks around it; {where}")
    return value


def _signature(secret: bytes, raw: bytes) -> str:
    return f"sha256={hmac.digest(secret, raw, 'sha256').hex()}"


# ----------------------------------------------------------------------- reading


def parse(raw: bytes) -> Json:
    """Parse the body of a webhook.

    Raises:
        InvalidWebhook: It is no JSON object.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise InvalidWebhook("the body of the webhook is no JSON") from None
    if not isinstance(body, dict):
        raise InvalidWebhook("the body of the webhook is no JSON object, as Meta's are")
    return body


def _sighting(phone_number_id: str, message: Message, now: float) -> Sighting:
    return Sighting(
        phone_number_id,
        message.ids,
        wrote_at=_seconds(message.json.get("timestamp"), now),
        message_id=_message_id(message.json),
    )


def _message_id(message: Json) -> str | None:
    given = message.get("id")
    return given if isinstance(given, str) and given else None


def _seconds(timestamp: object, now: float) -> float:
    """Read seconds since 1970; what is none, or lies in the future, is *now*."""
    if isinstance(timestamp, str) and timestamp.isascii() and timestamp.isdecimal():
        timestamp = int(timestamp[:20])
    if isinstance(timestamp, bool) or not isinstance(timestamp, int | float):
        return now
    return float(timestamp) if 0 < timestamp <= now + _DAY else now


def _changed_ids(message: Json) -> Iterator[tuple[str, str]]:
    """Yield the id before and the id after, of the number and of the BSUID."""
    told = message.get("system")
    if not isinstance(told, dict):
        return
    if told.get("type") in _NUMBER_CHANGED:
        before = text(told.get("customer")) or text(message.get("from"))
        yield before, text(told.get("wa_id")) or text(told.get("new_wa_id")) or before
    if told.get("type") in _USER_ID_CHANGED:
        before = text(told.get("previous_user_id")) or text(message.get("from_user_id"))
        yield before, text(told.get("user_id")) or before
