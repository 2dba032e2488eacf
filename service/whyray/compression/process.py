"""Compression of results in processes of its own: the delivery role itself holds nothing that knows pixels.

A process is started when a destination takes a result compressed and those that run have their hands full; it keeps
what it has loaded, and ends by itself after some idle time, or with the role.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import cache, partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

from whyray.base.child_process import how_ended
from whyray.base.errors import ProcessKilled, TimeLimit, error_named

LONGEST = 300.0
"""Seconds after which an encoder hangs: no result takes a tenth of it."""
MOST_PROCESSES = 4
_PROGRAM = "whyray.compression.program"
_Failure: TypeAlias = tuple[str, str, str]
"""Code, message and advice of an error."""
_Answer: TypeAlias = tuple[object, _Failure | None]


class CompressionProcess:
    """Compresses as `LosslessCompression` does; safe for threads, a result in a process.

    Parameters
    ----------
    longest
        Seconds that one result may take; then the process is killed, and a later order starts another.
    most
        Processes at the same time; as many as there are cores, and not more than four, where left out.
    """

    def __init__(self, *, longest: float = LONGEST, most: int | None = None) -> None:
        self._longest = longest
        self._free = threading.Semaphore(most or min(MOST_PROCESSES, os.cpu_count() or 1))
        self._lock = threading.Lock()
        self._idle: list[_Encoder] = []
        self._syntaxes = cache(partial(self._ask, "syntaxes"))

    def syntaxes(self, sop_class_uid: str, /) -> frozenset[str]:
        """Transfer syntax UIDs that results of this SOP Class can be compressed to. Raises as `compressed`."""
        possible = self._syntaxes(sop_class_uid)
        assert isinstance(possible, frozenset)
        return possible

    def compressed(self, file: bytes | Path, transfer_syntax_uid: str, /) -> bytes:
        """A result's file with its pixels compressed, without loss; of a path, the process reads it itself.

        Raises
        ------
        ProcessKilled
            If the process dies over it.
        TimeLimit
            If it takes too long.
        """
        made = self._ask("compressed", file, transfer_syntax_uid)
        assert isinstance(made, bytes)
        return made

    def close(self) -> None:
        """End the processes that have nothing to do."""
        with self._lock:
            idle, self._idle = self._idle, []
        for encoder in idle:
            encoder.end()

    def _ask(self, *order: object) -> object:
        with self._free:
            with self._lock:
                encoder = self._idle.pop() if self._idle else None
            try:
                encoder, (made, failure) = self._answer(encoder, order)
            except (EOFError, OSError):
                # it may just have ended because it was idle: the order is given once more, to a new one
                encoder, (made, failure) = self._answer(None, order)
            with self._lock:
                self._idle.append(encoder)
        if failure is not None:
            code, message, advice = failure
            raise error_named(code, message, advice=advice)
        return made

    def _answer(self, running: _Encoder | None, order: tuple[object, ...]) -> tuple[_Encoder, _Answer]:
        """Raises EOFError or OSError if the running one has ended, and is gone then."""
        encoder = running or _Encoder()
        try:
            return encoder, encoder.answer(order, self._longest)
        except (EOFError, OSError) as error:
            code = encoder.end()
            if running is not None:
                raise
            raise ProcessKilled(f"the process that compresses results {how_ended(code)}") from error
        except TimeLimit:
            encoder.process.kill()
            encoder.end()
            raise


class _Encoder:
    """One process, and the connection to it."""

    def __init__(self) -> None:
        own, its = Pipe()
        with its:
            self.process = subprocess.Popen(  # nosec B603  # WhyRay itself, without a shell
                [sys.executable, "-m", _PROGRAM, str(its.fileno())], pass_fds=[its.fileno()]
            )
        self._connection: Connection[Any, Any] = own

    def answer(self, order: tuple[object, ...], longest: float) -> _Answer:
        self._connection.send(order)
        if not self._connection.poll(longest):
            raise TimeLimit(
                f"compressing a result took longer than {longest:.0f} s",
                advice="Look at the object in a viewer; it may be damaged.",
            )
        answer: _Answer = self._connection.recv()
        return answer

    def end(self) -> int:
        """Let go of it; gives its exit code."""
        self._connection.close()  # it ends when nobody is at the other end
        return self.process.wait()
