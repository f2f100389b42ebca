"""Tells observers and the log what a client does."""
