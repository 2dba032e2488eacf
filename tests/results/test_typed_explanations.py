"""Explanations that are not heatmaps, of every type, in every result: valid, complete, and silent where withheld."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset

from results.answers import FOUR_KINDS, answer_about, card
from results.sources import image_named
from results.test_pages import words_on
from typed_examples import examples
from whyray.base.finding_record import finding_records
from whyray.imaging import SourceImage, mask_to_source, to_model
from whyray.packages import InputSpec
from whyray.quality import Grade
from whyray.results import (
    Answer,
    GradedExplanation,
    MapInSource,
    Result,
    StructureInSource,
    Templates,
    build_results,
    describe,
    encode,
)
from whyray.results.portray import Look, portray
from whyray.results.trust import trust_in

METHODS = list(examples())
LANGUAGES = ["en", "de", "fr", "es", "ja"]


def typed_answer(method: str, grade: Grade = Grade.GREEN, image: SourceImage | None = None) -> Answer:
    """An image (or a radiograph) whose first finding is told about by one method, its maps and structures in place."""
    answer = answer_about(image_named("DX, Japanese") if image is None else image)
    finding = answer.findings[0]
    explanation = replace(examples()[method], target=finding.target.name)
    grid = to_model(answer.image, InputSpec(name="x", shape=(32, 32))).grid
    structures = tuple(
        StructureInSource(
            structure.name, mask_to_source(structure.mask, grid, answer.image)[0], structure.code, structure.laterality
        )
        for structure in explanation.structures
    )
    told = GradedExplanation(explanation, card(grade), structures)
    maps = [
        MapInSource(
            method=explanation.method,
            values=np.ones(answer.image.shape, np.float32),
            covered=np.ones(answer.image.shape, bool),
            region=np.ones(answer.image.shape, bool),
            region_rule="all",
            signed=part.signed,
            unit=part.unit,
            card=told.card,
            part=part.name,
        )
        for part in explanation.maps
    ]
    return replace(
        answer, findings=(replace(finding, maps=(*finding.maps, *maps), typed=(told,)), *answer.findings[1:])
    )


def report_of(results: Sequence[Result]) -> Dataset:
    return next(result.dataset for result in results if result.kind == "sr")


def words_of(report: Dataset) -> list[str]:
    """All text values of a report, whole."""
    return [str(element.value) for element in report.iterall() if element.keyword in ("TextValue", "CodeMeaning")]


@pytest.mark.parametrize("method", METHODS)
def test_every_object_is_valid(
    method: str, templates: Templates, errors_of: Callable[[bytes], list[str]], dsrdump: Callable[[bytes], str]
) -> None:
    results = build_results(typed_answer(method), FOUR_KINDS, templates)
    for result in results:
        assert errors_of(encode(result.dataset)) == [], result.description
    assert method in dsrdump(encode(report_of(results)))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("method", METHODS)
def test_every_type_is_portrayed_in_every_language(method: str, language: str, templates: Templates) -> None:
    answer = typed_answer(method)
    finding = answer.findings[0]
    look = Look(answer, finding, templates, templates.layout, templates.wording(language))
    said = portray(finding.typed[0], look)
    assert said.headline
    assert said.rows
    assert said.figures or said.lines, "a person sees something of it"
    english = portray(finding.typed[0], Look(answer, finding, templates, templates.layout, templates.wording("en")))
    if language != "en" and method != "narrative":
        assert (said.headline, said.lines) != (english.headline, english.lines)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_answer_gives_the_same_bytes(method: str, templates: Templates) -> None:
    first, second = (
        [encode(result.dataset) for result in build_results(typed_answer(method), FOUR_KINDS, templates)]
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize("method", METHODS)
def test_what_is_withheld_is_in_no_picture_map_or_segment_and_the_report_says_why(
    method: str, templates: Templates
) -> None:
    answer = typed_answer(method, Grade.RED)
    results = build_results(answer, FOUR_KINDS, templates)
    assert [result for result in results if result.method == method] == []
    assert not [result for result in results if result.description.startswith("structures")]
    card_of_it = answer.findings[0].typed[0].card
    words = words_of(report_of(results))
    sentence = trust_in(card_of_it, templates.wording("en")).sentence
    assert sentence is not None
    assert any(text.endswith(sentence) for text in words)
    assert any(card_of_it.concerns[0].rule in text for text in words), "with what was measured"


@pytest.mark.parametrize("method", METHODS)
def test_the_description_holds_every_number_and_no_array(method: str) -> None:
    described = describe(typed_answer(method))[0]["typed_explanations"][0]
    assert described["method"] == method
    assert len(json.dumps(described)) < 20_000
    withheld = describe(typed_answer(method, Grade.RED))[0]["typed_explanations"][0]
    assert set(withheld) == {"method", "title", "type", "parameters", "withheld", "quality"}


@pytest.mark.parametrize("method", METHODS)
def test_the_description_is_read_by_its_types_with_the_numbers_that_drift_is_watched_by(method: str) -> None:
    written = json.loads(json.dumps(describe(typed_answer(method), [])))
    record = finding_records(written, of="a test")[0]
    (told,) = record.typed_explanations
    assert (record.schema_version, record.results, told.method, told.quality.grade) == (1, (), method, "green")
    expected = {"region-shares": {"outside-anatomy"}, "latent-position": {"ood-percentile"}}
    assert set(told.drift_numbers) == expected.get(method, set())
    assert "salient-area" in record.explanations[0].drift_numbers
    (withheld,) = finding_records(describe(typed_answer(method, Grade.RED)), of="a test")[0].typed_explanations
    assert (withheld.withheld, dict(withheld.drift_numbers)) == (True, {})


@pytest.mark.parametrize("method", ["latent-shift", "similar-cases"])
def test_pictures_that_a_decoder_made_are_marked_on_the_page(method: str, templates: Templates) -> None:
    answer = typed_answer(method)
    unmarked = replace(
        templates, wordings={k: v.model_copy(update={"synthetic": " "}) for k, v in templates.wordings.items()}
    )
    with_mark = [result.picture for result in build_results(answer, ["sc"], templates) if result.method == method]
    without = [result.picture for result in build_results(answer, ["sc"], unmarked) if result.method == method]
    assert any(not np.array_equal(*pair) for pair in zip(with_mark, without, strict=True))


def test_a_counterfactual_comes_as_a_cine_that_viewers_play_where_one_is_asked_for(templates: Templates) -> None:
    results = build_results(typed_answer("latent-shift"), ["sc", "cine"], templates)
    cines = [result.dataset for result in results if "FrameTime" in result.dataset]
    pages = {result.dataset.SeriesInstanceUID for result in results if result.kind == "sc"}
    assert {cine.SeriesInstanceUID for cine in cines}.isdisjoint(pages), "a series of its own: viewers play a series"
    plain = build_results(typed_answer("latent-shift"), ["sc"], templates)
    assert not any("FrameTime" in result.dataset for result in plain)
    assert [int(cine.NumberOfFrames) for cine in cines] == [3]
    assert cines[0].SOPClassUID == "1.2.840.10008.5.1.4.1.1.7.4"


def test_structures_come_as_segments_where_they_lie_and_the_report_measures_each(
    templates: Templates, dsrdump: Callable[[bytes], str]
) -> None:
    results = build_results(typed_answer("region-shares"), FOUR_KINDS, templates)
    segmentation = next(result.dataset for result in results if result.description.startswith("structures"))
    assert [segment.SegmentLabel for segment in segmentation.SegmentSequence] == ["left lung", "right lung"]
    text = dsrdump(encode(report_of(results)))
    assert segmentation.SOPInstanceUID in text
    assert "left lung" in text


def test_a_narrative_stands_in_the_report_and_on_the_page_with_details(
    templates: Templates, monkeypatch: pytest.MonkeyPatch
) -> None:
    results: list[Result] = []
    words = words_on(
        monkeypatch,
        lambda: results.extend(build_results(typed_answer("narrative"), ["sc", "sr"], templates, audience="scientist")),
    )
    assert "The model answers mass with 0.80." in words
    assert any("The model answers mass with 0.80." in text for text in words_of(report_of(results)))
    assert not [
        result for result in build_results(typed_answer("narrative"), ["sc"], templates) if result.method == "narrative"
    ]
