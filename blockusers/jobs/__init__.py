"""Changing the blocklist: lists in chunks (`batch`), single calls (`coalesce`), and their order."""
