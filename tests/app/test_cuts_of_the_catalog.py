"""The connection to PostgreSQL ends at one message after the other, on the whole way of a study: it is done once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from catalog.conftest import Postgres, postgres
from catalog.cutting_proxy import CuttingProxy
from catalog.rows import result
from planted import planted_package
from site_under_test import Clock, Site, configured, film
from whyray.app.retention import Retention
from whyray.app.schedule import Schedule
from whyray.base.failures import typed_error
from whyray.catalog import (
    Announcement,
    Base,
    Catalog,
    Delivery,
    DeliveryState,
    Event,
    Instance,
    Job,
    JobState,
    ResultRow,
    Study,
    announcements,
    deliveries,
    job_queue,
    jobs,
    known_series,
)
from whyray.catalog.studies import Received
from whyray.intake.catalog_batch_writer import CatalogBatchWriter
from whyray.jobs.attempt import attempt
from whyray.storage import FolderStorage

__all__ = ["postgres"]
_CUTS = 30
_ROUNDS = 8
_TWO_RESULTS = [result("1", "pacs"), result("2", "pacs")]


@dataclass
class Way:
    """What all roles do for two films of a study, in turns, each round of it ending at the first error."""

    site: Site
    films: list[Dataset]
    acknowledged: set[str] = field(default_factory=set)
    sent: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    unforeseen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        site = self.site
        self.writer = CatalogBatchWriter(site.catalog)
        retention = Retention(site.catalog, site.storage, lambda: site.config)
        self.schedule = Schedule(site.catalog, site.router(), retention, send=lambda *_: None, backlog=lambda: 0)

    def go(self) -> int:
        """Rounds until everything is done, minutes apart; says how many it took."""
        for number in range(1, _ROUNDS + 1):
            try:
                self.receive()
                self.schedule.step()
                self.work(f"worker:{number}")
                self.deliver(f"sender:{number}")
            except Exception as error:
                if not typed_error(error).retriable:
                    self.unforeseen.append(repr(error))
            self.site.clock.tick(150)
            try:
                if self.is_done():
                    return number
            except SQLAlchemyError:
                continue
        raise AssertionError("it came to no end")

    def receive(self) -> None:
        """A modality sends again what was not acknowledged."""
        for image in self.films:
            uid = str(image.SOPInstanceUID)
            if uid in self.acknowledged:
                continue
            buffer = DicomBytesIO()
            image.save_as(buffer, enforce_file_format=True)
            stored = self.site.storage.put(buffer.getvalue(), suffix=".dcm")
            self.writer.enter(
                Received(
                    study_instance_uid=image.StudyInstanceUID,
                    series_instance_uid=image.SeriesInstanceUID,
                    sop_instance_uid=uid,
                    sop_class_uid=image.SOPClassUID,
                    transfer_syntax_uid=image.file_meta.TransferSyntaxUID,
                    modality=image.Modality,
                    sha256=stored.sha256,
                    size=stored.size,
                    key=stored.key,
                    calling_ae="CR",
                    own_result=False,
                )
            )
            self.acknowledged.add(uid)
        with self.site.catalog.begin_bare() as transaction:
            known_series.release(transaction, [str(self.films[0].StudyInstanceUID)], self.site.clock())

    def work(self, owner: str) -> None:
        """A worker makes an attempt at what can be claimed."""
        site = self.site

        def finish(job_id: str, owner: str, progress: object) -> None:
            with site.catalog.begin() as session:
                jobs.finish(session, job_id, owner, _TWO_RESULTS, [], site.clock())

        with site.catalog.read() as session:
            job_id = job_queue.next_claimable(session, site.clock())
        if job_id is not None:
            attempt(job_id, owner, site.catalog, lambda: site.config, random.Random(0), finish)

    def deliver(self, owner: str) -> None:
        """A sender brings it, asks for commitment, gets it, and tells of it."""
        catalog, now = self.site.catalog, self.site.clock()
        with catalog.begin() as session:
            deliveries.wake(session, now)
        with catalog.begin() as session:
            claimed = deliveries.claim_batch(session, "pacs", owner, now)
        self.sent.update(row.result.sop_instance_uid for row in claimed)
        for row in claimed:
            with catalog.begin() as session:
                deliveries.lock(session, [row.id], with_jobs=True)
                deliveries.sent(session, row.id, owner, 0, "Success", now, announce_as=f"2.25.{owner[-1]}{row.id[0]}")
        with catalog.read() as session:
            silent = deliveries.uncommitted(session, "pacs", asked_before=now, sent_before=now)
        if silent:
            transaction_uid = f"2.25.5{owner[-1]}"
            uids = [row.result.sop_instance_uid for row in silent]
            with catalog.begin() as session:
                deliveries.ask_commitment(session, [row.id for row in silent], transaction_uid, now)
            with catalog.begin() as session:
                deliveries.commitment_reported(session, transaction_uid, uids, {}, now)
        with catalog.begin() as session:
            told = announcements.claim(session, "pacs", owner, now, committed=True)
        self.told.update(row.uid for row in told)
        for row in told:
            with catalog.begin() as session:
                announcements.sent(session, row.id, owner, now)

    def is_done(self) -> bool:
        with self.site.catalog.read() as session:
            open_jobs = session.scalar(select(func.count(Job.id)).where(Job.state != JobState.DONE))
            committed = select(func.count(Delivery.id)).where(Delivery.state == DeliveryState.COMMITTED)
            announced = select(func.count(Announcement.id)).where(Announcement.state == DeliveryState.SENT)
            return not open_jobs and session.scalar(committed) == 2 and session.scalar(announced) == 1


@pytest.fixture
def behind(postgres: Postgres) -> Iterator[tuple[CuttingProxy, Catalog, str]]:
    """A proxy that cuts, the catalog without it, and its URL with it."""
    url = postgres.new_database("whyray cuts")
    proxy, plain = CuttingProxy(postgres.port, "terminated"), Catalog(url)
    through = url.set(port=proxy.port, query={"sslmode": "disable", "gssencmode": "disable"})
    yield proxy, plain, through.render_as_string(hide_password=False)
    plain.close()
    proxy.close()


def test_a_study_is_done_once_wherever_the_connection_ends(
    tmp_path: Path, behind: tuple[CuttingProxy, Catalog, str]
) -> None:
    proxy, plain, url = behind
    planted_package(tmp_path / "packages", shape=(48, 48), modalities=("CR", "DX"))
    config, storage = configured(tmp_path), FolderStorage(tmp_path / "state" / "instances")
    films = [film(1), film(2)]

    def went(cut: int) -> tuple[Way, int]:
        with plain.begin() as session:
            names = ", ".join(
                f'"{table.name}"' for table in Base.metadata.sorted_tables if table.name != "installation"
            )
            session.execute(text("ALTER TABLE audit_records DISABLE TRIGGER USER"))  # which forbid just this
            session.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
            session.execute(text("ALTER TABLE audit_records ENABLE TRIGGER USER"))
        proxy.at(cut)
        clock = Clock()
        catalog = Catalog(url, migrate=False, clock=clock)
        try:
            way = Way(Site(tmp_path, clock, catalog, storage, config), films)
            return way, way.go()
        finally:
            catalog.close()

    _, rounds = went(0)
    assert rounds == 1
    whole = proxy.messages
    disturbed, wrong = 0, []
    for cut in range(1, whole, max(1, whole // _CUTS)):
        way, rounds = went(cut)
        disturbed += rounds > 1
        with plain.read() as session:
            (study,) = session.scalars(select(Study)).all()
            found = {
                "instances": len(session.scalars(select(Instance)).all()),
                "jobs": [job.state for job in session.scalars(select(Job))],
                "created": len(session.scalars(select(Event).where(Event.kind == "job.created")).all()),
                "results": len(session.scalars(select(ResultRow)).all()),
                "deliveries": [row.state for row in session.scalars(select(Delivery))],
                "routed": study.routed_sequence == study.received_sequence,
            }
            expected = {
                "instances": 2,
                "jobs": [JobState.DONE],
                "created": 1,
                "results": 2,
                "deliveries": [DeliveryState.COMMITTED] * 2,
                "routed": True,
            }
        most = max([*way.sent.values(), *way.told.values()])
        if found != expected or most > 2 or way.unforeseen:
            wrong.append(f"cut at {cut}: {found}, sent {way.sent}, told {way.told}, {way.unforeseen}")
    assert wrong == []
    assert disturbed > _CUTS / 3
