"""How far reading is, in words: of a thousand slices, or of tomosynthesis, it takes minutes."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[str], None]
"""Told how far reading is: 'frame 40 of 100'. What it raises ends the reading."""

_TIMES = 50


class Counted:
    """Tells now and then how many of so many are done."""

    def __init__(self, what: str, total: int, on_progress: OnProgress) -> None:
        self._what, self._total, self._on_progress, self._done = what, total, on_progress, 0

    def one_more(self) -> None:
        """One more is done, or begun."""
        self._done += 1
        if self._total > 1 and self._done % max(1, self._total // _TIMES) == 0:
            self._on_progress(f"{self._what} {self._done} of {self._total}")
