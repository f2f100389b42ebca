"""Tells what a client does: `events` are values, `observers` notifies, `logs` writes the log."""
