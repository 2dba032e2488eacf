"""Fit several heads at once, each by one thread: on cores that others use, threads of one fit wait for each other."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from numpy.typing import NDArray

from whyray_training.cxr_local_net import Head

Fit = Callable[[Any], Head]
_held: list[Fit] = []


def fitted_in_parallel(fit: Fit, tasks: Sequence[Any], processes: int, shape: Callable[[], Head]) -> Iterator[Head]:
    """`fit(task)` for each task, in their order, by so many processes that are forked and so share what `fit` holds.

    `shape` makes a head whose weights are replaced: weights alone travel. With one process nothing is forked.
    """
    if processes == 1:
        yield from map(fit, tasks)
        return
    context = multiprocessing.get_context("fork")
    with context.Pool(processes, initializer=_hold, initargs=(fit,)) as pool:
        for weights in pool.imap(_fitted, tasks):
            head = shape()
            head.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
            head.eval()
            yield head


def _hold(fit: Fit) -> None:
    torch.set_num_threads(1)
    _held[:] = [fit]


def _fitted(task: Any) -> dict[str, NDArray[Any]]:
    return {name: value.detach().numpy() for name, value in _held[0](task).state_dict().items()}
