"""The demo: an embedded PACS, the whole service beside it, real studies through both, and what came back."""

from __future__ import annotations

import logging
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import (
    Comprehensive3DSRStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from rich.console import Console
from rich.live import Live
from sqlalchemy import select

from whyray.app.context import Context
from whyray.app.first_start import demo_link
from whyray.app.readiness import ROLES, tell_when_ready
from whyray.app.stop_signals import ENDING, setting
from whyray.app.supervisor import supervisor_of
from whyray.catalog import Catalog, Delivery, DeliveryState, Job, JobState, ResultRow, Study, sqlite_url
from whyray.demo.archive import ArchivePacs
from whyray.demo.orthanc import find_orthanc
from whyray.demo.orthanc_pacs import OrthancPacs
from whyray.demo.pacs import DemoPacs, Modality
from whyray.demo.screen import NOTICE, print_results, progress_table
from whyray.demo.site import write_config
from whyray.demo.studies import DemoStudy, demo_studies
from whyray.storage import FolderStorage

_KINDS: dict[str, str] = {
    SecondaryCaptureImageStorage: "sc",
    MultiFrameTrueColorSecondaryCaptureImageStorage: "sc",
    SegmentationStorage: "seg",
    ParametricMapStorage: "pm",
    Comprehensive3DSRStorage: "sr",
}

START_WITHIN = 300.0
"""Seconds until the roles work: a few, and minutes on a machine that is busy with other things."""

ENDED_EARLY = "Ended before the results were back."


@dataclass(frozen=True)
class _Place:
    """Where the demo keeps its things: studies and service state inside a hidden folder, results in the open."""

    out: Path

    @property
    def work(self) -> Path:
        return self.out / ".work"

    @property
    def config(self) -> Path:
        return self.work / "whyray.yaml"


def run_demo(out: Path, *, once: bool, pacs: str, admin_port: int, within: float) -> int:
    """Run the demo; the exit code: 0 if every expected result came back into the PACS.

    Parameters
    ----------
    out
        Folder for dicom/ and pictures/; what an earlier demo left in it is replaced.
    once
        End when the results are back; else stay until Ctrl-C.
    pacs
        'auto', 'orthanc' or 'archive'.
    admin_port
        0 takes a free one; a port in use is replaced by a free one.
    within
        Seconds to wait for the results.
    """
    console, place = Console(highlight=False), _Place(out.resolve())
    if not console.is_terminal:
        console.width = 140
    for telling in ("whyray.app.supervisor", "whyray.events"):  # what they tell is in whyray.log or on the screen
        logging.getLogger(telling).setLevel(logging.WARNING)
    for old in (place.work, place.out / "dicom", place.out / "pictures"):
        shutil.rmtree(old, ignore_errors=True)
    place.work.mkdir(parents=True)
    whyray_port, admin_port = _free_port(0), _free_port(admin_port)
    with ExitStack() as stack, _ending() as end:
        peer = _pacs(place.work / "pacs", pacs, Modality("WHYRAY", "127.0.0.1", whyray_port))
        write_config(place.config, whyray_port, admin_port, peer)
        context = Context.open(place.config, check_apart=True)  # what is wrong is told here, once, not by every role
        link = demo_link(context.catalog, context.config())
        context.close()
        console.print(f"admin page, with a link that logs in: [bold]{link}[/]", soft_wrap=True)
        console.print(f"[bold]WhyRay demo.[/] {NOTICE}")
        stack.callback(peer.stop)
        peer.start()
        console.print(f"PACS: {peer.name}, {peer.ae_title} on {peer.host}:{peer.dicom_port}")
        supervisor = supervisor_of(place.config, context.config(), log=place.out / "whyray.log")
        supervisor.start()
        watcher = threading.Thread(target=supervisor.watch, args=(end,), daemon=True)
        watcher.start()
        stack.callback(watcher.join)
        stack.callback(end.set)
        catalog = Catalog(sqlite_url(place.work / "state" / "catalog.sqlite"))
        stack.callback(catalog.close)
        started = catalog.clock()
        ready = tell_when_ready(catalog, ROLES, started, end, console.print, within=START_WITHIN)
        if end.is_set():
            console.print(ENDED_EARLY)
            return 1
        if not ready:
            console.print(f"[red]WhyRay did not start: see {place.out / 'whyray.log'}[/]")
            return 1
        studies = demo_studies(place.work / "studies")
        for study in studies:
            peer.store(study.paths)
        console.print(f"sent {len(studies)} studies into the PACS by C-STORE; it routes them to WhyRay")
        complete = _follow(console, catalog, peer, studies, end, within)
        if end.is_set():
            console.print(ENDED_EARLY)
            return 1
        _save(place, catalog, peer, studies)
        print_results(console, catalog, studies)
        console.print(f"DICOM objects: {place.out / 'dicom'}   pictures: {place.out / 'pictures'}")
        missing = _missing(catalog, peer, studies)
        for words in missing:
            console.print(f"[red]missing[/] {words}")
        if once:
            return 0 if complete and not missing else 1
        if peer.web_url:
            console.print(f"the PACS's own page: {peer.web_url}")
        console.print("Ctrl-C ends the demo.")
        end.wait()
    return 0


def _pacs(folder: Path, wanted: str, whyray: Modality) -> DemoPacs:
    """Orthanc where it is wanted or installed, else the small archive of our own."""
    port = _free_port(0)
    if wanted == "orthanc" or (wanted == "auto" and find_orthanc() is not None):
        return OrthancPacs(folder, dicom_port=port, http_port=_free_port(0), whyray=whyray)
    return ArchivePacs(folder, dicom_port=port, whyray=whyray)


@contextmanager
def _ending() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that everything is stopped in order."""
    end = threading.Event()
    former = {signal_number: signal.signal(signal_number, setting(end)) for signal_number in ENDING}
    try:
        yield end
    finally:
        for signal_number, handler in former.items():
            signal.signal(signal_number, handler)


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(condition: Callable[[], bool], end: threading.Event, within: float) -> bool:
    deadline = time.monotonic() + within
    while not end.is_set() and time.monotonic() < deadline:
        if condition():
            return True
        end.wait(0.2)
    return False


def _follow(
    console: Console,
    catalog: Catalog,
    pacs: DemoPacs,
    studies: Sequence[DemoStudy],
    end: threading.Event,
    within: float,
) -> bool:
    """Show jobs and deliveries as they go, until all are done or time is up."""
    with Live(console=console, refresh_per_second=4, transient=True) as live:

        def look() -> bool:
            live.update(progress_table(catalog, studies))
            return _settled(catalog, studies) and not _missing(catalog, pacs, studies)

        return _wait(look, end, within)


def _settled(catalog: Catalog, studies: Sequence[DemoStudy]) -> bool:
    with catalog.read() as session:
        jobs = list(session.scalars(select(Job)))
        deliveries = list(session.scalars(select(Delivery)))
    ended = (JobState.DONE, JobState.FAILED, JobState.CANCELLED, JobState.SUPERSEDED)
    sent = (DeliveryState.SENT, DeliveryState.COMMITTED, DeliveryState.FAILED, DeliveryState.CANCELLED)
    return (
        len({job.study_id for job in jobs}) >= len(studies)
        and all(job.state in ended for job in jobs)
        and all(delivery.state in sent for delivery in deliveries)
    )


def _kind(dataset: Dataset) -> str:
    return _KINDS.get(str(dataset.SOPClassUID), str(dataset.Modality).lower())


def _missing(catalog: Catalog, pacs: DemoPacs, studies: Sequence[DemoStudy]) -> list[str]:
    missing = []
    for study in studies:
        kinds = {_kind(dcmread(result, stop_before_pixels=True)) for result in pacs.results(study.study_instance_uid)}
        missing += [f"{study.title}: {kind}" for kind in _expected(catalog, study) if kind not in kinds]
    return missing


def _expected(catalog: Catalog, study: DemoStudy) -> tuple[str, ...]:
    """What is to come back: without an explanation that may be shown, pages and report say so, and there is no map."""
    with catalog.read() as session:
        row = session.scalar(select(Study).where(Study.study_instance_uid == study.study_instance_uid))
        done = [] if row is None else [job for job in row.jobs if job.state is JobState.DONE]
        made = [explanation for job in done for finding in job.finding_records for explanation in finding.explanations]
    if made and all(explanation.withheld for explanation in made):
        return tuple(kind for kind in study.kinds if kind in ("sc", "sr"))
    return study.kinds


def _save(place: _Place, catalog: Catalog, pacs: DemoPacs, studies: Sequence[DemoStudy]) -> None:
    """Leave what came back into the PACS, and the pictures, in the output folder."""
    for study in studies:
        folder = place.out / "dicom" / study.name
        folder.mkdir(parents=True, exist_ok=True)
        for number, path in enumerate(pacs.results(study.study_instance_uid), start=1):
            kind = _kind(dcmread(path, stop_before_pixels=True))
            shutil.copyfile(path, folder / f"{kind}-{number:02d}.dcm")
    storage = FolderStorage(place.work / "state" / "instances")
    names = {study.study_instance_uid: study.name for study in studies}
    with catalog.read() as session:
        for row in session.scalars(select(ResultRow).where(ResultRow.picture_key.is_not(None)).order_by(ResultRow.id)):
            stem = "-".join([names[row.job.study.study_instance_uid], row.finding or row.kind, row.method or "page"])
            target = place.out / "pictures" / f"{stem.lower().replace(' ', '_')}-{row.id}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            with storage.open(str(row.picture_key)) as picture:
                target.write_bytes(picture.read())
