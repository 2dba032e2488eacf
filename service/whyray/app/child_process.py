"""Processes that must not outlive the one that started them."""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """To be called in a child before it runs its program: it gets SIGTERM when its parent ends, even by SIGKILL.

    An orphaned role would hold the port that the next `serve` wants, an orphaned Redis memory that nobody counts.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
