"""A sandbox in a process of its own, so that its work is not counted as the client's."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from blockusers.sandbox import Credentials, Rules, Sandbox


@contextmanager
def served(**rules: Any) -> Iterator[Credentials]:
    """Serve a sandbox; yield its credentials."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs, rules))
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send(None)
        process.join()


def _serve(pipe: Connection, rules: dict[str, Any]) -> None:
    with Sandbox(Rules(**rules)) as sandbox:
        pipe.send(sandbox.credentials)
        pipe.recv()
