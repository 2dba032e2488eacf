"""The main job with Orthanc as the PACS, which routes by itself whatever is stored into it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread

from dciodvfy import errors_of
from e2e.studies import BALL, KINDS, SPOT, SentStudy, made, on_film, planted_packages, real_chest, real_head, routes
from peers import Modality, OrthancServer, _orthanc_factory, free_port, until
from running import Running
from whyray.catalog import DeliveryState, Instance, JobState

RULE = Path(__file__).parents[2] / "deploy" / "orthanc" / "route-to-whyray.lua"


@dataclass
class Hospital:
    orthanc: OrthancServer
    whyray: Running
    studies: dict[str, SentStudy]

    def results(self, name: str) -> dict[str, list[Dataset]]:
        """What Orthanc holds in this study beyond what was stored into it, by kind."""
        study = self.studies[name]
        sent = {str(header.SOPInstanceUID) for header in study.headers}
        by_kind: dict[str, list[Dataset]] = {}
        for uid, identifier in self.orthanc.instances(study.uid).items():
            if uid not in sent:
                dataset = dcmread(io.BytesIO(self.orthanc.file(identifier)))
                by_kind.setdefault(KINDS[dataset.SOPClassUID], []).append(dataset)
        return by_kind

    def identifier(self, study: str, sop_instance_uid: str) -> str:
        return self.orthanc.instances(self.studies[study].uid)[sop_instance_uid]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("hospital")
    planted_packages(folder / "packages")
    port = free_port()
    with ExitStack() as stack:
        peers = {"WHYRAY": Modality("WHYRAY", "127.0.0.1", port)}
        orthanc = _orthanc_factory(folder, stack)(modalities=peers, lua=RULE.read_text())
        whyray = Running(
            folder / "whyray",
            {
                "destinations": {
                    "orthanc": {
                        "ae_title": "ORTHANC",
                        "host": "127.0.0.1",
                        "port": orthanc.dicom_port,
                        "storage_commitment": True,
                    }
                },
                "packages": {"folders": [str(folder / "packages")]},
                "routes": routes("orthanc", on_release=False),
            },
            port=port,
        )
        stack.callback(whyray.stop)
        whyray.start()
        studies = [*made(folder / "studies"), *real_chest(), *real_head()]
        for study in studies:
            orthanc.upload(study.paths)
        hospital = Hospital(orthanc, whyray, {study.name: study for study in studies})
        whyray.wait_for(
            lambda: (
                len(whyray.jobs()) == len(studies)
                and all(job.state is JobState.DONE for job in whyray.jobs())
                and all(delivery.state is DeliveryState.COMMITTED for delivery in whyray.deliveries())
            ),
            what="all results back and committed",
            deadline=400,
        )
        yield hospital


STUDIES = (
    "monochrome 1",
    "japanese, JPEG 2000",
    "cyrillic, JPEG-LS",
    "RLE",
    "oblique CT",
    "tilted CT",
    "fanned CT",
    "real chest",
    "real head, variable tilt",
)


@pytest.fixture(params=STUDIES)
def name(request: pytest.FixtureRequest, hospital: Hospital) -> str:
    if request.param not in hospital.studies:
        pytest.skip(f"{request.param}: the real images are not here (see tests/conftest.py)")
    return str(request.param)


def test_all_kinds_of_result_come_back_into_the_same_study(hospital: Hospital, name: str) -> None:
    results = hospital.results(name)
    (job,) = [job for job in hospital.whyray.jobs() if job.study.study_instance_uid == hospital.studies[name].uid]
    made = [explanation for finding in job.findings for explanation in finding["explanations"]]
    withheld = bool(made) and all(explanation["withheld"] for explanation in made)
    assert withheld <= name.startswith("real"), "a planted spot is always explained well enough to be shown"
    # what is withheld leaves a page and a report that say so, and no map or region
    assert set(results) - {"seg"} == ({"sc", "sr"} if withheld else {"sc", "pm", "sr"})
    assert ("seg" in results) == (not withheld or name == "real head, variable tilt")
    source = hospital.studies[name].headers[0]
    for dataset in (dataset for group in results.values() for dataset in group):
        assert dataset.StudyInstanceUID == source.StudyInstanceUID
        assert str(dataset.PatientName) == str(source.PatientName)
        assert dataset.PatientID == source.PatientID
        assert dataset.get("SpecificCharacterSet") == source.get("SpecificCharacterSet")


def test_dciodvfy_finds_no_error_in_what_the_pacs_holds(hospital: Hospital, name: str) -> None:
    study = hospital.studies[name]
    sent = {str(header.SOPInstanceUID) for header in study.headers}
    for uid, identifier in hospital.orthanc.instances(study.uid).items():
        if uid not in sent:
            assert errors_of(hospital.orthanc.file(identifier)) == []


def test_orthancs_preview_of_the_page_is_the_picture_that_whyray_shows(hospital: Hospital, name: str) -> None:
    for page in hospital.results(name)["sc"]:
        identifier = hospital.identifier(name, page.SOPInstanceUID)
        answer = httpx.get(f"{hospital.orthanc.url}/instances/{identifier}/preview", timeout=60)
        preview = np.asarray(Image.open(io.BytesIO(answer.raise_for_status().content)).convert("RGB"))
        (row,) = [row for row in hospital.whyray.results() if row.sop_instance_uid == page.SOPInstanceUID]
        shown = httpx.get(
            f"{hospital.whyray.api}/results/{row.sop_instance_uid}/picture", timeout=30
        ).raise_for_status()
        np.testing.assert_array_equal(preview, np.asarray(Image.open(io.BytesIO(shown.content)).convert("RGB")))


@pytest.mark.parametrize("film", ["monochrome 1", "japanese, JPEG 2000", "cyrillic, JPEG-LS", "RLE"])
def test_the_planted_spot_of_a_radiograph_is_lit_up_in_every_object_to_one_pixel(hospital: Hospital, film: str) -> None:
    results = hospital.results(film)
    wanted = np.zeros((128, 112), bool)
    wanted[SPOT] = True
    (heatmap,) = results["pm"]
    values = on_film(heatmap)
    (region,) = results["seg"]
    for lit in (values > values.max() / 2, region.pixel_array.reshape(128, 112) > 0):
        rows, columns = np.nonzero(lit)
        expected_rows, expected_columns = np.nonzero(wanted)
        for indices, expected in ((rows, expected_rows), (columns, expected_columns)):
            assert abs(int(indices.min()) - int(expected.min())) <= 1
            assert abs(int(indices.max()) - int(expected.max())) <= 1


@pytest.mark.parametrize("volume", ["oblique CT", "tilted CT", "fanned CT"])
def test_the_planted_ball_of_a_volume_is_lit_up_in_every_object_to_one_voxel(hospital: Hospital, volume: str) -> None:
    results = hospital.results(volume)
    (heatmap,) = results["pm"]
    (region,) = results["seg"]
    values = np.frombuffer(heatmap.FloatPixelData, np.float32).reshape(_shape(heatmap))
    in_region = region.pixel_array.reshape(_shape(region)) > 0
    for dataset, lit in ((heatmap, values > values.max() / 2), (region, in_region)):
        points = _patient_points(dataset)[lit]
        np.testing.assert_allclose(points.mean(axis=0), BALL, atol=1.1)
        assert np.linalg.norm(points - np.array(BALL), axis=1).max() <= 5.0 + 1.6


def _shape(dataset: Dataset) -> tuple[int, int, int]:
    return int(dataset.NumberOfFrames), int(dataset.Rows), int(dataset.Columns)


def _patient_points(dataset: Dataset) -> np.ndarray:
    """(frames, rows, columns, 3): by PS3.3 equation C.7.6.2.1-1, from what the object says of itself."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    frames = []
    for group in dataset.PerFrameFunctionalGroupsSequence:
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        source = group if "PlaneOrientationSequence" in group else shared
        orientation = np.array(source.PlaneOrientationSequence[0].ImageOrientationPatient, float)
        measures = (group if "PixelMeasuresSequence" in group else shared).PixelMeasuresSequence[0]
        by_row, by_column = map(float, measures.PixelSpacing)
        rows = np.arange(dataset.Rows)[:, None, None] * by_row * orientation[3:]
        columns = np.arange(dataset.Columns)[None, :, None] * by_column * orientation[:3]
        frames.append(position + rows + columns)
    return np.stack(frames)


def test_the_real_chest_radiograph_is_answered_with_probabilities_and_measured_explanations(hospital: Hospital) -> None:
    (job,) = [job for job in hospital.whyray.jobs() if job.route == "chest"]
    assert len(job.findings) == 12
    assert all(0 <= finding["probability"] <= 1 for finding in job.findings)
    explained = [finding for finding in job.findings if finding["explanations"]]
    assert explained
    for finding in explained:
        for explanation in finding["explanations"]:
            assert explanation["quality"]["grade"] in ("green", "amber", "red")
            assert {"deletion", "insertion"} & {
                word for m in explanation["quality"]["measurements"] for word in m["name"].split()
            }


def test_results_that_come_back_are_kept_and_never_processed(hospital: Hospital) -> None:
    before = len(hospital.whyray.jobs())
    study = hospital.studies["RLE"]
    for identifier in hospital.orthanc.instances(study.uid).values():
        hospital.orthanc.post("/modalities/WHYRAY/store", identifier)
    results = sum(len(group) for group in hospital.results("RLE").values())
    until(
        lambda: sum(instance.own_result for instance in hospital.whyray.rows(Instance)) >= results,
        what="the results in the catalog as WhyRay's own",
    )
    assert hospital.whyray.get(f"/studies/{study.uid}")["study_instance_uid"] == study.uid
    assert len(hospital.whyray.jobs()) == before


def test_the_log_names_no_patient(hospital: Hospital) -> None:
    log = hospital.whyray.log.read_text()
    for study in hospital.studies.values():
        header = study.headers[0]
        family = str(header.PatientName).split("^")[0].split("=")[0]
        assert not family or family not in log
        assert not header.PatientID or str(header.PatientID) not in log
