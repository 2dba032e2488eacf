"""A site in a temporary folder, with a planted package, and studies put into it as intake would."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO

from planted import planted_package
from synthetic import radiograph
from whyray.app.context import Context
from whyray.app.expected_counts import ExpectedCounts
from whyray.app.route_studies import StudyRouter
from whyray.catalog import Catalog, jobs, known_series, sqlite_url, studies
from whyray.catalog.studies import Received
from whyray.config import Config, load_config
from whyray.inference import load_package
from whyray.jobs.worker import JobContext
from whyray.results import load_templates
from whyray.storage import FolderStorage

ROUTE = {
    "name": "films",
    "when": {"Modality": {"in": ["CR", "DX"]}},
    "complete": {"on_release": True, "quiet_for": "20s", "at_most": "10m"},
    "run": "planted@1",
    "explain": ["grad-cam"],
    "send": {"to": ["pacs", "archive"], "as": ["sc", "seg", "pm", "sr"]},
    "priority": "urgent",
}


@dataclass
class Clock:
    """A clock that moves only when told."""

    now: datetime = field(default=datetime(2026, 11, 1, 12, 0, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def tick(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def at_once(question: Callable[[], int | None]) -> Future[int | None]:
    """Asks in the thread of who wants to know."""
    answer: Future[int | None] = Future()
    try:
        answer.set_result(question())
    except Exception as error:
        answer.set_exception(error)
    return answer


@dataclass
class Site:
    """One site under test."""

    folder: Path
    clock: Clock
    catalog: Catalog
    storage: FolderStorage
    config: Config

    def configure(self, **sections: object) -> None:
        """Write whyray.yaml anew and read it."""
        self.config = configured(self.folder, **sections)

    def receive(
        self,
        instances: Sequence[Dataset],
        *,
        released: bool = True,
        own: bool = False,
        calling_ae: str = "PACS",
        routed: bool = True,
    ) -> str:
        """Enter instances as intake does, or, not `routed`, as what fetches for a workitem; gives the study's UID."""
        for instance in instances:
            buffer = DicomBytesIO()
            instance.save_as(buffer, enforce_file_format=True)
            stored = self.storage.put(buffer.getvalue(), suffix=".dcm")
            received = Received(
                study_instance_uid=instance.StudyInstanceUID,
                series_instance_uid=instance.SeriesInstanceUID,
                sop_instance_uid=instance.SOPInstanceUID,
                sop_class_uid=instance.SOPClassUID,
                transfer_syntax_uid=instance.file_meta.TransferSyntaxUID,
                modality=instance.Modality,
                sha256=stored.sha256,
                size=stored.size,
                key=stored.key,
                calling_ae=calling_ae,
                own_result=own,
                routed=routed,
            )
            with self.catalog.begin() as session:
                studies.add_instance(session, received, self.clock())
        uid = str(instances[0].StudyInstanceUID)
        if released:
            with self.catalog.begin_bare() as transaction:
                known_series.release(transaction, [uid], self.clock())
        return uid

    def router(self, expected: int | None = None) -> StudyRouter:
        """A router of this site; `expected` is what the PACS would say."""
        context = Context(self.folder / "whyray.yaml", None, self.catalog, self.storage)  # type: ignore[arg-type]
        return StudyRouter(
            catalog=self.catalog,
            config=lambda: self.config,
            read_header=context.read_header,
            resolve_package=lambda reference: f"{reference.split('@')[0]}@1.0.0",
            expected=ExpectedCounts(lambda *_: expected, at_once),
        )

    def job_context(self) -> JobContext:
        """What a worker of this site works with."""
        packages = self.folder / "packages"
        return JobContext(
            catalog=self.catalog,
            storage=self.storage,
            config=lambda: self.config,
            model=lambda reference: load_package(reference, search=[packages]),
            templates=lambda: load_templates(None),
            rng=random.Random(0),
        )

    def jobs(self) -> list[jobs.Job]:
        """All jobs, oldest first."""
        from sqlalchemy import select

        with self.catalog.read() as session:
            return list(session.scalars(select(jobs.Job).order_by(jobs.Job.created_at, jobs.Job.revision)))


def configured(folder: Path, **sections: object) -> Config:
    content = {
        "state": str(folder / "state"),
        "packages": {"folders": [str(folder / "packages")]},
        "destinations": {
            "pacs": {"ae_title": "PACS", "host": "127.0.0.1", "port": 104},
            "archive": {"ae_title": "ARCHIVE", "host": "127.0.0.1", "port": 105},
        },
        "routes": [ROUTE],
        **sections,
    }
    path = folder / "whyray.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_config(path)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    planted_package(tmp_path / "packages", shape=(48, 48), modalities=("CR", "DX"))
    clock = Clock()
    catalog = Catalog(sqlite_url(tmp_path / "state" / "catalog.sqlite"), clock=clock)
    yield Site(tmp_path, clock, catalog, FolderStorage(tmp_path / "state" / "instances"), configured(tmp_path))
    catalog.close()


def film(number: int = 1, **options: object) -> Dataset:
    """A radiograph with one bright spot."""
    pixels = np.full((96, 80), 300, np.uint16)
    pixels[20:30, 50:60] = 4000
    return radiograph(pixels, number=number, **options)  # type: ignore[arg-type]
