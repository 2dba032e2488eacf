"""What is remembered of the last image that a model saw, so that asking twice about it costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import numpy as np

from whyray.base.arrays import FloatArray

T = TypeVar("T")
R = TypeVar("R")
_NO_IMAGE: FloatArray = np.zeros(0, np.float32)


class Memo(Generic[R]):
    """The last image's run, and what else was made of the last image, by key. Images are told apart by their values."""

    def __init__(self) -> None:
        self._run: tuple[FloatArray, R] | None = None
        self._made: tuple[FloatArray, dict[Hashable, Any]] = (_NO_IMAGE, {})

    def run(self, x: FloatArray, make: Callable[[], R]) -> R:
        """The run on `x`, made where the last one was on another image."""
        if self._run is None or not np.array_equal(self._run[0], x):
            self._run = (x.copy(), make())
        return self._run[1]

    def keep(self, x: FloatArray, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made once for the image `x` under `key`; kept until another image comes."""
        if not np.array_equal(self._made[0], x):
            self._made = (x.copy(), {})
        if key not in self._made[1]:
            self._made[1][key] = make()
        found: T = self._made[1][key]
        return found

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Whatever is run within, what is remembered now is remembered afterwards."""
        run, made = self._run, self._made
        try:
            yield
        finally:
            self._run, self._made = run, made

    def forget(self) -> None:
        """Drop it all."""
        self._run = None
        self._made = (_NO_IMAGE, {})
