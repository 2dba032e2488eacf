"""When to try a job again: by the error's class, never by guesswork."""

from __future__ import annotations

import random
from datetime import timedelta

from whyray.errors import WhyRayError

MAX_ATTEMPTS = 5
FIRST = timedelta(seconds=15)
CEILING = timedelta(minutes=30)


def retry_after(error: WhyRayError, attempt: int, rng: random.Random) -> timedelta | None:
    """The wait before the next attempt; None if there is to be none.

    Doubles from `FIRST` up to `CEILING`, with up to 20 % of jitter, so that jobs that failed together don't come back
    together.

    Parameters
    ----------
    attempt
        The attempt that has just failed, from 1.
    """
    if not error.retriable or attempt >= MAX_ATTEMPTS:
        return None
    wait = min(FIRST * 2 ** (attempt - 1), CEILING)
    return wait * rng.uniform(1.0, 1.2)
