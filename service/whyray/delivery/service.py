"""The delivery role: results from the catalog to their destinations, each destination in threads of its own."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Mapping

from whyray.base.outage_log import OutageLog
from whyray.base.sources import IdSource, random_uid
from whyray.catalog import Catalog, announcements, deliveries, events
from whyray.config import Destination
from whyray.delivery.announcer import Announcer
from whyray.delivery.association import Caller
from whyray.delivery.delivery_worker import DeliveryContext, DeliveryWorker, Observer, Pace
from whyray.delivery.destination_worker import DestinationWorker
from whyray.delivery.lease import take_over_from_the_dead
from whyray.delivery.syntaxes import Compression
from whyray.storage import Storage

_log = logging.getLogger("whyray.delivery")


class DeliveryService:
    """Sends what is due to each destination; a dead destination holds up nobody but itself.

    Parameters
    ----------
    destinations
        By the names that routes and deliveries use.
    compression
        What makes the compressed transfer syntaxes that destinations name; nothing is compressed without it.
    observer
        Told of each delivery that was tried, in the threads that send.
    """

    def __init__(
        self,
        catalog: Catalog,
        storage: Storage,
        destinations: Mapping[str, Destination],
        *,
        caller: Caller | None = None,
        compression: Compression | None = None,
        rng: random.Random | None = None,
        uid_source: IdSource = random_uid,
        pace: Pace | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.catalog, self.clock = catalog, catalog.clock
        self.caller = caller or Caller()
        self.context = DeliveryContext(
            catalog, storage, pace or Pace(), rng or random.Random(), uid_source, compression, observer
        )
        self._destinations = dict(destinations)
        self._workers: list[DestinationWorker] = []
        self._strangers: frozenset[str] = frozenset()
        self._looking = OutageLog(_log, "looking for deliveries")
        self._lock = threading.Lock()

    def reload(self, destinations: Mapping[str, Destination], caller: Caller | None = None) -> None:
        """Take over changed settings; what is under way ends under the old ones."""
        with self._lock:
            self._destinations = dict(destinations)
            self.caller = caller or self.caller
            self._stop_changed()

    def look_now(self) -> None:
        """New results are in the catalog: send them now rather than at the next look."""
        for worker in list(self._workers):
            worker.look_now()

    def run(self, stop_event: threading.Event) -> None:
        """Deliver until `stop_event` is set; then finish the objects under way and hand the rest back."""
        take_over_from_the_dead(self.catalog)
        try:
            while not stop_event.is_set():
                self.poll()
                stop_event.wait(self.context.pace.look)
        finally:
            for worker in self._workers:
                worker.end()
            for worker in self._workers:
                worker.join()
            self._workers = []

    def poll(self) -> None:
        """One look: wake what waits, and see that each destination has its threads, under its present settings."""
        try:
            with self.catalog.read() as session:
                to_wake = deliveries.to_wake(session, self.clock()) or announcements.to_wake(session, self.clock())
                waiting = deliveries.waiting_for(session)
            if to_wake:
                with self.catalog.begin() as session:
                    deliveries.wake(session, self.clock())
                    announcements.wake(session, self.clock())
            self._name_strangers(waiting)
            self._looking.well()
        except Exception as error:  # whatever it was, deliveries to others must go on, and it is tried again
            self._looking.failed(error)
        with self._lock:
            wanted, caller = dict(self._destinations), self.caller
            self._stop_changed()
        self._workers = [worker for worker in self._workers if worker.thread.is_alive()]
        for name, destination in wanted.items():
            if any(worker.name == name for worker in self._workers):
                continue
            workers = self._workers_to(name, destination, caller)
            self._workers += workers
            for worker in workers:
                worker.thread.start()

    def _workers_to(self, name: str, destination: Destination, caller: Caller) -> list[DestinationWorker]:
        workers: list[DestinationWorker] = [
            DeliveryWorker(self.context, name, destination, caller, number)
            for number in range(getattr(destination, "associations", 1))
        ]
        if destination.announce_to is not None:
            pace = self.context.pace
            workers.append(
                Announcer(
                    self.catalog, name, destination, caller, look=pace.look, renew=pace.renew, rng=self.context.rng
                )
            )
        return workers

    def _stop_changed(self) -> None:
        for worker in list(self._workers):
            if self._destinations.get(worker.name) != worker.destination or self.caller != worker.caller:
                worker.end()

    def _name_strangers(self, waiting: frozenset[str]) -> None:
        strangers = waiting - set(self._destinations)
        for name in sorted(strangers - self._strangers):
            with self.catalog.begin() as session:
                events.record(
                    session,
                    self.clock(),
                    "warning",
                    "delivery.unknown_destination",
                    f"results wait for destination {name}, which the configuration no longer names; "
                    "name it again, or cancel these deliveries",
                )
        self._strangers = strangers
