"""A hospital's afternoon in the catalog, entered through the catalog's own functions: every state of jobs and
deliveries, with real DICOM files and pictures in a real folder."""

from __future__ import annotations

import hashlib
import io
import shutil
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from synthetic import radiograph
from whyray.base.errors import PackageError, PeerBusy, PeerRefused, PeerUnreachable, ResourceExhausted
from whyray.catalog import Catalog, deliveries, events, jobs, processes, sqlite_url, studies
from whyray.config import Config, read_config
from whyray.explain import RegionShares
from whyray.imaging import read_images
from whyray.packages import TargetSpec
from whyray.quality import Grade, Measurement, QualityCard
from whyray.results import Answer, Finding, GradedExplanation, MapInSource, PackageIdentity, Refusal, describe
from whyray.storage import FolderStorage

CONFIG = """
listener: {peers: {PACS_MAIN: {address: 10.0.0.5}}}
destinations:
  pacs: {ae_title: PACS_MAIN, host: 10.0.0.5, storage_commitment: true}
  research: {url: https://research.example.org/dicom-web}
routes:
  - name: chest radiographs
    when: {Modality: {in: [CR, DX]}, BodyPartExamined: {contains: chest}}
    run: cxr-findings@1
    explain: [grad-cam]
    send: {to: [pacs, research], as: [sc, seg, pm, sr]}
    priority: urgent
  - name: head CT
    when: {Modality: CT}
    run: head-ct-tissue@1
    send: {to: [pacs], as: [sc, seg, sr]}
"""
LOCAL = CONFIG + "admin: {local_access: true}\n"
"""With whoever is on this machine let in, as most tests are."""
READY = {"ready": True, "catalog": True, "storage": True, "queue": True, "configuration": True}
GRADES = {"Cardiomegaly": "green", "Effusion": "amber", "Pneumothorax": None}
"""The grade of each finding's explanation; one that is not present has none."""
_PROBABILITIES = {"Cardiomegaly": 0.87, "Effusion": 0.61, "Pneumothorax": 0.03}


def _findings() -> list[dict[str, Any]]:
    """What the worker enters with a job, by the product's own `describe`: the page reads what is really written."""
    image = read_images([radiograph(np.zeros((8, 8), np.uint16), window=(40.0, 0.0))]).images[0]
    empty = np.zeros(image.shape, np.float32)
    made = []
    for name, grade in GRADES.items():
        maps = ()
        if grade is not None:
            measured = Measurement(
                "deletion AUC", "fidelity", 0.41, 0.44, Grade(grade), "less than 10 % below random orders", "a paper"
            )
            card = QualityCard((measured,))
            maps = (MapInSource("grad-cam", empty, empty == 0, empty > 0, "none", False, "logit", card),)
        told = (_region_shares(name),) if name == "Cardiomegaly" else ()
        refused = {"similar-cases": Refusal("missing", "no reference index")} if name == "Cardiomegaly" else {}
        made.append(
            Finding(
                TargetSpec(name=name), grade is not None, _PROBABILITIES[name], maps=maps, typed=told, refused=refused
            )
        )
    package = PackageIdentity("cxr-findings", "1.0.0", "Chest", "WhyRay", "multi-label", "ab" * 32)
    return describe(
        Answer(package, image, tuple(made), "chest radiographs", datetime(2026, 11, 1, tzinfo=UTC), device_uid="2.25.7")
    )


def _region_shares(target: str) -> GradedExplanation:
    """An explanation of another type than a map, which its evaluation withholds."""
    shares = RegionShares(target=target, method="region-shares", unit="logit", regions=(), outside=0.62, of="grad-cam")
    broken = Measurement("shares add up", "engine", 0.8, 1.0, Grade.RED, "red below 0.99", "a paper")
    return GradedExplanation(shares, QualityCard((broken,)))


FINDINGS = _findings()


def config_of(text: str, folder: Path, **environ: str) -> Config:
    config, problems = read_config(text, folder=folder, environ=environ)
    assert config is not None, problems
    return config


@dataclass
class Scene:
    folder: Path
    now: datetime = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
    jobs: dict[str, str] = field(default_factory=dict)
    """By what became of it: the job's id."""

    def copy(self, folder: Path) -> Scene:
        """The same afternoon in another folder, to act on."""
        self.catalog.close()  # folds SQLite's log into the one file
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Scene(folder, self.now, dict(self.jobs))

    def __post_init__(self) -> None:
        file = self.folder / "catalog.sqlite"
        self.catalog = Catalog(sqlite_url(file), clock=lambda: self.now, migrate=not file.exists())
        self.storage = FolderStorage(self.folder / "storage")
        self.config = config_of(LOCAL, self.folder)

    def uid(self, *words: object) -> str:
        return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, '/'.join(map(str, words))).int}"

    def receive(self, name: str, *, modality: str = "DX", count: int = 1, content: str = "", own: bool = False) -> str:
        study = self.uid(name)
        with self.catalog.begin() as session:
            for number in range(count):
                sha256 = hashlib.sha256(f"{name}{number}{content}".encode()).hexdigest()
                received = studies.Received(
                    study_instance_uid=study,
                    series_instance_uid=self.uid(name, "series"),
                    sop_instance_uid=self.uid(name, "instance", number),
                    sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
                    transfer_syntax_uid=str(ExplicitVRLittleEndian),
                    modality=modality,
                    sha256=sha256,
                    size=530_000,
                    key=f"{sha256[:2]}/{sha256}-{number}.dcm",
                    calling_ae="PACS_MAIN",
                    own_result=own,
                )
                studies.add_instance(session, received, self.now)
        return study

    def job(self, name: str, *, route: str = "chest radiographs", package: str = "cxr-findings@1.0.0") -> str:
        """A queued job of a new study, and the study settled."""
        uid = self.receive(name, modality="DX" if route == "chest radiographs" else "CT", count=2)
        with self.catalog.begin() as session:
            study = next(study for study in studies.unsettled(session) if study.study_instance_uid == uid)
            job = jobs.create(
                session,
                study=study,
                route=route,
                package=package,
                instances=studies.routable(session, study.id),
                priority=1 if route == "chest radiographs" else 2,
                now=self.now,
            )
            assert job is not None
            studies.settle(session, study.id, study.received_sequence, f"{route}: {package}")
            self.jobs[name] = job.id
            return job.id

    def claim(self, job_id: str, worker: str = "worker-1") -> None:
        with self.catalog.begin() as session:
            assert jobs.claim(session, job_id, worker, self.now) is not None

    def finish(self, name: str, *, to: tuple[str, ...] = ("pacs", "research")) -> None:
        """Results of all kinds, two of them with pictures, on their way to `to`."""
        job_id = self.jobs[name]
        made = []
        for number, (kind, finding) in enumerate(
            [("sc", "Cardiomegaly"), ("sc", "Effusion"), ("seg", None), ("pm", "Cardiomegaly"), ("sr", None)]
        ):
            uid = self.uid(name, "result", number)
            stored = self.storage.put(dicom_file(uid), suffix=".dcm")
            picture = self.storage.put_bytes(overlay(number), suffix=".png") if kind == "sc" else None
            made.append(
                jobs.NewResult(
                    sop_instance_uid=uid,
                    sop_class_uid=str(SecondaryCaptureImageStorage),
                    series_instance_uid=self.uid(name, "result series", kind),
                    kind=kind,
                    finding=finding,
                    method="grad-cam" if kind != "sr" else None,
                    description=f"WhyRay {finding or 'all findings'} {kind.upper()}",
                    grade={"Cardiomegaly": "green", "Effusion": "amber"}.get(finding or "", "amber"),
                    key=stored.key,
                    picture_key=picture,
                    sha256=stored.sha256,
                    destinations=to,
                )
            )
        with self.catalog.begin() as session:
            jobs.finish(session, job_id, "worker-1", made, FINDINGS, self.now)

    def afternoon(self) -> Scene:
        """One job in every state, deliveries in every state, a conflict, roles alive and gone."""
        start = self.now
        self.now = start - timedelta(hours=2)
        for name in ("done", "failed", "waiting", "cancelled", "cancelling", "running"):
            self.job(name, route="head CT" if name == "failed" else "chest radiographs")
        self.job("superseded")
        self.now = start - timedelta(minutes=30)
        self.claim(self.jobs["done"])
        self.finish("done")
        self._superseded()
        with self.catalog.begin() as session:
            jobs.claim(session, self.jobs["failed"], "worker-1", self.now)
            error = PackageError(f"study {self.uid('failed')}: expected packages/head-ct@1.0.0, found no such folder")
            jobs.stop(session, self.jobs["failed"], "worker-1", error, self.now, retry_after=None)
            jobs.claim(session, self.jobs["waiting"], "worker-1", self.now)
            short = ResourceExhausted("expected 4.1 GiB of memory, found 2.0 GiB free")
            jobs.stop(session, self.jobs["waiting"], "worker-1", short, self.now, retry_after=timedelta(minutes=40))
            jobs.cancel(session, self.jobs["cancelled"], self.now, actor="admin")
            jobs.claim(session, self.jobs["cancelling"], "worker-2", self.now)
            jobs.cancel(session, self.jobs["cancelling"], self.now, actor="admin")
        self.now = start - timedelta(seconds=20)
        with self.catalog.begin() as session:
            jobs.claim(session, self.jobs["running"], "worker-1", self.now)
            jobs.renew(session, self.jobs["running"], "worker-1", 0.45, "grad-cam 6 of 14", self.now)
            processes.seen(session, "intake-1", "intake", self.now)
            processes.seen(session, "worker-1", "worker", self.now, {"providers": ["CPUExecutionProvider"]})
            processes.seen(session, "delivery-1", "delivery", start - timedelta(minutes=9))
        self._deliver()
        self.job("queued")
        self.receive("conflict")
        self.receive("conflict", content="other")
        self.receive("arriving", count=3, modality="CT")
        self.now = start
        return self

    def _superseded(self) -> None:
        self.receive("superseded", count=3)
        with self.catalog.begin() as session:
            study = next(study for study in studies.unsettled(session))
            newer = jobs.create(
                session,
                study=study,
                route="chest radiographs",
                package="cxr-findings@1.0.0",
                instances=studies.routable(session, study.id),
                priority=1,
                now=self.now,
            )
            assert newer is not None
            studies.settle(
                session, study.id, study.received_sequence, "chest radiographs: cxr-findings@1.0.0, revision 2"
            )
            self.jobs["revised"] = newer.id

    def _deliver(self) -> None:
        with self.catalog.begin() as session:
            taken = deliveries.claim_batch(session, "pacs", "delivery-1", self.now)
            ids = [delivery.id for delivery in taken]
            deliveries.sent(
                session, ids[0], "delivery-1", 0xB000, "0xB000 warning: coercion of data elements", self.now
            )
            deliveries.sent(session, ids[1], "delivery-1", 0x0000, "0x0000 success", self.now)
            deliveries.ask_commitment(session, ids[:2], "2.25.77", self.now)
            session.flush()
            deliveries.commitment_reported(session, "2.25.77", [taken[0].result.sop_instance_uid], {}, self.now)
            refused = PeerRefused("PACS_MAIN: no presentation context for Segmentation Storage was accepted")
            deliveries.stop(session, ids[2], "delivery-1", refused, self.now, status=0x0122, retry_after=None)
            busy = PeerBusy("PACS_MAIN answered 0xA700 (out of resources)")
            deliveries.stop(
                session, ids[3], "delivery-1", busy, self.now, status=0xA700, retry_after=timedelta(minutes=2)
            )
            for delivery in deliveries.claim_batch(session, "research", "delivery-1", self.now, most=2):
                gone = PeerUnreachable("research.example.org refused the connection")
                wait = timedelta(minutes=4)
                deliveries.stop(session, delivery.id, "delivery-1", gone, self.now, status=None, retry_after=wait)
            left = deliveries.claim_batch(session, "research", "delivery-1", self.now, most=1)
            deliveries.hand_back(session, [delivery.id for delivery in left], "delivery-1")
            events.record(session, self.now, "info", "config.reloaded", "whyray.yaml was read again")


def dicom_file(uid: str) -> bytes:
    dataset = Dataset()
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = uid
    dataset.PatientName = "Doe^Jane"
    dataset.PatientID = "SECRET-1"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def overlay(seed: int) -> bytes:
    """A picture of 800 × 500: a grey ramp with a warm spot, so that it can be recognised again."""
    rows, columns = np.mgrid[0:500, 0:800].astype(np.float32)
    spot = np.exp(-((rows - 200 - 40 * seed) ** 2 + (columns - 550) ** 2) / 9000)
    grey = 40 + 120 * columns / 800
    picture = np.stack([grey + 95 * spot, grey + 30 * spot, grey - 30 * spot], axis=-1).clip(0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()
