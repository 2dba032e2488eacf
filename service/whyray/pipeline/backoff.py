"""When to try a job again: by the error's class, never by guesswork."""

from __future__ import annotations

import random
from datetime import timedelta

from whyray.config import Retry
from whyray.errors import WhyRayError


def retry_after(error: WhyRayError, attempt: int, retry: Retry, rng: random.Random) -> timedelta | None:
    """The wait before the next attempt; None if there is to be none.

    Up to 20 % of jitter, so that jobs that failed together don't come back together.

    Parameters
    ----------
    attempt
        The attempt that has just failed, from 1.
    """
    if not error.retriable or attempt >= retry.attempts:
        return None
    return retry.wait(attempt) * rng.uniform(1.0, 1.2)
