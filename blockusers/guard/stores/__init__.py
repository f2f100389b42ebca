"""Where the deny list and the intents are kept: a `Store`, in SQLite or in Redis."""
