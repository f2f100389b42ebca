"""Serves a sandbox for programs in any language, and prints how to use it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Final

from blockusers.cli import process
from blockusers.cli.process import Interrupted, UsageError, emit, reason_of
from blockusers.sandbox import MAGIC, Magic, Rules, Sandbox
from blockusers.values.errors import known

_GREETING: Final = """\
A sandbox of WhatsApp's Block Users API listens at {url}
It reaches nobody, and forgets everything when it stops. Ctrl-C stops it.

The credentials; paste them into another shell, and blockusers works on the sandbox:

export WHATSAPP_PHONE_NUMBER_ID={phone_number_id}
export WHATSAPP_ACCESS_TOKEN={access_token}
export WHATSAPP_BASE_URL={url}

Or from any language:

curl -X POST '{url}/v25.0/{phone_number_id}/block_users' \\
  -H 'Authorization: Bearer {access_token}' -H 'Content-Type: application/json' \\
  -d '{{"messaging_product": "whatsapp", "block_users": [{{"user": "+16505551234"}}]}}'

{window}
Phone numbers that end in these digits fail on purpose:

{magic}
"""
_WITHOUT_WINDOW: Final = "Anybody can be blocked, whether or not they wrote to the business.\n"
_WITH_WINDOW: Final = """\
As with Meta, only people who wrote to the business within 24 hours can be blocked. Nobody writes
to a sandbox from outside, so all get 131047 here; --no-window lifts that rule.
"""


def serve(rules: Rules, host: str, port: int) -> int:
    """Serve until interrupted; return how many requests there were.

    Raises:
        UsageError: Nothing can listen there.
    """
    with contextlib.ExitStack() as stack:
        try:
            sandbox = stack.enter_context(Sandbox(rules, host=host, port=port))
        except OSError as error:
            raise cannot_listen(host, port, error) from None
        emit(
            _GREETING.format(
                url=sandbox.url,
                phone_number_id=rules.phone_number_ids[0],
                access_token=rules.access_token,
                window=_WITH_WINDOW if rules.window else _WITHOUT_WINDOW,
                magic="\n".join(_magic(ending, magic) for ending, magic in sorted(MAGIC.items())),
            )
        )
        with contextlib.suppress(Interrupted):
            process.run(asyncio.Event().wait())
        return len(sandbox.requests)


def cannot_listen(host: str, port: int, error: OSError) -> UsageError:
    """Return why no server can listen there."""
    # For a taken port the error's own words name the address as well.
    number = error.errno or 0
    why = os.strerror(number).lower() if number > 0 else reason_of(error)
    return UsageError(f"cannot listen at {host}:{port}: {why}; choose another with --port")


def _magic(ending: str, magic: Magic) -> str:
    scope = "request" if magic.whole else "number"
    code = known(magic.code)
    passing = " (the first times)" if magic.transient else ""
    return f"  …{ending}  {scope:8} {code.meaning if code else magic.code}{passing}"
