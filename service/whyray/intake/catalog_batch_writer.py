"""Entering received instances into the catalog: one transaction, and one sync of its log, for all that wait for one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import FileIO
from typing import NamedTuple

from whyray.base.failures import is_conflict_of_transactions, is_outage_of_database
from whyray.catalog import AuditEvent, Catalog, audit, known_series, studies
from whyray.intake.catalog_turn import CatalogTurn

_MOST = 64
_ATTEMPTS = 3
_MOST_REMEMBERED = 10_000


class CutOff(Exception):  # noqa: N818
    """The transaction was cut off in the middle by something that is no error of its own."""


class Entered(NamedTuple):
    """How the catalog took an instance, and whether that is one that WhyRay made: as was given, or as it knows."""

    arrival: studies.Arrival
    own_result: bool


@dataclass(frozen=True, eq=False)
class _Entry:
    received: studies.Received
    audited: AuditEvent | None = None
    answer: Future[Entered] = field(default_factory=Future)


class CatalogBatchWriter:
    """Writes to the catalog, one thread at a time: while it commits, the instances of other associations gather.

    Whoever comes while nobody writes does so itself, for all that wait: with one association no other thread is woken.
    `shared` is the file of a turn that several processes have (see `CatalogTurn`): PostgreSQL needs none.
    """

    def __init__(self, catalog: Catalog, shared: FileIO | None = None) -> None:
        self._catalog = catalog
        self._waiting: deque[_Entry] = deque()
        self._lock = threading.Lock()
        self._turn = CatalogTurn(shared if catalog.engine.dialect.name == "sqlite" else None)
        self._known: set[str] = set()

    def enter(self, received: studies.Received, audited: AuditEvent | None = None) -> Entered:
        """Return when the instance is durable in the catalog; raises what the catalog raises if it can't be.

        `audited` is appended to the audit trail with it.
        """
        entry = _Entry(received, audited)
        self._waiting.append(entry)
        try:
            while not entry.answer.done():
                self._enter_waiting(entry)
        except BaseException:
            # whoever is told of a fault must not be entered later
            with suppress(ValueError):  # others have taken it with theirs
                self._waiting.remove(entry)
            raise
        return entry.answer.result()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """For what else intake writes about instances: SQLite alone would let it in where this leaves a gap."""
        with self._lock, self._turn:
            yield

    def _enter_waiting(self, entry: _Entry) -> None:
        """Enter what waits until this entry has its answer, or the catalog can't be written: then others take over."""
        with self._lock:
            if entry.answer.done():  # nothing is left to be done that other processes had to wait for
                return
            with self._turn:
                while not entry.answer.done() and self._enter_batch():
                    pass

    def _enter_batch(self) -> bool:
        """Enter what waits, and no more than one transaction takes; says whether the catalog could be written.

        Each instance that is taken gets its answer, whatever happens.
        """
        batch: list[_Entry] = []
        error: Exception = CutOff("the transaction was cut off")
        try:
            for _ in range(min(_MOST, len(self._waiting))):
                batch.append(self._waiting.popleft())
            self._enter_all(batch)
        except Exception as raised:  # given to who waits for it
            error = raised
            return False
        finally:
            for entry in batch:
                if not entry.answer.done():
                    entry.answer.set_exception(error)
        return True

    def _enter_all(self, batch: list[_Entry]) -> None:
        """Answer all; raises where that is not to be tried again with each by itself."""
        # one order for all processes, so that two of them never wait for each other's studies
        batch.sort(key=lambda entry: (entry.received.study_instance_uid, entry.received.sop_instance_uid))
        try:
            all_entered = self._in_one_transaction(batch)
        except Exception as error:
            if _is_of_catalog(error):
                raise
            # of one entry of the batch, or of all: which, each by itself will show
            for entry in batch:
                self._enter_alone(entry)
            return
        for entry, entered in zip(batch, all_entered, strict=True):
            entry.answer.set_result(entered)

    def _enter_alone(self, entry: _Entry) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                entry.answer.set_result(self._in_one_transaction([entry])[0])
                return
            except Exception as error:  # given to who waits for it
                if _is_of_catalog(error):
                    raise
                # another process may have entered the same study or instance in the same moment: look again
                if attempt == _ATTEMPTS:
                    entry.answer.set_exception(error)

    def _in_one_transaction(self, batch: list[_Entry]) -> list[Entered]:
        # probably the next of series whose first this process has entered
        if all(entry.received.series_instance_uid in self._known for entry in batch):
            with suppress(known_series.NotPlain), self._catalog.begin_bare() as transaction:
                now = self._catalog.clock()
                known_series.add_to_known_series(transaction, [entry.received for entry in batch], now)
                begun = [entry.audited for entry in batch if entry.audited is not None]
                audit.append(transaction, begun, self._catalog.keys)
                return [Entered(studies.Arrival.NEW, entry.received.own_result) for entry in batch]
        entered = self._with_objects(batch)
        if len(self._known) > _MOST_REMEMBERED:
            self._known.clear()
        self._known.update(entry.received.series_instance_uid for entry in batch)
        return entered

    def _with_objects(self, batch: list[_Entry]) -> list[Entered]:
        with self._catalog.begin() as session:
            now = self._catalog.clock()
            for entry in batch:
                if entry.audited is not None:
                    audit.record(session, entry.audited)
            marked = [studies.marked(session, entry.received) for entry in batch]
            return [Entered(studies.add_instance(session, one, now), one.own_result) for one in marked]


def _is_of_catalog(error: Exception) -> bool:
    """Whether the catalog is locked, full or away, and would be for each entry by itself, often a minute later."""
    return is_outage_of_database(error) and not is_conflict_of_transactions(error)
