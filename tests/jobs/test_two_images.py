"""Two images of one study: each result carries the grade, and is listed with the finding, of its own image."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from sqlalchemy import select
from sqlalchemy.orm import joinedload

import synthetic
from planted import BRIGHT, planted_package
from site_under_test import ROUTE, Site, film
from whyray.admin.describe import result_out
from whyray.admin.explanations import explanations_of
from whyray.catalog import Job, JobState, ResultRow
from whyray.inference import load_package
from whyray.jobs.explanation_request import ExplanationRequest
from whyray.jobs.files import explain_files
from whyray.jobs.worker import run_job
from whyray.reader_study import MaterialFilter
from whyray.reader_study.material import from_folders
from whyray.results import EVERY_KIND, load_templates


def dull(number: int) -> Dataset:
    """A radiograph all of one brightness, whose map fails its checks."""
    return synthetic.radiograph(np.full((96, 80), 4000, np.uint16), number=number)


@pytest.fixture(params=["dull first", "dull second"])
def study(request: pytest.FixtureRequest) -> list[Dataset]:
    """A film whose explanation is withheld, and one whose explanation is shown, in either order."""
    return [dull(1), film(2)] if request.param == "dull first" else [film(1), dull(2)]


def source_of(dataset: Dataset) -> set[str]:
    """UIDs of the images that an object refers to, by whatever attribute its kind uses."""
    uids: set[str] = set()
    for element in dataset.iterall():
        if element.keyword == "ReferencedSOPInstanceUID":
            uids.add(str(element.value))
    return uids


def done_job(site: Site, study: list[Dataset]) -> str:
    site.configure(routes=[{**ROUTE, "send": {"to": ["pacs"], "as": list(EVERY_KIND)}}])
    site.receive(study)
    site.router().step()
    (job,) = site.jobs()
    assert run_job(job.id, "worker-1", site.job_context()) is JobState.DONE
    return job.id


def test_each_result_is_filed_with_the_grade_of_its_own_image(site: Site, study: list[Dataset]) -> None:
    done_job(site, study)
    (job,) = site.jobs()
    grades = {tuple(finding["images"]): finding["explanations"][0]["quality"]["grade"] for finding in job.findings}
    assert set(grades.values()) == {"red", "amber"}, "of a package that knows no place a map is amber at best"
    with site.catalog.read() as session:
        rows = list(session.scalars(select(ResultRow)))
    graded = [result for result in rows if result.method is not None]
    assert {result.kind for result in graded} == {"sc", "pm", "gsps", "blend", "ko"}
    refers = {result.sop_instance_uid: source_of(dcmread(site.storage.root / result.key)) for result in rows}
    for row in graded:
        about = refers[row.sop_instance_uid]
        # colours over a radiograph refer to the Parametric Map alone
        about = about | {
            uid for result in rows if result.sop_instance_uid in about for uid in refers[result.sop_instance_uid]
        }
        ((images, grade),) = [item for item in grades.items() if set(item[0]) & about]
        assert row.grade == grade == "amber", (row.kind, images)
    assert {result.kind for result in rows if result.grade is None} == {"sc", "seg", "sr", "pdf"}


def test_a_job_lists_each_result_with_the_finding_and_the_probability_of_its_own_image(
    site: Site, study: list[Dataset]
) -> None:
    done_job(site, study)
    with site.catalog.read() as session:
        job = session.scalars(select(Job).options(joinedload(Job.results), joinedload(Job.study))).unique().one()
        bright = next(finding for finding in job.findings if finding["present"])
        told = {explanation.state: explanation for explanation in explanations_of(job, {})}
        rows = {result.sop_instance_uid: result for result in job.results if result.method == "grad-cam"}
        assert told["withheld"].results == []
        assert sorted(told["shown"].results) == sorted(rows)
        for row in rows.values():
            assert result_out(row).probability == bright["probability"]
        (notice,) = [result for result in job.results if result.finding == BRIGHT and result.method is None]
        assert result_out(notice).probability != bright["probability"]


def test_a_kit_out_of_a_folder_shows_each_image_its_own_page_and_grade(tmp_path, study: list[Dataset]) -> None:
    files = synthetic.write(study, tmp_path / "study")
    planted_package(tmp_path / "packages", shape=(48, 48))
    report = explain_files(
        files,
        load_package("planted@1", search=[tmp_path / "packages"]),
        ExplanationRequest(methods={"grad-cam": {}}, targets="all"),
        tmp_path / "out",
        templates=load_templates(),
        at=datetime(2026, 11, 1, tzinfo=UTC),
        progress=lambda *_: None,
    )
    assert len(report.findings) == 2
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    for finding in written["findings"]:
        assert all(finding["images"][0] in source_of(dcmread(path)) for path in listed(tmp_path / "out", finding))
    gathered = from_folders([tmp_path / "out"], files, MaterialFilter(target=BRIGHT))
    (case,) = gathered.material
    assert case.grades == ("amber",)
    assert case.model_says


def listed(folder, finding):
    by_uid = {str(dcmread(path).SOPInstanceUID): path for path in (folder / "dicom").iterdir()}
    assert finding["results"]
    return [by_uid[uid] for uid in finding["results"]]
