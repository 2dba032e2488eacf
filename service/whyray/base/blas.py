"""numpy's linear algebra on one thread, wherever it takes turns with ONNX Runtime."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache

from threadpoolctl import ThreadpoolController


def one_blas_thread() -> AbstractContextManager[object]:
    """Within, numpy's BLAS uses one thread.

    Its threads wait in a loop for tens of milliseconds after a product, and the next forward pass runs without the core
    that they hold: RISE on a volume takes a quarter longer. What explanations multiply is small; one thread is enough.
    Where other processes want the cores too, a product of 512 x 96 by 96 x 512 takes twenty times as long on two
    threads as on one. And sums come out the same, bit for bit, on however many cores.
    """
    limit: AbstractContextManager[object] = _libraries().limit(limits=1, user_api="blas")
    return limit


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()  # those that are loaded by now, numpy's among them; to look takes milliseconds
