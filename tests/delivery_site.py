"""For tests of delivery: a catalog with results to send, and a storage SCP that answers as it is told."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import evt
from sqlalchemy import select

from peers import until
from whyray.base.errors import WhyRayError
from whyray.catalog import (
    Announcement,
    Catalog,
    Delivery,
    DeliveryState,
    Event,
    Study,
    deliveries,
    events,
    jobs,
    sqlite_url,
    studies,
)
from whyray.config import AssociationTimeouts, Destination, DicomDestination, Informed, Retry
from whyray.delivery import DeliveryService, Pace
from whyray.storage import FolderStorage

QUICK = AssociationTimeouts(connect=timedelta(seconds=5), acse=timedelta(seconds=5), dimse=timedelta(seconds=5))
PATIENT = Retry(attempts=5, delay=timedelta(hours=1), ceiling=timedelta(hours=4))
"""Nothing is tried again within a test, unless its clock says so."""
PACE = Pace(look=0.02, linger=2.0, commitment_grace=0.0)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, by: timedelta) -> None:
        self.now += by


@dataclass
class DeliverySite:
    """A catalog, a storage, and results in them."""

    catalog: Catalog
    storage: FolderStorage
    clock: Clock
    _stack: ExitStack
    _studies: int = 0

    def results(self, paths: list[Path], *destinations: str) -> list[str]:
        """Enter files as the results of a job, to be sent to `destinations`; gives their SOP Instance UIDs."""
        self._studies += 1
        made = []
        for path in paths:
            ds = dcmread(path, stop_before_pixels=True)
            stored = self.storage.put(path, suffix=".dcm")
            made.append(
                jobs.NewResult(
                    str(ds.SOPInstanceUID),
                    str(ds.SOPClassUID),
                    str(ds.SeriesInstanceUID),
                    "sc",
                    None,
                    None,
                    "a result",
                    None,
                    stored.key,
                    None,
                    hashlib.sha256(path.read_bytes()).hexdigest(),
                    destinations,
                )
            )
        with self.catalog.begin() as session:
            now = self.clock()
            name = f"1.2.3.{self._studies}"
            studies.add_instance(
                session,
                studies.Received(
                    study_instance_uid=name,
                    series_instance_uid=f"{name}.1",
                    sop_instance_uid=f"{name}.1.1",
                    sop_class_uid=CTImageStorage,
                    transfer_syntax_uid=ExplicitVRLittleEndian,
                    modality="CT",
                    sha256=name,
                    size=1,
                    key=name,
                    calling_ae="PACS",
                ),
                now,
            )
            study = session.scalar(select(Study).where(Study.study_instance_uid == name))
            assert study is not None
            job = jobs.create(
                session,
                study=study,
                route="route",
                package="package@1",
                instances=studies.routable(session, study.id),
                priority=2,
                now=now,
            )
            assert job is not None
            jobs.claim(session, job.id, "worker", now)
            jobs.finish(session, job.id, "worker", made, [], now)
        return [result.sop_instance_uid for result in made]

    @contextmanager
    def delivering(self, destinations: Mapping[str, Destination], **options: Any) -> Iterator[DeliveryService]:
        """The delivery role, running."""
        service = DeliveryService(self.catalog, self.storage, destinations, **{"pace": PACE, **options})
        stop = threading.Event()
        thread = threading.Thread(target=service.run, args=(stop,))
        thread.start()
        try:
            yield service
        finally:
            stop.set()
            thread.join()

    def rows(self, destination: str) -> list[Delivery]:
        """Deliveries to a destination, in the order of their results."""
        with self.catalog.read() as session:
            query = select(Delivery).where(Delivery.destination == destination).order_by(Delivery.result_id)
            return list(session.scalars(query))

    def states(self, destination: str) -> list[DeliveryState]:
        return [row.state for row in self.rows(destination)]

    def until_settled(self, destination: str) -> list[Delivery]:
        """Wait until nothing is queued or being sent; gives the rows."""
        moving = {DeliveryState.QUEUED, DeliveryState.SENDING}
        until(lambda: not moving & set(self.states(destination)), what=f"settling of {destination}")
        return self.rows(destination)

    def until_state(self, destination: str, state: DeliveryState) -> list[Delivery]:
        until(lambda: set(self.states(destination)) == {state}, what=f"all {state.value} at {destination}")
        return self.rows(destination)

    def announcements(self) -> list[Announcement]:
        """In the order in which they were begun."""
        with self.catalog.read() as session:
            return list(session.scalars(select(Announcement).order_by(Announcement.created_at, Announcement.id)))

    def until_announcements(self, *states: DeliveryState) -> list[Announcement]:
        """Wait until there are as many announcements in these states."""
        wanted = sorted(states)
        until(lambda: sorted(row.state for row in self.announcements()) == wanted, what=f"announcements {wanted}")
        return self.announcements()

    def events(self, kind: str) -> list[Event]:
        with self.catalog.read() as session:
            return events.recent(session, kind=kind)

    def retry(self, delivery_id: str) -> None:
        with self.catalog.begin() as session:
            deliveries.retry(session, delivery_id, self.clock(), actor="tests")


@dataclass
class TellingScp:
    """A storage SCP that answers each C-STORE as `answer(uid, count)` says and keeps what it was sent.

    `answer` gives a status, a Dataset of status elements, or the word 'abort'.
    """

    port: int
    ae_title: str
    answer: Callable[[str, int], int | Dataset | str]
    received: list[str] = field(default_factory=list)
    associations: int = 0
    commitments: list[Dataset] = field(default_factory=list)
    largest_pdu: int = 0
    act: Callable[[evt.Event], tuple[int, None]] = lambda _event: (0x0000, None)

    def destination(self, **options: Any) -> DicomDestination:
        return DicomDestination(
            **{"ae_title": self.ae_title, "host": "127.0.0.1", "port": self.port, "timeouts": QUICK, "retry": PATIENT}
            | options
        )

    def on_association(self, _event: evt.Event) -> None:
        self.associations += 1

    def on_pdu(self, event: evt.Event) -> None:
        self.largest_pdu = max(self.largest_pdu, len(event.pdu))

    def on_store(self, event: evt.Event) -> int | Dataset:
        uid = str(event.request.AffectedSOPInstanceUID)
        self.received.append(uid)
        said = self.answer(uid, len(self.received))
        if said == "abort":
            event.assoc.abort()
            return 0xC000
        assert not isinstance(said, str)
        return said

    def on_action(self, event: evt.Event) -> tuple[int, None]:
        self.commitments.append(event.action_information)
        return self.act(event)


ScpFactory = Callable[..., TellingScp]


@dataclass
class InformedAe:
    """An AE that takes Instance Availability Notifications, and answers each as `answer(count)` says.

    `answer` gives a status, or the word 'abort'. `told` has (SOP Instance UID, attribute list) of each.
    """

    port: int
    answer: Callable[[int], int | str]
    told: list[tuple[str, Dataset]] = field(default_factory=list)

    def settings(self, **options: Any) -> Informed:
        return Informed(**{"ae_title": "RIS", "host": "127.0.0.1", "port": self.port, "timeouts": QUICK} | options)

    def studies(self) -> list[str]:
        return [str(content.StudyInstanceUID) for _, content in self.told]

    def on_create(self, event: evt.Event) -> tuple[int, None]:
        self.told.append((str(event.request.AffectedSOPInstanceUID), event.attribute_list))
        said = self.answer(len(self.told))
        if said == "abort":
            event.assoc.abort()
            return 0x0110, None
        assert isinstance(said, int)
        return said, None


RisFactory = Callable[..., InformedAe]


def deliver(folder: Path, now: datetime, destinations: Mapping[str, Destination]) -> None:
    """The delivery role over the site in this folder, for a process of its own that is going to be killed."""
    catalog = Catalog(sqlite_url(folder / "catalog.sqlite"), clock=lambda: now)
    DeliveryService(catalog, FolderStorage(folder / "storage"), destinations, pace=PACE).run(threading.Event())


def reported(error: WhyRayError | None) -> str:
    return "" if error is None else f"{error.code}: {error.message}"
