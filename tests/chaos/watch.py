"""Who looks on: when each study was done, and how much memory each role had at its highest."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from contextlib import suppress

import psutil
from sqlalchemy import select
from sqlalchemy.orm import Session

from chaos.hospital import Serve
from chaos.senders import Ledger
from whyray.catalog import Catalog, Delivery, DeliveryState, Instance, Job, JobState, ResultRow, Series, Study

ARRIVED = (DeliveryState.SENT, DeliveryState.COMMITTED)


def finished_studies(session: Session, study_uids: set[str]) -> set[str]:
    """Which of these studies have nothing left to do: every instance in a job that is done, every result arrived."""
    done = set()
    for study in session.scalars(select(Study).where(Study.study_instance_uid.in_(study_uids))):
        newest = session.scalars(select(Instance.id).join(Series).where(Series.study_id == study.id)).all()
        jobs = session.scalars(select(Job).where(Job.study_id == study.id, Job.state != JobState.SUPERSEDED)).all()
        if not jobs or any(job.state is not JobState.DONE for job in jobs):
            continue
        if not newest or max(newest) > max(job.through_instance for job in jobs):
            continue
        states = session.scalars(
            select(Delivery.state).join(ResultRow).where(ResultRow.job_id.in_([job.id for job in jobs]))
        ).all()
        if states and all(state in ARRIVED for state in states):
            done.add(study.study_instance_uid)
    return done


class Watch(threading.Thread):
    """Looks at the catalog and at the processes every `every` seconds."""

    def __init__(self, serve: Serve, ledger: Ledger, *, every: float = 1.0) -> None:
        super().__init__(name="watch", daemon=True)
        self._serve, self._ledger, self._every = serve, ledger, every
        self.done_at: dict[str, float] = {}
        """Study Instance UID → when all was done (monotonic seconds)."""
        self.peak: dict[str, int] = defaultdict(int)
        """Role → the largest resident set of one of its processes with its children, in bytes."""
        self.outages = 0
        self._end = threading.Event()

    def run(self) -> None:
        """Look on until stopped."""
        while not self._end.wait(self._every):
            self._memory()
            self.look(self._serve.catalog)

    def stop(self) -> None:
        """Stop and wait for the end."""
        self._end.set()
        self.join()

    def waiting(self) -> int:
        """How many healthy studies were sent whole and are not done."""
        sent = self._ledger.all()
        return sum(entry.study.healthy and entry.study.study_instance_uid not in self.done_at for entry in sent)

    def look(self, catalog: Catalog) -> None:
        """Enter the studies that are done by now."""
        whole = {
            entry.study.study_instance_uid for entry in self._ledger.all() if entry.study.healthy and entry.whole_at
        }
        missing = whole - self.done_at.keys()
        if not missing:
            return
        try:
            with catalog.read() as session:
                finished = finished_studies(session, missing)
        except Exception:  # of the database: chaos strikes the onlooker too
            self.outages += 1
            return
        now = time.monotonic()
        self.done_at.update(dict.fromkeys(finished, now))

    def _memory(self) -> None:
        for pid, role in self._serve.children().items():
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                total = process.memory_info().rss
                for child in process.children(recursive=True):
                    with suppress(psutil.Error):
                        total += child.memory_info().rss
                self.peak[role] = max(self.peak[role], total)
