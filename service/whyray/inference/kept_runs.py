"""Runs of single images, kept for whoever asks the same network about the same image again.

Packages that are run on one study have packages in common that stand beside them (anatomy, scope), and give them the
same input; what comes out of the same session for the same bytes is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from whyray.base.arrays import FloatArray

if TYPE_CHECKING:
    from whyray.inference.network_session import NetworkSession, Run

MOST_BYTES = 64 << 20
"""What the runs of one study may take together: those that come first are kept."""


class KeptRuns:
    """Runs by session and input.

    The very arrays are given again, as within one job: a copy of other strides would give sums other last bits. What
    somebody has changed is made anew.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, bytes], _KeptRun] = {}
        self._bytes = 0
        self.hits = 0
        """How many passes were spared so far."""

    def run(self, session: NetworkSession, x: FloatArray, make: Callable[[], Run]) -> Run:
        """What `make` gives, or gave before for this session and these bytes."""
        key = id(session), _digest([x])
        kept = self._kept.get(key)
        if kept is not None and kept.digest == _digest(_arrays(kept.run)):
            self.hits += 1
            return kept.run
        made = make()
        arrays = _arrays(made)
        taken = 0 if kept is not None else sum(array.nbytes for array in arrays)
        if self._bytes + taken <= MOST_BYTES:
            self._bytes += taken
            self._kept[key] = _KeptRun(session, made, _digest(arrays))
        return made


@dataclass(frozen=True)
class _KeptRun:
    session: NetworkSession
    """Held, so that no other comes under its number."""
    run: Run
    digest: bytes


def _arrays(run: Run) -> list[FloatArray]:
    named = (run.logits, run.features, run.embedding, run.evidence)
    return [*(array for array in named if array is not None), *run.grad_cams.values()]


def _digest(arrays: Sequence[FloatArray]) -> bytes:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


_in_force: KeptRuns | None = None


def kept_runs() -> KeptRuns | None:
    """Those that are in force; None where nothing is kept."""
    return _in_force


@contextmanager
def keeping_runs(kept: KeptRuns) -> Iterator[None]:
    """Inside, runs of single images are kept there, and come from there."""
    global _in_force
    before, _in_force = _in_force, kept
    try:
        yield
    finally:
        _in_force = before
