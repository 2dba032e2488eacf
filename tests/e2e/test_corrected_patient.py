"""A film that was taken under the wrong patient: corrected in the PACS, sent again, and explained for the right one."""

from __future__ import annotations

import copy
from pathlib import Path

import httpx
import pytest
from pydicom import Dataset, dcmread

from e2e.conftest import Start
from e2e.studies import SentStudy, film, planted_packages, routes
from e2e.test_dcmtk import storescu
from peers import StoreScp, StoreScpFactory
from running import Running
from synthetic import write
from whyray.catalog import DeliveryState, JobState

FORMER, CORRECTED = ("SYNTH-0001", "WRONG^PERSON", "A-0001"), ("SYNTH-0002", "RIGHT^PERSON", "A-0002")


def of(image: Dataset, patient: tuple[str, str, str]) -> Dataset:
    """The same image, under its own UIDs, of a patient and an order."""
    named = copy.deepcopy(image)
    named.PatientID, named.PatientName, named.AccessionNumber = patient
    return named


def sent(folder: Path, patient: tuple[str, str, str]) -> SentStudy:
    return SentStudy("film", tuple(write([of(film("film"), patient)], folder / patient[0])), "films")


def site(serve: Start, folder: Path, archive: StoreScp, **listener: object) -> Running:
    planted_packages(folder / "packages")
    return serve(
        {
            "listener": {"ae_title": "WHYRAY", **listener},
            "destinations": {"archive": {"ae_title": "ARCHIVE", "host": "127.0.0.1", "port": archive.port}},
            "packages": {"folders": [str(folder / "packages")]},
            "routes": routes("archive", on_release=True),
        }
    )


def all_sent(whyray: Running, jobs: int) -> bool:
    states = sorted(job.state for job in whyray.jobs())
    return states == [JobState.DONE] + [JobState.SUPERSEDED] * (jobs - 1) and all(
        delivery.state is DeliveryState.SENT for delivery in whyray.deliveries()
    )


def received(archive: StoreScp) -> dict[str, list[Dataset]]:
    """What the archive took, by Patient ID."""
    by_patient: dict[str, list[Dataset]] = {}
    for path in archive.files().values():
        header = dcmread(path, stop_before_pixels=True)
        by_patient.setdefault(str(header.PatientID), []).append(header)
    return by_patient


def check(archive: StoreScp) -> None:
    """The results of the corrected film are its own patient's, and say that they replace the others."""
    former, corrected = (received(archive)[patient[0]] for patient in (FORMER, CORRECTED))
    assert {str(dataset.PatientName) for dataset in corrected} == {CORRECTED[1]}
    assert {dataset.AccessionNumber for dataset in corrected} == {CORRECTED[2]}
    assert len(corrected) == len(former)
    assert not {dataset.SOPInstanceUID for dataset in former} & {dataset.SOPInstanceUID for dataset in corrected}
    assert all("rev 2, replaces 1" in dataset.SeriesDescription for dataset in corrected)
    assert not any("replaces" in dataset.SeriesDescription for dataset in former)


@pytest.mark.timeout(300)
def test_a_corrected_film_is_explained_for_its_own_patient_without_asking(
    serve: Start, tmp_path: Path, storescp: StoreScpFactory
) -> None:
    archive = storescp(ae_title="ARCHIVE")
    whyray = site(serve, tmp_path, archive)
    storescu(whyray.port, sent(tmp_path, FORMER))
    whyray.wait_for(lambda: all_sent(whyray, 1), what="results of the former patient")
    storescu(whyray.port, sent(tmp_path, CORRECTED))
    whyray.wait_for(lambda: all_sent(whyray, 2), what="results of the corrected patient")
    check(archive)
    (said,) = whyray.events("content.identification")
    assert "(PatientID, PatientName, AccessionNumber): the pixel data are the same" in said.message
    written = "".join(event.message for kind in ("content.used", "instance.conflict") for event in whyray.events(kind))
    for secret in (*FORMER, *CORRECTED):
        assert secret not in written + said.message + whyray.log.read_text()
    study = whyray.get(f"/studies/{sent(tmp_path, FORMER).uid}")
    assert (study["newer"], study["withdrawn"]) == (None, {"archive": len(received(archive)[FORMER[0]])})
    assert [result["superseded"] for result in study["results"]].count(False) == len(received(archive)[CORRECTED[0]])


@pytest.mark.timeout(300)
def test_where_an_administrator_is_asked_the_corrected_film_waits_for_the_answer(
    serve: Start, tmp_path: Path, storescp: StoreScpFactory
) -> None:
    archive = storescp(ae_title="ARCHIVE")
    whyray = site(serve, tmp_path, archive, corrected="ask", processes=2)
    study = sent(tmp_path, FORMER)
    storescu(whyray.port, study)
    whyray.wait_for(lambda: all_sent(whyray, 1), what="results of the former patient")
    storescu(whyray.port, sent(tmp_path, CORRECTED))
    whyray.wait_for(lambda: whyray.events("content.identification"), what="the comparison")
    assert any(told["kind"] == "content.identification" for told in whyray.get("/overview")["attention"])
    assert set(received(archive)) == {FORMER[0]}
    done = httpx.post(f"{whyray.api}/studies/{study.uid}/use-newest")
    assert (done.status_code, done.json()["instances"]) == (200, 1)
    whyray.wait_for(lambda: all_sent(whyray, 2), what="results of the corrected patient")
    check(archive)
