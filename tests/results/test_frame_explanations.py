"""Explanations of every type on frames of one multi-frame instance: in one series a kind, each at its own frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

import synthetic
from results.answers import FOUR_KINDS, answer_about
from results.sources import read
from results.test_typed_explanations import METHODS, typed_answer
from whyray.imaging import SourceImage, read_images
from whyray.quality import Grade
from whyray.results import Answer, Templates, build_run_results, encode

FRAMES = 3
COUNTERFACTUAL = "latent-shift"


@pytest.fixture
def frames(tmp_path: Path) -> tuple[SourceImage, ...]:
    """The frames of an ultrasound cine, read from a file."""
    path = tmp_path / "cine.dcm"
    stored = np.random.default_rng(5).integers(0, 255, (FRAMES, 90, 60))
    synthetic.cine(stored).save_as(path, enforce_file_format=True)
    return read_images([path]).or_raise()


FOR_SCIENTISTS = ("narrative", "tcav", "unit-report")


def told_about_each(frames: Sequence[SourceImage], method: str, *grades: Grade) -> list[Answer]:
    return [typed_answer(method, grade, frame) for frame, grade in zip(frames, grades, strict=True)]


@pytest.mark.parametrize("method", METHODS)
def test_every_type_of_explanation_gives_one_series_a_kind_and_valid_objects(
    method: str, frames: tuple[SourceImage, ...], templates: Templates, errors_of: Callable[[bytes], list[str]]
) -> None:
    answers = told_about_each(frames, method, Grade.GREEN, Grade.RED, Grade.AMBER)
    results = build_run_results(answers, FOUR_KINDS, templates)
    for result in results:
        assert errors_of(encode(result.dataset)) == [], result.description
    series = {(result.kind, result.dataset.SeriesDescription) for result in results}
    assert len({result.dataset.SeriesInstanceUID for result in results}) == len(series)
    assert len({result.dataset.SOPInstanceUID for result in results}) == len(results)
    numbers = [(result.dataset.SeriesInstanceUID, result.dataset.InstanceNumber) for result in results]
    assert len(set(numbers)) == len(numbers)
    about = [result for result in results if result.kind == "sc" and result.method == method]
    # each page and cine of the method is named, at its frame, by the report
    report = read(encode(next(result.dataset for result in results if result.kind == "sr")))
    assert about or method in FOR_SCIENTISTS, "which have no page for others"
    assert {str(result.dataset.SOPInstanceUID) for result in about} <= _referenced(report)


def test_each_frame_has_a_cine_of_its_own_that_the_report_names(
    frames: tuple[SourceImage, ...], templates: Templates
) -> None:
    answers = told_about_each(frames, COUNTERFACTUAL, Grade.GREEN, Grade.RED, Grade.AMBER)
    results = build_run_results(answers, ["sc", "cine", "sr"], templates)
    cines = [result for result in results if result.kind == "cine"]
    assert all("FrameTime" in result.dataset for result in cines)
    assert [_source_frames(result.dataset) for result in cines] == [[1], [3]]  # the second is withheld
    assert [result.grade for result in cines] == ["green", "amber"]
    named = _referenced(read(encode(results[-1].dataset)))
    assert {str(result.dataset.SOPInstanceUID) for result in cines} <= named


def test_pages_of_another_parameter_are_another_object(frames: tuple[SourceImage, ...], templates: Templates) -> None:
    def with_parameters(answer: Answer, parameters: dict[str, object]) -> Answer:
        first, *others = answer.findings
        maps = tuple(replace(heatmap, parameters=parameters) for heatmap in first.maps)
        return replace(answer, findings=(replace(first, maps=maps), *others))

    def uids(parameters: dict[str, object]) -> set[str]:
        answers = [with_parameters(answer_about(frame), parameters) for frame in frames]
        return {str(one.dataset.SOPInstanceUID) for one in build_run_results(answers, FOUR_KINDS, templates)}

    assert uids({"masks": 500}) == uids({"masks": 500})
    assert not uids({"masks": 500}) & uids({"masks": 1000})


def test_frames_with_a_map_come_first_in_the_report(frames: tuple[SourceImage, ...], templates: Templates) -> None:
    """Viewers begin with the first measurement group, and some show only those that have coordinates."""
    first, second, third = (answer_about(frame) for frame in frames)
    plain = replace(first, findings=tuple(replace(finding, maps=()) for finding in first.findings))
    (report,) = (one for one in build_run_results([plain, second, third], FOUR_KINDS, templates) if one.kind == "sr")
    groups = next(item for item in report.dataset.ContentSequence if _code(item) == "126010").ContentSequence
    trackings = [
        next(content_item.TextValue for content_item in group.ContentSequence if _code(content_item) == "112039")
        for group in groups
    ]
    order = list(dict.fromkeys(tracking.rsplit(" ", 1)[1] for tracking in trackings))
    assert order == ["2", "3", "1"]


def _referenced(report: Dataset) -> set[str]:
    return {str(element.value) for element in report.iterall() if element.keyword == "ReferencedSOPInstanceUID"}


def _source_frames(dataset: Dataset) -> list[int]:
    (source,) = dataset.SourceImageSequence
    return [int(number) for number in np.atleast_1d(source.ReferencedFrameNumber)]


def _code(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)
