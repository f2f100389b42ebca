"""The settings of a sandbox: what it enforces, and what its answers look like.

The defaults are what Meta documents.  What Meta leaves open, or has been seen to do in two ways, is
a field here, so that a client can be tested with every way in which the real server may behave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import attrs
from attrs import validators

SANDBOX_TOKEN: Final = "EAASandboxOnly0ZBq7tZAnHhKcOpensNothingElse0fYw9LkRj3mXv8ZCd2ZD"  # noqa: S105
"""The access token the sandbox takes unless told otherwise."""

_from_one = validators.and_(validators.instance_of(int), validators.ge(1))
_from_zero = validators.and_(validators.instance_of(int), validators.ge(0))
_http_status = validators.and_(_from_one, validators.ge(200), validators.le(599))
_more_than_0: Callable[[Any, Any, Any], None] = validators.optional(validators.gt(0))
_digits = validators.matches_re(r"[0-9]+")
_tokens: Callable[[Any, Any, Any], None] = validators.deep_mapping(_digits, validators.min_len(1))


@attrs.frozen(kw_only=True)
class Rules:
    """The settings of a sandbox; times are in seconds."""

    # Who may call.
    phone_number_ids: tuple[str, ...] = attrs.field(
        default=("106540352242922",),
        converter=tuple,
        validator=[validators.deep_iterable(_digits), validators.min_len(1)],
    )
    """The business numbers that exist; each has a blocklist and a rate limit of its own."""
    access_token: str = attrs.field(
        default=SANDBOX_TOKEN, repr=False, validator=validators.min_len(1)
    )
    """The token that is accepted."""
    access_tokens: Mapping[str, str] = attrs.field(
        factory=dict, converter=dict, repr=False, hash=False, validator=_tokens
    )
    """Tokens of business numbers that have one of their own, by id; no other is then accepted."""
    app_secret: str | None = attrs.field(
        default=None, repr=False, validator=validators.optional(validators.min_len(1))
    )
    """Ask for an `appsecret_proof` made with this secret; `None` asks for none."""
    own_number: str = attrs.field(default="15550783881", validator=_digits)
    """The business's own number, in digits: it cannot be blocked (131021)."""

    # Whom it blocks.
    window: float | None = attrs.field(default=86_400.0, validator=_more_than_0)
    """How long after writing a person can be blocked; `None`: anyone can be, at any time."""
    capacity: int = attrs.field(default=64_000, validator=_from_one)
    """How many people one blocklist holds."""
    full_per_number: bool = True
    """Whether those who do not fit fail alone (139101); otherwise the whole request is refused."""
    max_users: int = attrs.field(default=1_000, validator=_from_one)
    """How many users one request may name; more get 130429."""
    repeats: Literal["once", "refuse"] = attrs.field(
        default="once", validator=validators.in_(("once", "refuse"))
    )
    """What a user named twice gets: one answer, or a refusal of the request."""
    rewrite_wa_ids: bool = False
    """Whether Brazilian, Mexican and Argentine numbers get the `wa_id` of their other spelling."""
    magic: bool = True
    """Whether magic numbers fail as `blockusers.sandbox.magic` lists them."""
    magic_attempts: int = attrs.field(default=2, validator=_from_zero)
    """How often a magic number with a transient error fails before it succeeds."""

    # How fast.
    rate: float | None = attrs.field(default=None, validator=_more_than_0)
    """Requests per second and business number in the long run; `None` sets no limit."""
    burst: int = attrs.field(default=10, validator=_from_one)
    """How many requests may come at once after a rest."""
    rejections_cost: bool = False
    """Whether a rejected request uses up the limit too, to four bursts below zero."""
    listing_costs: bool = True
    """Whether GET is under the same limit."""
    limit_status: int = attrs.field(default=400, validator=_http_status)
    """The HTTP status of 130429."""
    retry_after: float | None = attrs.field(default=None, validator=_more_than_0)
    """The `Retry-After` sent with 130429; `None` sends none."""
    regain_minutes: int | None = attrs.field(default=None, validator=validators.optional(_from_one))
    """The time to regain access that `x-business-use-case-usage` tells with 130429, in minutes
    (0 with every other answer); `None` sends no such header."""
    latency: float = attrs.field(default=0.0, validator=validators.ge(0))
    """How long an answer takes. The effect comes first, then the wait."""

    # How webhooks are posted.
    webhook_timeout: float = attrs.field(default=10.0, validator=validators.gt(0))
    """How long the receiver may take to answer."""
    webhook_retry_wait: float = attrs.field(default=0.1, validator=validators.gt(0))
    """The wait before a webhook is posted again; it grows by half each time."""
    webhook_retry_wait_max: float = attrs.field(default=5.0, validator=validators.gt(0))
    """The longest such wait."""

    # How POST and DELETE are answered.
    mixed_status: int = attrs.field(default=400, validator=_http_status)
    """The HTTP status of an answer in which some user failed."""
    mixed_error: bool = True
    """Whether such an answer has a top-level error beside its lists."""
    mixed_code: int = attrs.field(default=139100, validator=_from_zero)
    """The code of that error."""
    lists_order: Literal["as_sent", "reversed", "shuffled"] = attrs.field(
        default="as_sent", validator=validators.in_(("as_sent", "reversed", "shuffled"))
    )
    """The order of the rows."""
    empty_lists: bool = False
    """Whether a list without rows is sent as `[]`; otherwise it is left out."""
    failed_wa_ids: bool = True
    """Whether rows of failed users carry the `wa_id` (or `user_id`)."""
    codes_as_text: bool = False
    """Whether the codes of failed users are strings."""
    bare_error_data: bool = False
    """Whether `error_data` is a string; otherwise it is an object with `details`."""
    removed_key: Literal["removed_users", "added_users"] = attrs.field(
        default="removed_users", validator=validators.in_(("removed_users", "added_users"))
    )
    """What DELETE calls the list of those it removed."""

    # How GET is answered.
    default_page: int = attrs.field(default=100, validator=_from_one)
    """The rows of a page when no `limit` is asked for."""
    largest_page: int = attrs.field(default=100, validator=_from_one)
    """The most rows of a page, whatever `limit` is asked for."""
    next_links: bool = False
    """Whether pages carry `paging.next`: a trap, never to be requested."""
    nested_listing: bool = False
    """Whether the list has the older, nested shape."""

    def token_of(self, phone_number_id: str) -> str:
        """Return the token of a business number."""
        return self.access_tokens.get(phone_number_id, self.access_token)
