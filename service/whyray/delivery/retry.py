"""When to try a delivery again: by the error's class and the destination's own patience."""

from __future__ import annotations

import random
from datetime import timedelta

from whyray.config import Retry
from whyray.errors import WhyRayError

JITTER = 0.2
"""A wait is up to so much longer, so that destinations that failed together don't all come back together."""


def retry_after(error: WhyRayError, attempt: int, policy: Retry, rng: random.Random) -> timedelta | None:
    """The wait before the next attempt; None if there is to be none: a permanent error, or the last attempt.

    Parameters
    ----------
    attempt
        The attempt that has just failed, from 1.
    """
    if not error.retriable or attempt >= policy.attempts:
        return None
    return policy.wait(attempt) * rng.uniform(1.0, 1.0 + JITTER)
