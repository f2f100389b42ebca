"""Helpers that are no concept of this library: checks of arguments, cancellation, lazy loading."""
