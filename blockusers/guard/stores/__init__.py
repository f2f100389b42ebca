"""Where the deny list and the intents are kept: what a `Store` does, and `SqliteStore`."""
