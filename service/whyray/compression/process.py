"""Compression of results in a process of its own: the delivery role itself holds nothing that knows pixels.

The process is started by the first result that a destination takes compressed, keeps what it has loaded, and ends by
itself after some idle time, or with the role.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache, partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from whyray.base.child_process import how_ended
from whyray.base.errors import ProcessKilled, TimeLimit, error_named
from whyray.base.failures import typed_error

IDLE = 600.0
"""Seconds without an order after which the process ends."""
LONGEST = 300.0
"""Seconds after which an encoder hangs: no result takes a tenth of it."""
_PROGRAM = "whyray.compression.process"
_Failure: TypeAlias = tuple[str, str, str]
"""Code, message and advice of an error."""
_Answer: TypeAlias = tuple[object, _Failure | None]


class CompressionProcess:
    """Compresses as `LosslessCompression` does; safe for threads, one result at a time.

    Parameters
    ----------
    longest
        Seconds that one result may take; then the process is killed, and the next order starts another.
    """

    def __init__(self, *, longest: float = LONGEST) -> None:
        self._lock, self._longest = threading.Lock(), longest
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None
        self._syntaxes = cache(partial(self._ask, "syntaxes"))

    def syntaxes(self, sop_class_uid: str, /) -> frozenset[str]:
        """Transfer syntax UIDs that results of this SOP Class can be compressed to. Raises as `compressed`."""
        found = self._syntaxes(sop_class_uid)
        assert isinstance(found, frozenset)
        return found

    def compressed(self, file: bytes, transfer_syntax_uid: str, /) -> bytes:
        """A result's file with its pixels compressed, without loss.

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
        """End the process, where one runs."""
        with self._lock:
            self._end()

    def _ask(self, *order: object) -> object:
        with self._lock:
            try:
                answer = self._answer(order)
            except (EOFError, OSError):
                # it may just have ended because it was idle: the order is given once more, to a new one
                self._end()
                try:
                    answer = self._answer(order)
                except (EOFError, OSError) as error:
                    raise ProcessKilled(f"the process that compresses results {how_ended(self._end())}") from error
        made, failure = answer
        if failure is not None:
            code, message, advice = failure
            raise error_named(code, message, advice=advice)
        return made

    def _answer(self, order: tuple[object, ...]) -> _Answer:
        if self._connection is None:
            own, its = Pipe()
            with its:
                self._process = subprocess.Popen(  # nosec B603  # WhyRay itself, without a shell
                    [sys.executable, "-m", _PROGRAM, str(its.fileno())], pass_fds=[its.fileno()]
                )
            self._connection = own
        self._connection.send(order)
        if not self._connection.poll(self._longest):
            if self._process is not None:
                self._process.kill()
            self._end()
            raise TimeLimit(
                f"compressing a result took longer than {self._longest:.0f} s",
                advice="Look at the object in a viewer; it may be damaged.",
            )
        answer: _Answer = self._connection.recv()
        return answer

    def _end(self) -> int:
        """Let go of it; gives its exit code, 0 where none ran."""
        connection, process = self._connection, self._process
        self._connection = self._process = None
        if connection is not None:
            connection.close()  # it ends when nobody is at the other end
        return 0 if process is None else process.wait()


def _serve(connection: Connection[Any, Any]) -> None:
    """Be the process: do what is ordered until nobody is there, or nothing was ordered for a while."""
    from whyray.compression.lossless import LosslessCompression

    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the role, which lets the object in hand come to its end
    compression = LosslessCompression()
    with suppress(EOFError, BrokenPipeError):
        while connection.poll(IDLE):
            name, *order = connection.recv()
            try:
                connection.send((getattr(compression, name)(*order), None))
            except Exception as error:  # told to who ordered it, whatever it is
                typed = typed_error(error, "compressing a result")
                connection.send((None, (typed.code, typed.message, typed.advice)))


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
