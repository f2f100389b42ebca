"""Asks in the terminal before something is done that cannot be undone."""

from __future__ import annotations

import sys

from rich.prompt import Confirm

from blockusers.cli.process import Interrupted, UsageError
from blockusers.cli.screen import Screen


class _Question(Confirm):
    """Takes `yes` and `no` as well as `y` and `n`."""

    def process_response(self, value: str) -> bool:
        """Return the answer."""
        word = value.strip().lower()
        return super().process_response({"yes": "y", "no": "n"}.get(word, word))


def is_confirmed(screen: Screen, consequence: str, *, otherwise: str) -> bool:
    """Say what will be done, and ask whether to go on; Ctrl-D is a no.

    Args:
        screen: Where to ask.
        consequence: What will be done; nothing is said if it is empty.
        otherwise: What to do where nobody can be asked.

    Raises:
        UsageError: There is no terminal to ask on.
        Interrupted: By Ctrl-C.
    """
    for name, stream in (("stdin", sys.stdin), ("stderr", sys.stderr)):
        if stream is None or not stream.isatty():
            raise UsageError(f"cannot ask, for {name} is not a terminal; {otherwise}")
    if consequence:
        screen.tell(consequence)
    try:
        return _Question.ask("Go on?", console=screen.console, default=False)
    except EOFError:
        screen.tell("")
        return False
    except KeyboardInterrupt:
        screen.tell("")
        raise Interrupted("interrupted; nothing was done") from None
