"""A thread that serves one destination, turn after turn, until it is told to stop."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod

from whyray.base.outage_log import OutageLog
from whyray.config import Destination
from whyray.delivery.association import Caller
from whyray.delivery.lease import owner_name

_log = logging.getLogger("whyray.delivery")


class DestinationWorker(ABC):
    """Serves the destination `name` under these settings; `owner` is who holds the leases of what it has claimed.

    Parameters
    ----------
    work
        What it does, in one word, for the names of threads and owners.
    look
        Seconds between looks when there is nothing to do.
    """

    def __init__(self, name: str, destination: Destination, caller: Caller, *, work: str, look: float) -> None:
        self.name, self.destination, self.caller = name, destination, caller
        self.stop = threading.Event()
        self.owner = owner_name(name)
        self.thread = threading.Thread(target=self._run, name=f"{work}-{name}", daemon=True)
        self._work, self._look = work, look
        self._roused = threading.Event()

    @abstractmethod
    def turn(self) -> bool:
        """Do what is due; says whether anything was."""

    @abstractmethod
    def let_go(self) -> None:
        """Have what was claimed in a turn that failed taken up soon, and not when its lease ends."""

    def look_now(self) -> None:
        """There may be something due: don't wait for the next look."""
        self._roused.set()

    def end(self) -> None:
        """Finish what is under way, and no more."""
        self.stop.set()
        self._roused.set()

    def join(self) -> None:
        """Wait for what is under way."""
        self.thread.join()

    def _run(self) -> None:
        failed, outage = False, OutageLog(_log, f"{self._work} to {self.name}")
        while not self.stop.is_set():
            self._roused.clear()
            worked = False
            try:
                if failed:
                    self.let_go()
                    failed = False
                worked = self.turn()
                outage.well()
            except Exception as error:  # and if all else fails, leases run out by themselves
                failed = True
                outage.failed(error)
            if not worked:
                self._roused.wait(self._look)
