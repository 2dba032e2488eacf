"""When to try again what failed: by the error's class and a policy's patience, with jitter.

No loop is here for tenacity to take over, and nothing for Celery's `retry`: a wait is entered in the catalog, where it
outlives the process, an administrator sees it, and whoever is free takes the row up when it is over.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Protocol

from whyray.base.errors import WhyRayError

JITTER = 0.2
"""A wait is up to so much longer, so that what failed together does not all come back together."""


class RetryPolicy(Protocol):
    """How often and how patiently a retriable failure is tried again."""

    @property
    def attempts(self) -> int:
        """Attempts in all."""

    @property
    def ceiling(self) -> timedelta:
        """The longest wait."""

    def wait(self, attempts: int, /) -> timedelta:
        """The wait after so many failed attempts (1 or more)."""


def retry_after(
    error: WhyRayError, attempt: int, policy: RetryPolicy, rng: random.Random, *, outages: int = 0
) -> timedelta | None:
    """The wait before the next attempt; None if there is to be none: a permanent error, or the last attempt.

    A peer that asks for a longer wait gets it, up to the policy's ceiling; a shorter one would use up the attempts
    before the time that the policy gives them. An outage that all work meets is waited out: no attempt is its last, and
    the wait grows with those that met it in a row, which are not counted.

    Parameters
    ----------
    attempt
        The attempt that has just failed, from 1.
    outages
        How many before it, in a row, met an outage that is waited out.
    """
    if not error.retriable or (attempt >= policy.attempts and not error.waited_out):
        return None
    wait = policy.wait(attempt + outages if error.waited_out else attempt)
    if error.not_within is not None:
        wait = max(wait, min(error.not_within, policy.ceiling))
    return wait * rng.uniform(1.0, 1.0 + JITTER)
