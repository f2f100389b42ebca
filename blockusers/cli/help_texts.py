"""The texts of `--help`, in Rich's markup. A backspace keeps the line ends of a paragraph."""

from __future__ import annotations

from typing import Final

PROGRAM: Final = """\
Block and unblock WhatsApp users, every number accounted for.

New here? [cyan]blockusers demo[/] shows what it does, and needs no account.

Credentials come from the environment: [bold]WHATSAPP_PHONE_NUMBER_ID[/], \
[bold]WHATSAPP_ACCESS_TOKEN[/], and if you have them [bold]WHATSAPP_APP_SECRET[/], \
[bold]WHATSAPP_API_VERSION[/] and [bold]WHATSAPP_BASE_URL[/].

Exit codes: 0 all done, 1 some not, 2 wrong usage, 3 ended early, 130 interrupted."""

_JOB: Final = """\
{what}

With [bold]--output[/] every outcome is written to a file; run the same command again, and users \
who are done are skipped. The rows of a file belong to one account: a rehearsal with \
[bold]--sandbox[/] does not count for the real run.

\b
[cyan]blockusers {verb} +16505551234 "+44 7911 123456"[/]
[cyan]blockusers {verb} --file numbers.csv --column phone --output out.csv[/]
[cyan]blockusers {verb} --file june.csv --file july.csv --column phone[/]
[cyan]grep spam log.txt | cut -f2 | blockusers {verb} --file -[/]
[cyan]blockusers {verb} --file numbers.csv --sandbox[/]   try it first"""

BLOCK: Final = _JOB.format(
    verb="block",
    what="Block users: they can no longer write to the business number."
    " Meta allows it within 24 hours of a user's last message.",
)
UNBLOCK: Final = _JOB.format(
    verb="unblock", what="Unblock users: they can write to the business number again."
)
LIST: Final = """\
List the blocked users on stdout, one per line, as they come.

\b
[cyan]blockusers list > blocked.txt[/]
[cyan]blockusers list --json | jq -r .wa_id[/]
[cyan]blockusers unblock --file blocked.txt[/]   unblock them all"""

SYNC: Final = """\
Make the blocklist equal to a file: block who is missing, unblock who is not in it.

Shows who would be added and removed, and asks; Ctrl-C there changes nothing. Of a long list a \
terminal shows the beginning, [bold]--json[/] all. Nobody is unblocked while a line of the file is \
rejected. With [bold]--yes[/] nothing at all is done if more than a tenth of the list would be \
unblocked, unless [bold]--max-removals[/] permits it.

\b
[cyan]blockusers sync numbers.csv --column phone --dry-run[/]
[cyan]blockusers sync numbers.csv --column phone --max-removals 500 --yes[/]"""

CHECK: Final = """\
Say how each user is read, or why it is rejected; with --listed also who is blocked.
Without that, nothing is sent anywhere.

\b
[cyan]blockusers check "+1 (650) 555-1234" 0049151234567[/]
[cyan]blockusers check --file numbers.csv --column phone | grep rejected[/]
[cyan]blockusers check --listed +16505551234[/]"""

SANDBOX: Final = """\
Serve a sandbox that behaves like Meta's endpoint, for programs in any language.

\b
[cyan]blockusers sandbox[/]
[cyan]blockusers sandbox --rate 5 --burst 3[/]   with a rate limit to run into
[cyan]blockusers sandbox --window[/]             where nobody wrote within 24 hours"""

DEMO: Final = """\
See what it does: block a real-looking list on a sandbox, list it, unblock it.

\b
[cyan]blockusers demo[/]
[cyan]blockusers demo --users 20000 --seed 7[/]"""

DENY: Final = """\
The deny list: people whom [cyan]blockusers guard[/] blocks when they write.

Meta permits a block only within 24 hours of a user's last message. So a list of known spammers \
cannot be blocked ahead; it waits here. These commands need no credentials and reach nobody.

\b
[cyan]blockusers deny import spammers.csv --column phone[/]
[cyan]blockusers deny check +16505551234[/]
[cyan]blockusers guard --sandbox[/]   see it at work"""

_STORE: Final = """

The list is the file [bold]deny.db[/] in this folder, unless [bold]--store[/] or \
[bold]BLOCKUSERS_STORE[/] names another, or Redis ([bold]BLOCKUSERS_REDIS_URL[/])."""

DENY_ADD: Final = f"""\
Put users on the deny list. A running guard heeds it at once. Of who is on \
it already, reason and end stay as they are unless you give others.{_STORE}

\b
[cyan]blockusers deny add +16505551234 --reason insults --expires 30d[/]
[cyan]blockusers deny add +16505551234 --allow[/]   an exception: do not block"""

DENY_REMOVE: Final = f"""\
Take users off the deny list, or undo an import. The guard then unblocks whom it has blocked \
itself, and nobody else. It asks before it removes a file, an origin or a scope.{_STORE}

\b
[cyan]blockusers deny remove +16505551234[/]
[cyan]blockusers deny remove --origin june.csv --yes[/]   undo an import"""

DENY_LIST: Final = f"""\
List the entries on stdout: user, action, scope, origin, expiry, reason, with tabs between \
them.{_STORE}

\b
[cyan]blockusers deny list --origin june.csv | cut -f1[/]
[cyan]blockusers deny list --json | jq -r .user[/]"""

DENY_CHECK: Final = f"""\
Say who is denied, and why. Exit code 1 is for inputs that name nobody.{_STORE}

\b
[cyan]blockusers deny check +16505551234 "+44 7911 123456"[/]
[cyan]blockusers deny check --file numbers.csv --column phone --number 106540352242922[/]"""

DENY_IMPORT: Final = f"""\
Put the users in files on the deny list; what [cyan]deny export[/] wrote is restored as it was.

A line that names nobody is reported, with its number and the reason, and the others are imported. \
To import again changes nothing but what you give with --reason or --expires.{_STORE}

\b
[cyan]blockusers deny import june.csv --column phone --reason spam[/]
[cyan]blockusers deny import - --origin feed < numbers.txt[/]
[cyan]blockusers deny remove --origin june.csv[/]   undoes it"""

DENY_EXPORT: Final = f"""\
Write the entries as CSV, for a spreadsheet, a backup or another list.{_STORE}

\b
[cyan]blockusers deny export --output backup.csv[/]
[cyan]blockusers deny export --origin june.csv | wc -l[/]
[cyan]blockusers deny import backup.csv --store other.db[/]   what it wrote"""

DENY_ERASE: Final = f"""\
Forget a user: delete their entries, and whatever the guard has stored about them. A block at Meta \
stays; to lift it, [cyan]blockusers unblock[/] them first.{_STORE}

\b
[cyan]blockusers deny erase +16505551234[/]
[cyan]blockusers deny erase US.13491208655302741918 --yes[/]"""

DENY_STATUS: Final = f"""\
Count the entries by scope, action and origin, and with --number what a guard has to do.{_STORE}

\b
[cyan]blockusers deny status[/]
[cyan]blockusers deny status --number 106540352242922 --json[/]"""

GUARD: Final = f"""\
Serve the webhook that Meta posts to, and block people on the deny list when they write.

With [bold]--forward[/] it stands before your bot, which then needs no change: every webhook is \
passed on as it came, and Meta gets the bot's answer.

Credentials come from the environment: those of [cyan]blockusers --help[/], and \
[bold]WHATSAPP_APP_SECRET[/] and [bold]WHATSAPP_VERIFY_TOKEN[/].{_STORE}

\b
[cyan]blockusers guard --sandbox[/]   see it at work; needs no account
[cyan]blockusers guard --port 8080 --forward http://127.0.0.1:3000/webhook[/]"""
