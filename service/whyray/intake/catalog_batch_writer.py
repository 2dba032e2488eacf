"""Entering received instances into the catalog: one transaction, and one sync of its log, for all that wait for one."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue

from whyray.catalog import AuditEvent, Catalog, audit, studies

_MOST = 64
_ATTEMPTS = 3


@dataclass(frozen=True)
class _Entry:
    received: studies.Received
    audited: AuditEvent | None = None
    answer: Future[studies.Arrival] = field(default_factory=Future)


class CatalogBatchWriter:
    """Writes to the catalog from one thread: while it commits, the next instances of all associations gather.

    `close` ends the thread after what is waiting has been entered.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._waiting: SimpleQueue[_Entry | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="whyray-batch_writer", daemon=True)
        self._thread.start()

    def enter(self, received: studies.Received, audited: AuditEvent | None = None) -> studies.Arrival:
        """Return when the instance is durable in the catalog; raises what the catalog raises if it can't be.

        `audited` is appended to the audit trail with it.
        """
        entry = _Entry(received, audited)
        self._waiting.put(entry)
        return entry.answer.result()

    def close(self) -> None:
        """Enter what waits, then stop."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch, last = [first], False
            while len(batch) < _MOST and not self._waiting.empty():
                entry = self._waiting.get()
                if entry is None:
                    last = True
                    break
                batch.append(entry)
            self._enter_all(batch)
            if last:
                return

    def _enter_all(self, batch: list[_Entry]) -> None:
        # one order for all processes, so that two of them never wait for each other's studies
        batch.sort(key=lambda entry: (entry.received.study_instance_uid, entry.received.sop_instance_uid))
        try:
            arrivals = self._in_one_transaction(batch)
        except Exception:  # of one entry of the batch, or of all: which, each by itself will show
            for entry in batch:
                self._enter_alone(entry)
            return
        for entry, arrival in zip(batch, arrivals, strict=True):
            entry.answer.set_result(arrival)

    def _enter_alone(self, entry: _Entry) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                entry.answer.set_result(self._in_one_transaction([entry])[0])
                return
            except Exception as error:  # given to who waits for it
                # another process may have entered the same study or instance in the same moment: look again
                if attempt == _ATTEMPTS:
                    entry.answer.set_exception(error)

    def _in_one_transaction(self, batch: list[_Entry]) -> list[studies.Arrival]:
        with self._catalog.begin() as session:
            now = self._catalog.clock()
            for entry in batch:
                if entry.audited is not None:
                    audit.record(session, entry.audited)
            return [studies.add_instance(session, entry.received, now) for entry in batch]
