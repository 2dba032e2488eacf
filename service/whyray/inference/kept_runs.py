"""Runs of single images, kept for whoever asks the same network about the same image again.

Packages that are run on one study have packages in common that stand beside them (anatomy, scope), and give them the
same input; what comes out of the same session for the same bytes is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from whyray.base.arrays import FloatArray

if TYPE_CHECKING:
    from whyray.inference.network_session import NetworkSession, Run

MOST_BYTES = 64 << 20
"""What the runs of one study may take together: those that come first are kept."""


class KeptRuns:
    """Runs by session and input. What goes in and what comes out are copies: nobody changes what another gets."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, bytes], tuple[NetworkSession, Run]] = {}
        self._bytes = 0
        self.hits = 0
        """How many passes were spared so far."""

    def run(self, session: NetworkSession, x: FloatArray, make: Callable[[], Run]) -> Run:
        """What `make` gives, or gave before for this session and these bytes."""
        key = id(session), hashlib.sha256(repr((x.shape, x.dtype.str)).encode() + x.tobytes()).digest()
        if key in self._kept:
            self.hits += 1
            return _copy(self._kept[key][1])
        made = make()
        taken = sum(array.nbytes for array in _arrays(made))
        if self._bytes + taken <= MOST_BYTES:
            self._bytes += taken
            self._kept[key] = session, _copy(made)  # the session too, so that no other comes under its number
        return made


def _arrays(run: Run) -> list[FloatArray]:
    return [
        array
        for array in (run.logits, run.features, run.embedding, run.evidence, *run.grad_cams.values())
        if array is not None
    ]


def _copy(run: Run) -> Run:
    return replace(
        run,
        logits=run.logits.copy(),
        features=None if run.features is None else run.features.copy(),
        embedding=None if run.embedding is None else run.embedding.copy(),
        grad_cams={target: heatmap.copy() for target, heatmap in run.grad_cams.items()},
        evidence=None if run.evidence is None else run.evidence.copy(),
    )


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
