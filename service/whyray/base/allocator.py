"""How the C library keeps memory: by its defaults, a process of many threads holds much more than it uses."""

from __future__ import annotations

import ctypes
import sys

_M_ARENA_MAX = -8
_ARENAS = 2


def use_few_arenas() -> None:
    """Let all threads share two arenas of glibc's malloc, where it is glibc; to be called before threads are started.

    By default each thread may get one of its own, up to eight times the number of cores, and what is freed in one is of
    no use to the others.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Give the kernel back what glibc's malloc holds free, e.g. after the imports and parsing of a start."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
