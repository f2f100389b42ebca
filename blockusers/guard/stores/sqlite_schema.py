"""The tables and indexes of a SQLite store, as SQL."""

from __future__ import annotations

from typing import Final

SCHEMA: Final = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    # Origins and reasons, which many entries share, and how many entries have each.
    """
    CREATE TABLE texts (
        id INTEGER PRIMARY KEY,
        text TEXT NOT NULL UNIQUE,
        origins INTEGER NOT NULL DEFAULT 0,
        reasons INTEGER NOT NULL DEFAULT 0
    )
    """,
    "CREATE INDEX texts_of_origins ON texts (origins) WHERE origins > 0",
    # Times have no type, so that whole seconds take four bytes.
    """
    CREATE TABLE entries (
        user TEXT NOT NULL,
        scope TEXT NOT NULL,
        is_deny INTEGER NOT NULL,
        origin INTEGER NOT NULL,
        reason INTEGER NOT NULL,
        added_at NOT NULL,
        expires_at,
        PRIMARY KEY (user, scope, is_deny, origin)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX entries_that_expire ON entries (expires_at) WHERE expires_at IS NOT NULL",
    # `orphaned_at`: since when the user has had no entry, if that is so.
    """
    CREATE TABLE aliases (
        id TEXT PRIMARY KEY,
        user TEXT NOT NULL,
        orphaned_at
    ) WITHOUT ROWID
    """,
    "CREATE INDEX aliases_of_user ON aliases (user)",
    "CREATE INDEX aliases_orphaned ON aliases (orphaned_at) WHERE orphaned_at IS NOT NULL",
    """
    CREATE TABLE moves (
        message TEXT NOT NULL,
        target TEXT NOT NULL,
        at NOT NULL,
        made_at NOT NULL,
        PRIMARY KEY (message, target, at)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX moves_to ON moves (target, at)",
    "CREATE INDEX moves_by_age ON moves (made_at)",
    # `recheck`: a number, larger with each change of an entry that concerns the record.
    """
    CREATE TABLE records (
        person TEXT NOT NULL,
        number TEXT NOT NULL,
        user TEXT NOT NULL,
        ids TEXT NOT NULL,
        entry TEXT NOT NULL,
        blocked_at NOT NULL,
        recheck INTEGER,
        PRIMARY KEY (person, number)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX records_by_age ON records (number, blocked_at)",
    "CREATE INDEX records_of_entry ON records (entry)",
    "CREATE INDEX records_to_recheck ON records (number, recheck) WHERE recheck IS NOT NULL",
    # See `IntentRow` for what the columns mean.
    """
    CREATE TABLE intents (
        person TEXT NOT NULL,
        number TEXT NOT NULL,
        state INTEGER NOT NULL,
        operation TEXT NOT NULL,
        user TEXT NOT NULL,
        ids TEXT NOT NULL,
        entry TEXT NOT NULL,
        wrote_at NOT NULL,
        messages TEXT NOT NULL,
        not_after,
        rank INTEGER NOT NULL,
        version INTEGER NOT NULL,
        tries INTEGER NOT NULL,
        place INTEGER NOT NULL,
        made_at NOT NULL,
        due_at NOT NULL,
        settled_at,
        block_late,
        unblock_late,
        block_until,
        unblock_until,
        seen_at,
        seen TEXT NOT NULL,
        PRIMARY KEY (person, number)
    ) WITHOUT ROWID
    """,
    """
    CREATE INDEX intents_to_take ON intents (number, rank, operation, due_at, place)
    WHERE state = 1
    """,
    "CREATE INDEX intents_taken ON intents (number) WHERE state = 2",
    "CREATE INDEX intents_open ON intents (number, rank, operation, made_at) WHERE state > 0",
    "CREATE INDEX intents_settled ON intents (settled_at) WHERE state = 0",
    "CREATE INDEX intents_of_entry ON intents (entry)",
    "CREATE TABLE sequence (last INTEGER NOT NULL, scrubbed_at NOT NULL)",
    "INSERT INTO sequence VALUES (0, 0)",
)
"""Creates everything in an empty database."""
