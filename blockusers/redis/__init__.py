"""Several processes and machines on one number, through Redis.

The extra `redis` installs its client.  `SharedPace` gives clients in several processes one pace.
"""

from blockusers.redis.shared_pace import SharedPace

__all__ = ["SharedPace"]
