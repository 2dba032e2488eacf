"""numpy's linear algebra on one thread, wherever it takes turns with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within, numpy's BLAS uses one thread; the limit is the process's, so it holds until the last thread is out.

    Its threads wait in a loop for tens of milliseconds after a product, and the next forward pass runs without the core
    that they hold: RISE on a volume takes a quarter longer. What explanations multiply is small; one thread is enough.
    Where other processes want the cores too, a product of 512 x 96 by 96 x 512 takes twenty times as long on two
    threads as on one. And sums come out the same, bit for bit, on however many cores.
    """
    _limit.enter()
    try:
        yield
    finally:
        _limit.leave()


class _Limit:
    """The limit of the process, for as long as anybody is within."""

    def __init__(self) -> None:
        self._lock, self._within = Lock(), 0
        self._set: Any = None

    def enter(self) -> None:
        with self._lock:
            if self._within == 0:
                self._set = _libraries().limit(limits=1, user_api="blas")
            self._within += 1

    def leave(self) -> None:
        with self._lock:
            self._within -= 1
            if self._within == 0:
                self._set.restore_original_limits()


_limit = _Limit()


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()  # those that are loaded by now, numpy's among them; to look takes milliseconds
