"""Passes through a device that others may want too: a worker says when each is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from whyray.base.stages import stage

Gate = Callable[[], AbstractContextManager[None]]
"""Entered before a pass, which may have to wait there, and left after it; again within, for passes that need others."""
_gate: Gate = nullcontext


@contextmanager
def device_pass(name: str) -> Iterator[None]:
    """What is done inside computes at the device, and is a stage of this name. As a decorator, too."""
    with _gate(), stage(name):
        yield


@contextmanager
def passes_through(gate: Gate) -> Iterator[None]:
    """Inside, all passes of this process, of whichever thread, are made when the gate lets them."""
    global _gate
    before, _gate = _gate, gate
    try:
        yield
    finally:
        _gate = before
