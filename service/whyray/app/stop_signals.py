"""An event that signals set, so that everything is stopped in order."""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Callable
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT)


def setting(event: threading.Event) -> Callable[[int, FrameType | None], None]:
    """A signal handler that sets the event.

    By a thread of its own: a handler runs in the main thread wherever that is, and an event's lock can't be taken twice
    by one thread. A second signal within the handling of the first, as `timeout` and an impatient Ctrl-C send it, would
    wait for itself for ever. `_thread` takes no lock of Python's on the way, as `threading.Thread.start` does.
    """

    def handle(_signal: int, _frame: FrameType | None) -> None:
        _thread.start_new_thread(event.set, ())

    return handle


def set_by_signals() -> threading.Event:
    """An event that SIGTERM, SIGINT and SIGHUP set from now on."""
    stop = threading.Event()
    for ending in (*ENDING, signal.SIGHUP):
        # SIGHUP comes when a terminal is closed, and from who wants a log opened anew; `nohup` has it ignored
        if ending is not signal.SIGHUP or signal.getsignal(ending) is not signal.SIG_IGN:
            signal.signal(ending, setting(stop))
    return stop
