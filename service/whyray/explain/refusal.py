"""Whether what one method raised ends that method alone, or all of the work."""

from __future__ import annotations

import logging

from whyray.base.errors import Cancelled, TimeLimit, WhyRayError
from whyray.base.failures import logged, typed_error


def ends_all(error: Exception) -> bool:
    """Whether the whole work ends: it was cancelled, lost or out of time, or the machine lacks what a retry may find.

    Anything else that a method or the evaluation of its explanation raises is about that explanation, and no reason to
    lose the others.
    """
    typed = typed_error(error)
    return typed.retriable or isinstance(typed, (Cancelled, TimeLimit))


def refusal_of(log: logging.Logger, error: Exception, method: str) -> WhyRayError:
    """The refusal that is told of `method`. A defect tells its class and WhyRay's own place, and is logged."""
    if isinstance(error, WhyRayError):
        return error
    logged(log, error, method)
    return typed_error(error)
