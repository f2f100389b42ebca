"""One request: `wire` builds it and reads its reply, `session` sends it, `retry` tries it again.

`rows`, `matching` and `failures` are what `wire` reads replies with; `messages` are its values.
"""
