"""When a request may leave: learns the server's rate limit, and lets requests wait.

`protocol` is what a client needs, `paces` waits, `controller` decides when, `queue` who is next.
"""
