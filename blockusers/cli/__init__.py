"""The command line (extra `[cli]`): `blockusers` for people at a terminal and for scripts.

Data goes to stdout, all else to stderr.  Messages mask phone numbers; only the
data that was asked for shows them in full.
"""
