"""How a process that runs for months keeps its memory: by the defaults of its libraries it holds more than it uses."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any

_M_ARENA_MAX = -8
_ARENAS = 2
_stays_small = False


def stay_small() -> None:
    """Let all threads of this process share two arenas of glibc's malloc, and let `settle` have an effect.

    To be called before threads are started. By default each thread may get an arena of its own, up to eight times the
    number of cores, and what is freed in one is of no use to the others.
    """
    global _stays_small
    _stays_small = True
    share_arenas()


def share_arenas() -> None:
    """The first half of `stay_small` alone: for a process that makes large things in threads, and collects garbage."""
    if (mallopt := _of_libc("mallopt")) is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)


def settle() -> None:
    """To be called once a process has started, where `stay_small` was: give back what the start took and left.

    What is there now stays until the end, so that the collector of garbage need not go through it any more: pynetdicom
    has it go through everything every few seconds.
    """
    if not _stays_small:
        return
    gc.collect()
    gc.freeze()
    give_back()


def give_back() -> None:
    """Give back what malloc keeps for later: to be called where something large has been freed."""
    if (trim := _of_libc("malloc_trim")) is not None:
        trim(0)


def _of_libc(name: str) -> Any:
    """A function of the C library; None where it is not glibc."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
