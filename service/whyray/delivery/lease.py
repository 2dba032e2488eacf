"""Leases kept while deliveries or announcements are on their way, however long the peer takes."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from whyray.base.failures import logged
from whyray.base.outage_log import OutageLog
from whyray.base.sources import random_id, this_pid_namespace
from whyray.catalog import Announcement, Catalog, Delivery, attempts, deliveries

_log = logging.getLogger("whyray.delivery")

Renew = Callable[[Session, Collection[str], str, datetime], set[str]]
"""Renews the leases that an owner still holds, and says which."""


class LeaseKeeper:
    """Renews the leases of a batch in a thread of its own, until the block ends.

    `holds` says whether one is still this sender's: when another took it over, it must not be sent here too.
    """

    def __init__(
        self,
        catalog: Catalog,
        delivery_ids: Collection[str],
        owner: str,
        *,
        every: float | None = None,
        renew: Renew = deliveries.renew,
    ) -> None:
        self._catalog, self._owner, self._renew = catalog, owner, renew
        self._open = set(delivery_ids)
        self._every = deliveries.LEASE.total_seconds() / 4 if every is None else every
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)

    def __enter__(self) -> LeaseKeeper:
        """Start renewing."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop renewing."""
        self._over.set()
        self._thread.join()

    def holds(self, delivery_id: str) -> bool:
        """Whether the lease on it is still ours, as of the last renewal."""
        with self._lock:
            return delivery_id in self._open

    def close(self, delivery_id: str) -> None:
        """Renew this one no longer: its outcome is in the catalog."""
        with self._lock:
            self._open.discard(delivery_id)

    def remaining(self) -> set[str]:
        """What is still ours and not closed."""
        with self._lock:
            return set(self._open)

    def renew(self) -> None:
        """Renew now."""
        asked = self.remaining()
        if not asked:
            return
        with self._catalog.begin() as session:
            mine = self._renew(session, asked, self._owner, self._catalog.clock())
        with self._lock:
            # what was closed while the catalog was asked is not lost
            lost = (asked - mine) & self._open
            self._open -= lost
        if lost:
            _log.warning("%d that were under way were taken over by another sender", len(lost))

    def _run(self) -> None:
        outage = OutageLog(_log, "renewing leases")
        while not self._over.wait(self._every):
            try:
                self.renew()
                outage.well()
            except Exception as error:  # no memory, as little as no catalog, must end it
                outage.failed(error)


def owner_name(work_on: str) -> str:
    """A new name for who holds leases, of at most 128 characters: 'MACHINE:PROCESS:NAMESPACE:WHAT IT WORKS ON:…'."""
    name = f"{socket.gethostname()}:{os.getpid()}:{this_pid_namespace()}:{work_on}"
    return f"{name[:119]}:{random_id()[:8]}"


def take_over_from_the_dead(catalog: Catalog) -> int:
    """What a sender held that was killed on this machine goes out at once, and not when its lease ends; says how much.

    Where the catalog can't be asked, the leases end by themselves, as do those of a container that was started anew.
    """
    here, now = (socket.gethostname(), this_pid_namespace()), catalog.clock()
    try:
        with catalog.begin() as session:
            taken = attempts.end_leases_of_the_dead(session, Delivery, *here, _is_another_process, now)
            taken += attempts.end_leases_of_the_dead(session, Announcement, *here, _is_another_process, now)
    except SQLAlchemyError as error:
        logged(_log, error, "what a sender that died had under way waits for the end of its leases")
        return 0
    if taken:
        _log.warning("%d that a sender had under way when it died are taken up", taken)
    return taken


def _is_another_process(number: int) -> bool:
    """Whether another process of this namespace has this number: this one may have that of one that has ended."""
    return number != os.getpid() and Path("/proc", str(number)).exists()
