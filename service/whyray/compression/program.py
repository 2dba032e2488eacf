"""The process that compresses: does what is ordered until nobody is there, or nothing was ordered for a while."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from whyray.base.errors import WhyRayError
from whyray.base.failures import raise_unreadable, typed_error
from whyray.compression.lossless import LosslessCompression

IDLE = 600.0
"""Seconds without an order after which the process ends."""


def serve(connection: Connection[Any, Any]) -> None:
    """Answer orders, each a method of `LosslessCompression` with its arguments; a failure goes to who ordered."""
    # Ctrl-C is for the role, which lets the object in hand come to its end
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    compression = LosslessCompression()
    with suppress(EOFError, BrokenPipeError):
        while connection.poll(IDLE):
            name, *order = connection.recv()
            try:
                connection.send((getattr(compression, name)(*order), None))
            except Exception as error:  # told to who ordered it, whatever it is
                connection.send((None, _told(error)))


def _told(error: Exception) -> tuple[str, str, str]:
    try:
        raise_unreadable(error, "a result that is to be compressed")
        typed = typed_error(error, "compressing a result")
    except WhyRayError as unreadable:
        typed = unreadable
    return typed.code, typed.message, typed.advice


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
