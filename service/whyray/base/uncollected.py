"""Starting without Python's collector of garbage, which would go through all libraries again and again meanwhile."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected(*, for_good: bool = False) -> Iterator[None]:
    """Within, garbage is not collected: for imports, which make hundreds of thousands of objects and little garbage.

    The collector goes through all of them every few ten thousand: a fifth of the time that imports take.

    Parameters
    ----------
    for_good
        Whether what is there by the end is never looked through, either: for processes that keep what they start with.
        Garbage among it is kept, too.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if for_good:
            gc.freeze()
        if collects:
            gc.enable()
