"""The help page that the sandbox shows in a browser."""

from __future__ import annotations

from typing import Final

from blockusers.sandbox.magic import MAGIC, Magic
from blockusers.sandbox.refusals import WORDINGS
from blockusers.sandbox.rules import Rules

_TEXT: Final = """\
This is a sandbox for WhatsApp's Block Users API. It behaves like Meta's endpoint, reaches nobody,
and forgets everything when it stops.

  POST    blocks     {base}/block_users
  DELETE  unblocks   the same URL, the same body
  GET     lists      {base}/block_users?limit=100

Try it:

  curl -X POST '{base}/block_users' \\
    -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \\
    -d '{{"messaging_product": "whatsapp", "block_users": [{{"user": "+16505551234"}}]}}'

{window}

Phone numbers that end in these digits fail on purpose, so that you can rehearse it:

{magic}
"""
_WITH_WINDOW: Final = """\
Only people who wrote to the business in the last {:g} hours can be blocked; others get 131047."""
_WITHOUT_WINDOW: Final = "Anybody can be blocked, whether or not they wrote to the business."


def help_text(rules: Rules, url: str) -> str:
    """Return the help for a sandbox that listens at *url*."""
    hours = None if rules.window is None else rules.window / 3600
    lines = [f"  …{ending}  {_explain(magic, rules)}" for ending, magic in sorted(MAGIC.items())]
    return _TEXT.format(
        base=f"{url}/v25.0/{rules.phone_number_ids[0]}",
        token=rules.access_token,
        window=_WITHOUT_WINDOW if hours is None else _WITH_WINDOW.format(hours),
        magic="\n".join(lines) if rules.magic else "  (switched off here)",
    )


def _explain(magic: Magic, rules: Rules) -> str:
    what = "the whole request" if magic.whole else "that number"
    when = f", {rules.magic_attempts} times" if magic.transient else ""
    return f"{WORDINGS[magic.code].message}: {what}{when}"
