"""pynetdicom's reactor held still for as long as a message is sent and answered, without a gap.

pynetdicom 3.0.4 takes its reactor for paused as soon as that is about to wait, or has just been let go on: a message
that follows another at once may be sent while the reactor runs, which then takes the peer's answer for a request of its
own ("Received unexpected C-STORE service message"), and the sender waits for it until the time-out.
"""

from __future__ import annotations

import threading

from pynetdicom.association import Association

_LOOK = 0.05
"""Seconds between looks whether the reactor still runs."""


class ReactorCheckpoint:
    """What pynetdicom's reactor passes at each turn, in place of a `threading.Event`.

    Once `clear` has come back, the reactor waits here, or has ended; it does not go on before `set`.
    """

    def __init__(self, link: Association) -> None:
        self._link = link
        self._changed = threading.Condition()
        self._is_open, self._waits = True, False

    def wait(self) -> None:
        """By the reactor: go no further while it is to be still."""
        with self._changed:
            while not self._is_open:
                self._waits = True
                self._changed.notify_all()
                self._changed.wait()
            self._waits = False

    def clear(self) -> None:
        """Let the reactor come here and wait."""
        with self._changed:
            self._is_open = False
            while not self._waits and self._link.is_alive() and not self._link._kill:
                self._changed.wait(_LOOK)

    def set(self) -> None:
        """Let it go on."""
        with self._changed:
            self._is_open = True
            self._changed.notify_all()
