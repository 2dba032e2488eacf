"""The main job with dcmtk on both sides: storescu sends as a modality does, storescp receives as an archive does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from dciodvfy import errors_of
from e2e.studies import KINDS, SPOT, SentStudy, film, made, on_film, planted_packages, real_chest, real_head, routes
from peers import StoreScp, free_port, require
from running import Running
from synthetic import write
from whyray.catalog import DeliveryState, Instance, Job, JobState

PROPOSE = {JPEG2000Lossless: "-xv", JPEGLSLossless: "-xt", RLELossless: "-xr"}
"""Options of storescu, by the transfer syntax that it is to propose."""

FILMS = ("plain", "monochrome 1", "japanese, JPEG 2000", "cyrillic, JPEG-LS", "RLE")
STUDIES = (*FILMS, "oblique CT", "real chest", "real head, variable tilt")


def storescu(port: int, study: SentStudy, *, called: str = "WHYRAY", calling: str = "MODALITY") -> str:
    """Send a study in one association, in the transfer syntax that its files have; gives what storescu said."""
    syntax = dcmread(study.paths[0], stop_before_pixels=True).file_meta.TransferSyntaxUID
    options = [PROPOSE[syntax]] if syntax in PROPOSE else []
    call = [require("storescu", "dcmtk"), "-v", "-aet", calling, "-aec", called, *options, "127.0.0.1", str(port)]
    done = subprocess.run(
        [*call, *map(str, study.paths)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@dataclass
class Hospital:
    """What was sent, the running service, and the archive that its results went to."""

    whyray: Running
    archive: StoreScp
    studies: dict[str, SentStudy]

    def results(self, name: str) -> dict[str, list[Path]]:
        """The files of this study that storescp wrote, by kind of result."""
        by_kind: dict[str, list[Path]] = {}
        for path in self.archive.files().values():
            header = dcmread(path, stop_before_pixels=True)
            if header.StudyInstanceUID == self.studies[name].uid:
                by_kind.setdefault(KINDS[header.SOPClassUID], []).append(path)
        return by_kind

    def job(self, name: str) -> Job:
        """The one job of this study."""
        (job,) = [job for job in self.whyray.jobs() if job.findings[0]["study"] == self.studies[name].uid]
        return job


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("hospital")
    planted_packages(folder / "packages")
    plain = SentStudy("plain", tuple(write([film("plain")], folder / "studies" / "plain")), "films")
    studies = {study.name: study for study in (plain, *made(folder / "studies"), *real_chest(), *real_head())}
    studies = {name: studies[name] for name in STUDIES if name in studies}
    with ExitStack() as stack:
        archive = stack.enter_context(StoreScp(folder / "archive" / "received", free_port(), "ARCHIVE"))
        whyray = Running(
            folder / "whyray",
            {
                "destinations": {"archive": {"ae_title": "ARCHIVE", "host": "127.0.0.1", "port": archive.port}},
                "packages": {"folders": [str(folder / "packages")]},
                "routes": routes("archive", on_release=True),
                "workers": {"count": 2, "threads": 1},
            },
        )
        stack.callback(whyray.stop)
        whyray.start()
        for study in reversed(studies.values()):  # the volumes, which take longest, first
            storescu(whyray.port, study)
        whyray.wait_for(
            lambda: (
                len(whyray.jobs()) == len(studies)
                and all(job.state is JobState.DONE for job in whyray.jobs())
                and all(delivery.state is DeliveryState.SENT for delivery in whyray.deliveries())
            ),
            what="all results in the archive",
            deadline=300,
        )
        yield Hospital(whyray, archive, studies)


@pytest.fixture(params=STUDIES)
def name(request: pytest.FixtureRequest, hospital: Hospital) -> str:
    if request.param not in hospital.studies:
        pytest.skip(f"{request.param}: the real images are not here (see tests/conftest.py)")
    return str(request.param)


def test_every_study_is_kept_in_the_transfer_syntax_in_which_the_modality_sent_it(
    hospital: Hospital, name: str
) -> None:
    kept = {instance.sop_instance_uid: instance.transfer_syntax_uid for instance in hospital.whyray.rows(Instance)}
    for header in hospital.studies[name].headers:
        assert kept[header.SOPInstanceUID] == header.file_meta.TransferSyntaxUID


def test_every_study_takes_its_own_route(hospital: Hospital, name: str) -> None:
    assert hospital.job(name).route == hospital.studies[name].route


def test_every_result_that_whyray_counts_as_sent_is_in_the_archive(hospital: Hospital) -> None:
    assert set(hospital.archive.files()) == {result.sop_instance_uid for result in hospital.whyray.results()}


def test_all_kinds_of_result_come_back_into_the_same_study_of_the_same_patient(hospital: Hospital, name: str) -> None:
    results = hospital.results(name)
    assert set(results) == {"sc", "seg", "pm", "sr"}
    source = hospital.studies[name].headers[0]
    for path in (path for group in results.values() for path in group):
        dataset = dcmread(path, stop_before_pixels=True)
        assert dataset.SeriesInstanceUID != source.SeriesInstanceUID
        for keyword in ("PatientID", "PatientBirthDate", "PatientSex", "SpecificCharacterSet", "StudyID"):
            assert (dataset.get(keyword) or "") == (source.get(keyword) or ""), keyword
        assert str(dataset.PatientName) == str(source.PatientName)
        assert dataset.get("AccessionNumber", "") == source.get("AccessionNumber", "")


def test_dciodvfy_finds_no_error_in_what_the_archive_holds(hospital: Hospital, name: str) -> None:
    for path in (path for group in hospital.results(name).values() for path in group):
        assert errors_of(path.read_bytes()) == [], path


def test_dsrdump_reads_the_report(hospital: Hospital, name: str) -> None:
    for path in hospital.results(name)["sr"]:
        read = subprocess.run([require("dsrdump", "dcmtk"), str(path)], capture_output=True, check=False)
        words = read.stdout.decode(errors="replace")
        assert read.returncode == 0, read.stderr.decode(errors="replace")
        assert "Imaging Measurement Report" in words
        job = hospital.job(name)
        assert job.package.split("@")[0] in words
        assert any(finding["finding"] in words for finding in job.findings)


@pytest.mark.parametrize("film", FILMS)
def test_the_planted_spot_is_lit_up_whatever_the_photometry_and_the_compression(hospital: Hospital, film: str) -> None:
    results = hospital.results(film)
    (heatmap,) = map(dcmread, results["pm"])
    (region,) = map(dcmread, results["seg"])
    values = on_film(heatmap)
    for lit in (values > values.max() / 2, region.pixel_array.reshape(128, 112) > 0):
        rows, columns = np.nonzero(lit)
        assert _near((rows.min(), rows.max() + 1, columns.min(), columns.max() + 1))


def _near(box: tuple[int, int, int, int]) -> bool:
    wanted = (SPOT[0].start, SPOT[0].stop, SPOT[1].start, SPOT[1].stop)
    return bool(np.abs(np.subtract(box, wanted)).max() <= 1)


def test_every_instance_that_was_sent_is_referenced_by_its_results(hospital: Hospital, name: str) -> None:
    sent = {str(header.SOPInstanceUID) for header in hospital.studies[name].headers}
    (report,) = map(dcmread, hospital.results(name)["sr"])
    assert sent == _referenced(report)


def _referenced(report: Dataset) -> set[str]:
    """Evidence of the report: PS3.3 section C.17.2."""
    return {
        str(instance.ReferencedSOPInstanceUID)
        for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
        for study in report.get(keyword) or []
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
        if instance.ReferencedSOPClassUID not in KINDS
    }
