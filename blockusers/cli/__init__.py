"""The command line (extra `[cli]`): the library at a shell's prompt, for people and for scripts.

Data goes to stdout, all else to stderr.  On the screen phone numbers are masked; whole they stand
only where they are the data that was asked for.
"""
