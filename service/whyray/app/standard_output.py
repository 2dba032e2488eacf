"""What a service says to who started it."""

from __future__ import annotations

from contextlib import suppress


def say(words: str) -> None:
    """Print a line. Where it can't be taken, because the disk of the log is full say, the service goes on without."""
    with suppress(OSError):
        print(words, flush=True)  # noqa: T201
