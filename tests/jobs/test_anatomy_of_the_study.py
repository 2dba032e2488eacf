"""A Segmentation that came with the study tells methods its anatomy, in the service and on the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import yaml
from pydicom import Dataset, dcmread

from results.answers import answer_about
from site_under_test import ROUTE, Site, film
from whyray.base.coded_concept import CodedConcept
from whyray.catalog import JobState
from whyray.imaging import read_images
from whyray.inference import load_package
from whyray.jobs.explanation_request import ExplanationRequest
from whyray.jobs.files import explain_files
from whyray.jobs.worker import run_job
from whyray.packages import TargetSpec
from whyray.results import Finding, build_results, encode, load_templates

LUNG = CodedConcept(value="39607008", scheme="SCT", meaning="Lung")
HEART = CodedConcept(value="80891009", scheme="SCT", meaning="Heart")


def told_by_the_study(packages: Path) -> None:
    """The planted package takes its anatomy from the study."""
    path = packages / "planted" / "1.0.0" / "model.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "companions": {"anatomy": "study"}}))


def outlines(of: Dataset) -> Dataset:
    """A Segmentation of the film: the bright spot lies in the 'heart', the 'lung' is elsewhere."""
    image = read_images([of]).or_raise()[0]
    heart, lung = np.zeros(image.shape, bool), np.zeros(image.shape, bool)
    heart[:, 10:40, 42:68] = True
    lung[:, 50:90, 5:40] = True
    findings = (
        Finding(TargetSpec(name="heart", code=HEART), present=True, probability=None, mask=heart),
        Finding(TargetSpec(name="lung", code=LUNG), present=True, probability=None, mask=lung),
    )
    made = build_results(answer_about(image, findings), ["seg"], load_templates())
    return dcmread(BytesIO(encode(made[0].dataset)))


def shares(finding: dict[str, object]) -> dict[str, float]:
    assert finding["refused"] == {}
    (told,) = finding["typed_explanations"]  # type: ignore[misc]
    return {region["structure"]["name"]: region["share"] for region in told["regions"]}


def test_a_segmentation_in_the_study_is_the_anatomy_that_a_map_is_told_by(site: Site) -> None:
    told_by_the_study(site.folder / "packages")
    site.configure(routes=[{**ROUTE, "explain": ["grad-cam", "region-shares"]}])
    image = film(1)
    site.receive([image, outlines(image)])
    site.router().step()
    (job,) = site.jobs()
    assert run_job(job.id, "worker-1", site.job_context()) is JobState.DONE
    (job,) = site.jobs()
    by_name = shares(job.findings[0])
    assert set(by_name) == {"heart", "lung"}
    assert by_name["heart"] > 0.5 > 0.2 > by_name["lung"]


def test_segmentations_that_whyray_made_are_no_anatomy(site: Site) -> None:
    told_by_the_study(site.folder / "packages")
    site.configure(routes=[{**ROUTE, "explain": ["region-shares"]}])
    image = film(1)
    site.receive([image])
    site.receive([outlines(image)], own=True)
    site.router().step()
    (job,) = site.jobs()
    run_job(job.id, "worker-1", site.job_context())
    (job,) = site.jobs()
    assert job.findings[0]["typed_explanations"] == []
    assert "region-shares" in job.findings[0]["refused"]


def test_files_of_a_study_with_its_segmentation_are_explained_by_it_and_nothing_is_refused(
    tmp_path: Path, site: Site
) -> None:
    told_by_the_study(site.folder / "packages")
    image = film(1)
    files = [tmp_path / "film.dcm", tmp_path / "outlines.dcm"]
    image.save_as(files[0], enforce_file_format=True)
    outlines(image).save_as(files[1], enforce_file_format=True)
    report = explain_files(
        files,
        load_package("planted", search=[site.folder / "packages"]),
        ExplanationRequest(methods={"region-shares": {}}),
        tmp_path / "out",
        templates=load_templates(),
        at=datetime(2026, 11, 1, tzinfo=UTC),
        progress=lambda *_: None,
    )
    assert report.refused == ()
    assert shares(report.findings[0])["heart"] > 0.5
