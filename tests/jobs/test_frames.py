"""A multi-frame instance through a worker: all frames answered, as many explained as the route allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from sqlalchemy import select

import synthetic
from planted import planted_package
from results.answers import KINDS_OF_A_MAP
from site_under_test import ROUTE, Site
from whyray.admin.describe import job_detail, job_out
from whyray.catalog import JobState, ResultRow, jobs
from whyray.jobs.worker import run_job
from whyray.results import EVERY_KIND

FRAMES = 6
BRIGHT = (2, 4, 5)
"""Frames with a spot that the planted detector calls bright, the last of them the brightest."""


def cine() -> Dataset:
    stored = np.full((FRAMES, 64, 56), 20, np.uint8)
    for step, number in enumerate(BRIGHT):
        stored[number - 1, 20:30, 30:40] = 235 + 10 * step
    return synthetic.cine(stored)


@pytest.fixture
def clips(site: Site) -> Site:
    """A site that explains two frames of an ultrasound cine."""
    planted_package(site.folder / "packages", shape=(48, 48), modalities=("US",))
    route = {**ROUTE, "when": {"Modality": "US"}, "budget": {"frames": 2}}
    site.configure(routes=[{**route, "send": {"to": ["pacs"], "as": list(EVERY_KIND)}}])
    return site


def finished(site: Site, instances: list[Dataset]) -> jobs.Job:
    site.receive(instances)
    site.router().step()
    assert run_job(site.jobs()[-1].id, "worker-1", site.job_context()) is JobState.DONE
    return site.jobs()[-1]


def results_of(site: Site) -> dict[str, list[tuple[ResultRow, Dataset]]]:
    by_kind: dict[str, list[tuple[ResultRow, Dataset]]] = {}
    with site.catalog.read() as session:
        for row in session.scalars(select(ResultRow)):
            by_kind.setdefault(row.kind, []).append((row, dcmread(site.storage.root / row.key)))
    return by_kind


def test_a_cine_gives_one_object_a_kind_however_many_frames_it_has(clips: Site) -> None:
    finished(clips, [cine()])
    results = results_of(clips)
    assert set(results) == set(KINDS_OF_A_MAP)
    assert {kind: len(rows) for kind, rows in results.items()} == {**dict.fromkeys(KINDS_OF_A_MAP, 1), "sc": 2}
    (_, pages) = next(page for page in results["sc"] if page[0].method)
    assert pages.NumberOfFrames == 2
    assert pages.SourceImageSequence[0].ReferencedFrameNumber == [4, 5]


def test_all_frames_are_answered_and_those_with_the_clearest_answers_explained(clips: Site) -> None:
    job = finished(clips, [cine()])
    by_frame: dict[int, dict[str, Any]] = {finding["frame"]: finding for finding in job.findings}
    assert sorted(by_frame) == list(range(1, FRAMES + 1))
    assert [number for number, finding in by_frame.items() if finding["present"]] == list(BRIGHT)
    assert [number for number, finding in by_frame.items() if finding["explanations"]] == [4, 5]
    assert {tuple(finding["frames_explained"]) for finding in by_frame.values()} == {(4, 5)}
    ((_, report),) = results_of(clips)["sr"]
    texts = [str(element.value) for element in report.iterall() if element.keyword == "TextValue"]
    assert "Explained: 2 of 6 frames, those with the clearest answers (4-5); the others were only answered" in texts


def test_the_admin_page_tells_findings_on_frames_apart_and_lists_a_finding_once(clips: Site) -> None:
    finished(clips, [cine()])
    with clips.catalog.read() as session:
        job = session.scalars(select(jobs.Job)).one()
        detail, line = job_detail(job, [], {"grad-cam": "attribution"}), job_out(job)
    assert sorted(finding.frame for finding in detail.findings if finding.frame is not None) == list(
        range(1, FRAMES + 1)
    )
    assert sorted(explanation.frame for explanation in detail.explanations if explanation.frame is not None) == [4, 5]
    assert [(finding.name, finding.frame) for finding in line.present] == [
        (detail.findings[0].name, detail.findings[0].frame)
    ]
    pictured = [result for result in detail.results if result.picture is not None]
    assert len(pictured) == 2, "what was found, and the pages of the frames"
    (explained,) = [result for result in pictured if result.method is not None]
    assert all(explained.sop_instance_uid in explanation.results for explanation in detail.explanations)


def test_a_still_beside_a_cine_in_its_series_has_results_of_its_own(clips: Site) -> None:
    still = cine()
    still.NumberOfFrames = 1
    still.PixelData = still.PixelData[3 * 64 * 56 : 4 * 64 * 56]
    still.SOPInstanceUID = f"{still.SOPInstanceUID}.9"
    still.file_meta.MediaStorageSOPInstanceUID = still.SOPInstanceUID
    finished(clips, [cine(), still])
    results = results_of(clips)
    pages = {**dict.fromkeys(KINDS_OF_A_MAP, 2), "sc": 3}
    assert {kind: len(rows) for kind, rows in results.items()} == pages, "one first page for the study"
    series = {dataset.SeriesInstanceUID for rows in results.values() for _, dataset in rows}
    assert len(series) == 2 * len(KINDS_OF_A_MAP) - 1, "the pages of a run are one series"


def test_frames_without_a_finding_are_explained_where_no_frame_has_one(clips: Site) -> None:
    empty = cine()
    empty.PixelData = bytes([20]) * len(empty.PixelData)
    job = finished(clips, [empty])
    assert not any(finding["present"] for finding in job.findings)
    assert sum(bool(finding["explanations"]) for finding in job.findings) == 2
    pages = next(page for _, page in results_of(clips)["sc"] if "NumberOfFrames" in page)
    assert pages.NumberOfFrames == 2
