"""Processes that must not outlive the one that started them."""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(by: signal.Signals = signal.SIGTERM) -> None:
    """To be called in a child before it runs its program: it gets this signal when its parent ends, even by SIGKILL.

    An orphaned role would hold the port that the next `serve` wants, an orphaned Redis memory that nobody counts.
    To Linux the parent is the *thread* that has started the child (prctl(2), PR_SET_PDEATHSIG): it has to live as long
    as the child may, or the child ends with it while the program goes on.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by)


def how_ended(code: int) -> str:
    """What an exit code of a process says: a signal's name, or the number."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
