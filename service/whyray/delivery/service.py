"""The delivery role: results from the catalog to their destinations, each destination in threads of its own."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta

from pynetdicom.association import Association
from sqlalchemy.orm import Session

from whyray.base.errors import PeerBusy, PeerRefused, PeerUnreachable, WhyRayError
from whyray.base.failures import logged, typed_error
from whyray.base.outage_log import OutageLog
from whyray.base.retry import retry_after
from whyray.base.sources import IdSource, random_uid
from whyray.catalog import Catalog, Delivery, DeliveryState, announcements, attempts, deliveries, events
from whyray.config import Destination, DicomDestination
from whyray.delivery.announcer import Announcer
from whyray.delivery.association import MOST_BROKEN, Caller, association
from whyray.delivery.commitment import (
    MOST_REFERENCES,
    commitment_context,
    commitment_handlers,
    request_commitment,
)
from whyray.delivery.cstore import batches, store
from whyray.delivery.destination_worker import DestinationWorker
from whyray.delivery.entries import Entries
from whyray.delivery.lease import LeaseKeeper, take_over_from_the_dead
from whyray.delivery.outgoing import Outcome, Outgoing, read_outgoing
from whyray.delivery.stow import stow
from whyray.delivery.syntaxes import Compression
from whyray.delivery.transfers import OutgoingTransfer
from whyray.storage import Storage

_log = logging.getLogger("whyray.delivery")


@dataclass(frozen=True)
class Pace:
    """How often the service looks, in seconds, and how much it takes at a time."""

    look: float = 0.5
    batch: int = 50
    renew: float = deliveries.LEASE.total_seconds() / 4
    linger: float = 1.0
    """How long an association that asked for storage commitment stays open for the report."""
    commitment_grace: float = 60.0
    """What was sent so long ago and never asked for is asked for now; until then its own batch will."""


Observer = Callable[[Delivery, Outcome, int], None]
"""Told of each delivery that was tried: its row, what became of it, and when it began, in ns since 1970."""


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
        self.catalog, self.storage = catalog, storage
        self.clock = catalog.clock
        self.caller = caller or Caller()
        self.compression = compression
        self.rng = rng or random.Random()
        self.uid_source, self.pace = uid_source, pace or Pace()
        self.observer = observer
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
                stop_event.wait(self.pace.look)
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
            _DeliveryWorker(self, name, destination, caller, number)
            for number in range(getattr(destination, "associations", 1))
        ]
        if destination.announce_to is not None:
            pace = self.pace
            workers.append(
                Announcer(self.catalog, name, destination, caller, look=pace.look, renew=pace.renew, rng=self.rng)
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


class _DeliveryWorker(DestinationWorker):
    """One association at a time that brings results to one destination; `number` 0 asks for storage commitment too."""

    def __init__(
        self, service: DeliveryService, name: str, destination: Destination, caller: Caller, number: int
    ) -> None:
        super().__init__(name, destination, caller, work="delivery", look=service.pace.look)
        self.service, self.number = service, number
        self.broken = 0
        self.is_away = False
        """Whether the last association that it asked for could not be had."""
        self.accepts: set[tuple[str, str]] = set()
        """What the peer accepted on the last association."""

    def turn(self) -> bool:
        """Send a batch; where nothing is due, ask for commitment."""
        catalog, clock = self.service.catalog, self.service.clock
        with catalog.read() as session:
            due = deliveries.due(session, self.name, clock())
        if due:
            with catalog.begin() as session:
                claimed = deliveries.claim_batch(session, self.name, self.owner, clock(), most=self.service.pace.batch)
            if claimed:
                Batch(self, claimed).send()
                return True
        return self.number == 0 and self._ask_commitments()

    def let_go(self) -> None:
        """After a batch whose outcomes the catalog did not take."""
        catalog, wait = self.service.catalog, self.destination.retry.wait
        with catalog.begin() as session:
            attempts.let_go(session, Delivery, self.owner, wait, catalog.clock())

    def _ask_commitments(self) -> bool:
        """Ask for what was sent and never asked for, or not reported within its time."""
        destination = self.destination
        if not (isinstance(destination, DicomDestination) and destination.storage_commitment):
            return False
        catalog, clock = self.service.catalog, self.service.clock
        with catalog.read() as session:
            silent = deliveries.uncommitted(
                session,
                self.name,
                asked_before=clock() - destination.commitment_within,
                sent_before=clock() - timedelta(seconds=self.service.pace.commitment_grace),
                most=MOST_REFERENCES,
            )
        if not silent:
            return False
        try:
            with association(
                destination, self.caller, [commitment_context()], handlers=commitment_handlers(catalog)
            ) as link:
                self.ask(link, silent)
        except WhyRayError as error:
            # asked again when the time for a report is over; the objects themselves are there
            with catalog.begin() as session:
                deliveries.ask_commitment(
                    session, [delivery.id for delivery in silent], self.service.uid_source(), clock()
                )
                events.record(
                    session,
                    clock(),
                    "warning",
                    "delivery.commitment_refused",
                    f"{self.name} could not be asked to commit to {len(silent)} objects: {error.code}: {error.message}",
                )
        return True

    def ask(self, link: Association, sent: Sequence[Delivery]) -> None:
        """Request commitment, and keep the association open a moment for a peer that reports on it."""
        catalog = self.service.catalog
        transaction = request_commitment(catalog, link, sent, uid_source=self.service.uid_source)
        end = time.monotonic() + self.service.pace.linger
        while transaction and link.is_established and time.monotonic() < end and not self.stop.is_set():
            with catalog.read() as session:
                states = [deliveries.get(session, delivery.id).state for delivery in sent]
            if DeliveryState.SENT not in states:
                return
            time.sleep(0.05)


class Batch:
    """What one thread claimed at one time: sent, and each outcome entered as it comes."""

    def __init__(self, worker: _DeliveryWorker, claimed: Sequence[Delivery]) -> None:
        self.worker, self.service = worker, worker.service
        self.rows = {delivery.id: delivery for delivery in claimed}
        self.keeper = LeaseKeeper(self.service.catalog, self.rows, worker.owner, every=self.service.pace.renew)
        self.sent: list[Delivery] = []
        self.has_sent = False
        self.entries: Entries[tuple[Outcome, datetime]] = Entries(self._enter_sent)
        self.begun: dict[str, int] = {}
        self.transfer = OutgoingTransfer(self.service.catalog, worker.name, worker.destination, worker.caller)
        # one draw for all, so that what fails together comes back together, in one association
        self.jitter_seed = self.service.rng.random()

    def send(self) -> None:
        """Send all that is still ours; whatever happens, every delivery gets an outcome or is handed back."""
        with self.keeper, ExitStack() as opened:
            try:
                files = self._files(opened)
                if files and not self.worker.stop.is_set():
                    self._transmit(files)
            except WhyRayError as error:
                self.worker.is_away = isinstance(error, (PeerUnreachable, PeerBusy)) and not self.begun
                for delivery_id in self.keeper.remaining():
                    self._stop(delivery_id, error, None)
            except Exception as error:  # every delivery gets an outcome, whatever a library raised
                logged(_log, error, f"a batch to {self.worker.name} failed")
                failure = typed_error(error, f"sending to {self.worker.name}")
                for delivery_id in self.keeper.remaining():
                    self._stop(delivery_id, failure, None)
            finally:
                self.entries.close()
                left = self.keeper.remaining()
                if left:
                    self.service.catalog.repeat(lambda session: deliveries.hand_back(session, left, self.worker.owner))

    def _files(self, opened: ExitStack) -> list[Outgoing]:
        files = []
        for delivery_id, row in self.rows.items():
            try:
                if row.error_code == "CommitmentFailed" and row.attempt > self.worker.destination.retry.attempts:
                    raise PeerRefused(
                        f"{self.worker.name} took {row.result.sop_instance_uid} {row.attempt - 1} times and never "
                        "committed to it",
                        advice="Look at the peer's log, or take storage_commitment out of the destination; then retry.",
                    )
                file = opened.enter_context(self.service.storage.local_file(row.result.key))
                files.append(read_outgoing(file, delivery_id))
            except WhyRayError as error:
                self._stop(delivery_id, error, None)
        # what broke an association before must not stand in front of the same others for ever
        fresh = [file for file in files if self.rows[file.ticket].attempt <= 1]
        again = [file for file in files if self.rows[file.ticket].attempt > 1]
        self.service.rng.shuffle(again)
        return fresh + again

    def _transmit(self, files: Sequence[Outgoing]) -> None:
        destination = self.worker.destination
        if not isinstance(destination, DicomDestination):
            try:
                stow(
                    destination,
                    files,
                    self._report,
                    compression=self.service.compression,
                    proceed=self._proceed,
                    begins=self._begins,
                )
            finally:
                self._settle()
            return
        commit = destination.storage_commitment
        wanted, compression = destination.transfer_syntaxes, self.service.compression
        for part in batches(files, wanted, compression, room=127 if commit else 128):
            reached = len(self.keeper.remaining())
            try:
                store(
                    destination,
                    self.worker.caller,
                    part,
                    self._report,
                    compression=compression,
                    accepts=self.worker.accepts,
                    extra=[commitment_context()] if commit else [],
                    handlers=commitment_handlers(self.service.catalog) if commit else None,
                    proceed=self._proceed,
                    begins=self._begins,
                    after=self._commit if commit else None,
                )
            finally:
                self._settle()
            if self.worker.broken >= MOST_BROKEN and self.keeper.remaining():
                raise PeerUnreachable(f"{self.worker.name} broke {self.worker.broken} associations in a row")
            if len(self.keeper.remaining()) == reached:
                return

    def _settle(self) -> None:
        """An association or request is over: whatever it took is entered before anything else is said of the rest."""
        try:
            self.entries.settle()
            if self.worker.is_away and self.has_sent:
                self._wake_unreached()
        finally:
            self.transfer.end()

    def _wake_unreached(self) -> None:
        """The destination is back: what waited for it need not wait for the end of a quarter of an hour."""
        name, now = self.worker.name, self.service.clock()
        woken = self.service.catalog.repeat(lambda session: deliveries.wake_unreached(session, name, now))
        self.worker.is_away = False
        _log.info("%s is back: %d results that had waited for it are sent now", name, woken)

    def _proceed(self, file: Outgoing) -> bool:
        return not self.worker.stop.is_set() and self.keeper.holds(file.ticket)

    def _begins(self, file: Outgoing) -> None:
        self.transfer.begins(file, self.rows[file.ticket].result.job_id)
        self.begun[file.ticket] = time.time_ns()

    def _report(self, outcome: Outcome) -> None:
        delivery_id = outcome.file.ticket
        self.transfer.ended(outcome)
        if self.service.observer is not None:
            begun = self.begun.get(delivery_id, time.time_ns())
            self.service.observer(self.rows[delivery_id], outcome, begun)
        self.worker.broken = self.worker.broken + 1 if outcome.broke else 0
        if outcome.error is not None:
            self._stop(delivery_id, outcome.error, outcome.status)
        else:
            self.entries.add((outcome, self.service.clock()))

    def _enter_sent(self, answered: Sequence[tuple[Outcome, datetime]]) -> None:
        """Enter as sent what the peer took, with when it said so."""
        announce = self.worker.destination.announce_to is not None

        def enter(session: Session) -> None:
            deliveries.lock(session, [outcome.file.ticket for outcome, _ in answered], with_jobs=announce)
            for outcome, at in answered:
                deliveries.sent(
                    session,
                    outcome.file.ticket,
                    self.worker.owner,
                    outcome.status or 0,
                    outcome.words,
                    at,
                    transfer_syntax_uid=outcome.transfer_syntax_uid,
                    announce_as=self.service.uid_source() if announce else None,
                )

        self.service.catalog.repeat(enter)
        for outcome, _ in answered:
            self.keeper.close(outcome.file.ticket)
            self.has_sent = True
            self.sent.append(self.rows[outcome.file.ticket])

    def _stop(self, delivery_id: str, error: WhyRayError, status: int | None) -> None:
        policy = self.worker.destination.retry
        row, rng = self.rows[delivery_id], random.Random(self.jitter_seed)
        wait = retry_after(error, row.attempt, policy, rng, outages=row.outages)
        owner, now = self.worker.owner, self.service.clock()
        self.service.catalog.repeat(
            lambda session: deliveries.stop(session, delivery_id, owner, error, now, status=status, retry_after=wait)
        )
        self.keeper.close(delivery_id)

    def _commit(self, link: Association) -> None:
        self.entries.settle()
        sent, self.sent = self.sent, []
        self.worker.ask(link, sent)
