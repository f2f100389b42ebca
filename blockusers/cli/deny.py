"""The commands of `blockusers deny`: they change, look up, import and export the deny list."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from blockusers.cli import help_texts, options, process
from blockusers.cli.base import Command, Group
from blockusers.cli.deny_adding import Fields, add
from blockusers.cli.deny_file import header, line_of, new_file, row_of
from blockusers.cli.deny_import import Plan, Result, import_into, read_files
from blockusers.cli.deny_list import ListPlace, find_list
from blockusers.cli.deny_looking import Chosen, Hits, check_all, in_words, totals_of
from blockusers.cli.expiry import read_expiry
from blockusers.cli.input_files import (
    ONLY_TEN_DIGITS,
    Reading,
    count,
    doubts,
    lacks_country_code,
    reader_of,
)
from blockusers.cli.job import check_quotes, read_users, say_how_to_type
from blockusers.cli.process import UsageError, describe, printable
from blockusers.cli.questions import is_confirmed
from blockusers.cli.screen import Screen
from blockusers.cli.summary import to_go_on
from blockusers.guard.deny_list import DenyList
from blockusers.guard.entries import EVERYWHERE, Action, Change, Entry
from blockusers.values.masking import mask
from blockusers.values.outcome import written

app = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode="rich")

_SURE: Final = "add --yes if you are sure"
_LISTED: Final = ("user", "action", "scope", "origin", "expires", "reason")


# Changing the list.


@app.command("add", cls=Command, help=help_texts.DENY_ADD)
def _add(
    *,
    users: options.SomeUsers,
    scope: options.Scope = EVERYWHERE,
    reason: options.Reason = None,
    origin: Annotated[
        str, typer.Option("--origin", metavar="NAME", help="Who says so, such as your name.")
    ] = "",
    expires: options.Expires = None,
    allow: options.Allow = False,
    region: options.Region = None,
    store: options.Store = options.DEFAULT_STORE,
    hash_key_file: options.HashKeyFile = None,
    quiet: options.Quiet = False,
    _debug: options.Debug = False,
) -> None:
    """Add users."""
    screen = Screen(quiet=quiet)
    check_quotes(users)
    found = find_list(screen, store, hash_key_file, region)
    fields = Fields(scope, "allow" if allow else "deny", origin, reason, read_expiry(expires))
    added = found.run(lambda deny_list: add(deny_list, users, fields))
    change = added.change
    _complain(screen, change)
    for user in users:
        if lacks_country_code(user, reader_of(region)):
            screen.tell(f"{mask(user)} has {ONLY_TEN_DIGITS}", "yellow")
    same = len(users) - len(change.refused) - change.added - change.updated
    screen.say(f"{found}: {_sum_up(change.added, change.updated, same)}{_ends(added.ending)}")
    raise typer.Exit(process.SOME_NOT if change.refused else process.ALL_DONE)


@app.command("remove", cls=Command, help=help_texts.DENY_REMOVE)
def _remove(
    *,
    users: options.Users = None,
    files: options.Files = None,
    column: options.Column = None,
    origin: options.ChosenOrigin = None,
    scope: options.ChosenScope = None,
    yes: options.Yes = False,
    region: options.Region = None,
    store: options.Store = options.DEFAULT_STORE,
    hash_key_file: options.HashKeyFile = None,
    quiet: options.Quiet = False,
    _debug: options.Debug = False,
) -> None:
    """Remove users, or an import."""
    screen = Screen(quiet=quiet)
    found = find_list(screen, store, hash_key_file, region)
    found.require()
    check_quotes(users or ())
    reading = Reading()
    if users or files or (origin is None and scope is None):
        reading = read_users(screen, users, files, column)
    screen.complain(reading.complaints, always=True)
    names = [entry.value for entry in reading.entries] if users or files else None
    chosen = Chosen(scope=scope, origin=origin)
    hits, unknown = found.run(partial(_look_up, chosen, names))
    if unknown:
        screen.tell(unknown)
        raise typer.Exit(process.SOME_NOT)
    if hits and not yes and (files or not users):
        _ask_for(screen, f"{count(hits.total(), 'entry')} will be removed{in_words(hits)}")
    change = found.run(lambda deny_list: deny_list.remove(names, scope=scope, origin=origin))
    _complain(screen, change)
    screen.say(f"{found}: {count(change.removed, 'entry')} removed{in_words(hits)}")
    bad = change.refused or reading.complaints
    raise typer.Exit(process.SOME_NOT if bad else process.ALL_DONE)


async def _look_up(
    chosen: Chosen, users: Sequence[Any] | None, deny_list: DenyList
) -> tuple[Hits, str]:
    """Count what will be removed; if that is nothing, say whether the origin is unknown."""
    hits = await chosen.hits(deny_list, users)
    return hits, "" if hits else await chosen.unknown_origin(deny_list)


def _ask_for(screen: Screen, consequence: str) -> None:
    question = f"{consequence}. The guard unblocks whom it blocked for them."
    if not is_confirmed(screen, question, otherwise=_SURE):
        screen.tell("nothing was done")
        raise typer.Exit(process.SOME_NOT)


@app.command("import", cls=Command, help=help_texts.DENY_IMPORT)
def _import(
    *,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Lines, CSV, JSON Lines or an export; - is stdin."),
    ],
    column: options.Column = None,
    origin: Annotated[
        str | None,
        typer.Option(
            "--origin", metavar="NAME", help="Where they come from; by default the file's name."
        ),
    ] = None,
    scope: options.Scope = EVERYWHERE,
    reason: options.Reason = None,
    expires: options.Expires = None,
    allow: options.Allow = False,
    region: options.Region = None,
    store: options.Store = options.DEFAULT_STORE,
    hash_key_file: options.HashKeyFile = None,
    quiet: options.Quiet = False,
    _debug: options.Debug = False,
) -> None:
    """Add the users in files."""
    screen = Screen(quiet=quiet)
    found = find_list(screen, store, hash_key_file, region)
    action: Action = "allow" if allow else "deny"
    fields = Fields(scope, action, reason=reason, expires_at=read_expiry(expires))
    say_how_to_type(screen, files)
    plan = read_files(files, column, fields, origin=origin)
    for note in plan.notes:
        screen.say(note, "dim")
    screen.complain(plan.complaints, always=True)
    result = import_into(found, plan, screen)
    users = (user.value for _, batch in plan.batches for user in batch)
    screen.complain(doubts(users, reader_of(region)), always=True)
    raise typer.Exit(_conclude(plan, result, screen, found))


def _conclude(plan: Plan, result: Result, screen: Screen, found: ListPlace) -> int:
    """Say how an import ended; return the exit code."""
    rejected = len(result.rejections) + len(plan.complaints)
    code = process.exit_code(result.error, all_done=not rejected)
    say = screen.say if code == process.ALL_DONE else screen.tell
    parts = [_sum_up(result.added, result.updated, result.unchanged)]
    parts += [f"{rejected:,} rejected"] if rejected else []
    parts += [f"{count(plan.empty, 'empty cell')} skipped"] if plan.empty else []
    parts += [f"{plan.expired:,} expired since the export"] if plan.expired else []
    say(f"{found}: {', '.join(parts)}, after {result.seconds:.1f} s{_ends(result.ending)}")
    if result.error is not None:
        screen.tell(f"ended early: {describe(result.error)}", "bold red")
        again = to_go_on(result.error, "import again")
        screen.tell(f"{again}: what is there already is left as it is.")
    return code


@app.command("erase", cls=Command, help=help_texts.DENY_ERASE)
def _erase(
    *,
    user: Annotated[str, typer.Argument(metavar="USER", help="Whom to forget.")],
    yes: options.Yes = False,
    region: options.Region = None,
    store: options.Store = options.DEFAULT_STORE,
    hash_key_file: options.HashKeyFile = None,
    quiet: options.Quiet = False,
    _debug: options.Debug = False,
) -> None:
    """Forget a user."""
    screen = Screen(quiet=quiet)
    found = find_list(screen, store, hash_key_file, region)
    found.require()
    try:
        reader_of(region).read(user)
    except ValueError as error:
        raise UsageError(f"{mask(user)} {error}") from None
    question = f"All that is stored about {mask(user)} will be deleted; a block at Meta remains."
    if not yes and not is_confirmed(screen, question, otherwise=_SURE):
        screen.tell("nothing was done")
        raise typer.Exit(process.SOME_NOT)
    change = found.run(lambda deny_list: deny_list.erase(user))
    screen.say(f"{found}: {mask(user)} is forgotten, {count(change.removed, 'entry')} removed")


def _sum_up(added: int, updated: int, same: int) -> str:
    parts = [f"{count(added, 'entry')} added"]
    parts += [f"{updated:,} changed"] if updated else []
    parts += [f"{same:,} already there"] if same else []
    return ", ".join(parts)


def _ends(ending: int) -> str:
    """Say it if somebody who was added again is not denied for ever."""
    if not ending:
        return ""
    verb = "expires" if ending == 1 else "expire"
    return f"; {ending:,} of them {verb} as before, unless you add --expires never"


def _complain(screen: Screen, change: Change) -> None:
    for outcome in change.refused:
        screen.tell(f"rejected: {mask(written(outcome.input))} {outcome.fault}", "yellow")


# Looking at the list.


@app.command("list", cls=Command, help=help_texts.DENY_LIST)
def _list(
    *,
    origin: options.ChosenOrigin = None,
    scope: options.ChosenScope = None,
    action: options.ChosenAction = None,
    store: options.Store = options.DEFAULT_STORE,
    hash_key_file: options.HashKeyFile = None,
    quiet: options.Quiet = False,
    json_lines: options.AsJson = False,
    _debug: options.Debug = False,
) -> None:
    """List the entries."""
    screen = Screen(quiet=quiet)
    found = find_list(screen, store, hash_key_file)
    found.require()
    chosen = Chosen(scope=scope, origin=origin, action=action)
    _print(screen, found, chosen, _as_json if json_lines else _as_text, process.emit)


def _as_json(entry: Entry) -> str:
    return json.dumps(row_of(entry))


def _as_text(entry: Entry) -> str:
    row = row_of(entry)
    # The names come first, so that `cut -f1` has them.
    return "\t".join(printable(row[name]) for name in _LISTED)


def _print(
    screen: Screen,
    found: ListPlace,
    chosen: Chosen,
    line: Callable[[Entry], str],
    emit: Callable[[str], object],
) -> None:
    """Write a line for each entry that is chosen, and say how many there are."""

    async def work(deny_list: DenyList) -> tuple[int, str]:
        number = 0
        async for entry in chosen.entries(deny_list):
            emit(line(entry))
            number += 1
        return number, "" if number else await chosen.unknown_origin(deny_list)

    number, unknown = found.run(work)
    screen.say(unknown or f"{count(number, 'entry')}{_of_hashes(found)}")


def _of_hashes(found: ListPlace) -> str:
    return "; users are hashes, for the list holds nothing else" if found.hash_key else ""


@app.command("check", cls=Command, help=help_texts.DENY_CHECK)
def _check(
    *,
    users: options.Users = None,
    files: options.Files = None,
    column: options.Column = None,
    number: options.Number = None,
    region: options.Region = None,
    store: options.Store = options.DEFAULT_STORE,
    hash_key_file: options.HashKeyFile = None,
    quiet: options.Quiet = False,
    json_lines: options.AsJson = False,
    _debug: options.Debug = False,
) -> None:
    """Say who is denied, and why."""
    screen = Screen(quiet=quiet)
    found = find_list(screen, store, hash_key_file, region)
    found.require()
    check_quotes(users or ())
    reading = read_users(screen, users, files, column)
    screen.complain(reading.complaints)
    checks = found.run(partial(check_all, reading.entries, reader_of(region), number))
    for check in checks:
        process.emit(json.dumps(check.to_dict()) if json_lines else str(check))
    denied = sum(check.is_denied for check in checks)
    rejected = sum(check.user is None for check in checks)
    screen.say(f"{count(len(checks), 'input')}: {denied:,} denied, {rejected:,} rejected")
    bad = rejected or reading.complaints
    raise typer.Exit(process.SOME_NOT if bad else process.ALL_DONE)


@app.command("export", cls=Command, help=help_texts.DENY_EXPORT)
def _export(
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write to this file, not to stdout."),
    ] = None,
    origin: options.ChosenOrigin = None,
    scope: options.ChosenScope = None,
    action: options.ChosenAction = None,
    store: options.Store = options.DEFAULT_STORE,
    hash_key_file: options.HashKeyFile = None,
    quiet: options.Quiet = False,
    _debug: options.Debug = False,
) -> None:
    """Write the entries as CSV."""
    screen = Screen(quiet=quiet)
    found = find_list(screen, store, hash_key_file)
    found.require()
    chosen = Chosen(scope=scope, origin=origin, action=action)
    first = header(hashed=found.hash_key is not None)
    with contextlib.ExitStack() as stack:
        emit: Callable[[str], object] = process.emit
        if output is not None:
            emit = partial(print, file=stack.enter_context(new_file(output)))
        emit(first)
        _print(screen, found, chosen, line_of, emit)


@app.command("status", cls=Command, help=help_texts.DENY_STATUS)
def _status(
    *,
    numbers: options.Numbers = None,
    store: options.Store = options.DEFAULT_STORE,
    hash_key_file: options.HashKeyFile = None,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
    _debug: options.Debug = False,
) -> None:
    """Count the entries."""
    screen = Screen(quiet=quiet)
    found = find_list(screen, store, hash_key_file)
    found.require()
    totals = found.run(partial(totals_of, numbers or ()))
    process.emit_lines([json.dumps(totals.to_dict())] if as_json else totals.lines())
