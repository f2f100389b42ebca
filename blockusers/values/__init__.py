"""Values that everything else passes around: accounts, users, outcomes, reports, errors.

Nothing here does I/O or waits.
"""
