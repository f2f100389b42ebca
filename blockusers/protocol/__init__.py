"""One request: `wire` builds it and reads its reply, `session` sends it, `retry` tries it again.

`rows`, `matching` and `failures` are what `wire` reads replies with, `body` what `session` does;
`messages` are the values that pass between them.
"""
