"""Series of results are told apart, say first what they are, and are whole within what DICOM allows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import synthetic
from results.answers import CARDIOMEGALY, NODULE, PACKAGE, a_map, answer_about, blob, centre_of, image_of
from results.sources import read
from whyray.imaging import SourceImage
from whyray.packages import TargetSpec
from whyray.results import Answer, Finding, build_results, build_run_results, encode
from whyray.results.series import series_description, series_number, shortened

BUNDLED = (
    "cxr-abnormal",
    "cxr-anatomy",
    "cxr-autoencoder",
    "cxr-captioner",
    "cxr-findings",
    "cxr-opacity",
    "cxr-prototypes",
    "cxr-scope",
    "head-ct-tissue",
)
TITLE = "Findings on a frontal chest radiograph (ChestX-ray14, demonstration)"


def film(*, number: int = 1, character_set: str = "ISO_IR 100", body_part: str = "CHEST") -> SourceImage:
    pixels = np.add.outer(np.arange(60), np.arange(50)) * (7 + number)
    patient = replace(synthetic.LATIN, name="Doe^Jane", character_set=character_set)
    return image_of([synthetic.radiograph(pixels, study="series", number=number, patient=patient, body_part=body_part)])


def answer_with(image: SourceImage, **probabilities: float) -> Answer:
    heatmap = a_map(image, blob(image, centre_of(image)))
    findings = [
        Finding(TargetSpec(name=name, threshold=0.5), present=number >= 0.5, probability=number, maps=(heatmap,))
        for name, number in probabilities.items()
    ]
    return answer_about(image, findings, package=replace(PACKAGE, title=TITLE))


def test_kind_and_finding_come_first_in_descriptions(templates) -> None:
    answer = answer_with(film(), Mass=0.7, Effusion=0.9)
    said = {
        result.kind: result.dataset.SeriesDescription
        for result in build_results(answer, ["sc", "seg", "sr"], templates)
    }
    assert said == {
        "sc": "AI Summary · Findings on a frontal chest radiograph",
        "seg": "AI Region · Effusion, Mass",
        "sr": "AI Report · Findings on a frontal chest radiograph",
    }


@pytest.mark.parametrize("character_set", ["", "ISO_IR 6", "ISO 2022 IR 87"])
def test_a_character_set_without_the_separator_gets_a_hyphen_and_stays_what_it_is(character_set, templates) -> None:
    image = film(character_set=character_set)
    for result in build_results(answer_with(image, Mass=0.7), ["sc", "seg", "sr", "gsps"], templates):
        dataset = read(encode(result.dataset))
        assert " - " in dataset.SeriesDescription
        assert dataset.get("SpecificCharacterSet") == (image.header.get("SpecificCharacterSet") or None)


def test_many_findings_are_counted_and_no_word_is_cut(templates) -> None:
    names = ["Pleural_Thickening", "Consolidation", "Pneumothorax", "Cardiomegaly", "Emphysema", "Infiltration"]
    answer = answer_with(film(), **{name: 0.9 - place / 100 for place, name in enumerate(names)})
    said = series_description(answer, templates.series.seg, "")
    assert said == "AI Region · Pleural Thickening, Consolidation, Pneumothorax +3"
    later = series_description(replace(answer, revision=3), templates.series.seg, "")
    assert later == "AI Region · Pleural Thickening +5 · rev 3, replaces 2"


@pytest.mark.parametrize(
    ("revision", "run", "ending"),
    [
        (1, 1, ""),
        (1, 2, " · rev 1.2, replaces 1"),
        (1, 3, " · rev 1.3, replaces 1.2"),
        (2, 2, " · rev 2.2, replaces 2"),
    ],
)
def test_the_series_of_a_run_that_gave_other_results_is_told_from_the_one_before(
    revision: int, run: int, ending: str, templates
) -> None:
    answer = replace(answer_with(film(), Mass=0.7), revision=revision, run=run)
    assert series_description(answer, templates.series.seg, "") == f"AI Region · Mass{ending}"


@pytest.mark.parametrize(
    ("replaces", "run", "ending"),
    [
        ((2, 3), 1, "rev 3, replaces 2.3"),
        ((2, 1), 1, "rev 3, replaces 2"),
        ((1, 2), 1, "rev 3, replaces 1.2"),
        ((2, 3), 2, "rev 3.2, replaces 3"),
    ],
)
def test_a_revision_says_which_version_was_in_force_before_it(
    replaces: tuple[int, int], run: int, ending: str, templates
) -> None:
    answer = replace(answer_with(film(), Mass=0.7), revision=3, run=run, replaces=replaces)
    assert series_description(answer, templates.series.seg, "").endswith(ending)


@pytest.mark.parametrize(
    "text",
    ["Extraordinarily comprehensive examination of everything that radiographs may reveal", "x" * 90, "ab " * 40],
)
def test_what_is_too_long_is_shortened_word_by_word(text: str) -> None:
    assert 0 < len(shortened(text, 64)) <= 64
    assert shortened("short enough", 64) == "short enough"
    assert shortened("Extraordinarily long words", 20) == "Extr. long words"


def test_numbers_are_distinct_over_packages_and_kinds_and_the_same_for_every_revision(templates) -> None:
    kinds = [
        getattr(templates.series, kind)
        for kind in ("sc", "seg", "segments", "pm", "sr", "gsps", "blend", "ko", "pdf", "cine")
    ]
    packages = (*BUNDLED, *(f"of-a-site-{number}" for number in range(20)))
    numbers = [series_number(templates.series, kind, package) for package in packages for kind in kinds]
    assert len(set(numbers)) == len(numbers)
    answer = answer_with(film(), Mass=0.7)
    first, later = (
        {(result.kind, result.dataset.SeriesNumber) for result in build_results(given, ["sc", "seg", "sr"], templates)}
        for given in (answer, replace(answer, revision=2))
    )
    assert first == later
    moved = templates.series.model_copy(update={"base": 500})
    assert series_number(moved, moved.sc, "cxr-findings") == 501


def test_pages_of_one_run_are_one_series_in_reading_order(templates) -> None:
    answers = [answer_with(film(number=number), Mass=0.6, Effusion=0.8) for number in (1, 2)]
    pages = [result for result in build_run_results(answers, ["sc", "sr"], templates) if result.kind == "sc"]
    assert len({page.dataset.SeriesInstanceUID for page in pages}) == 1
    pages.sort(key=lambda page: page.dataset.InstanceNumber)
    assert [page.dataset.InstanceNumber for page in pages] == list(range(1, len(pages) + 1))
    order = [page.finding for page in pages if page.finding]
    assert order.index("Effusion") < order.index("Mass")
    assert len({page.dataset.SOPInstanceUID for page in pages}) == len(pages)


def test_pages_about_another_body_part_are_another_series(templates) -> None:
    answers = [
        answer_with(film(number=number, body_part=part), Mass=0.6) for number, part in ((1, "CHEST"), (2, "HAND"))
    ]
    pages = [result.dataset for result in build_run_results(answers, ["sc"], templates)]
    assert len({page.SeriesInstanceUID for page in pages}) == 2


def test_a_finding_without_an_explanation_is_named_where_none_is_shown(templates) -> None:
    image = film()
    findings = [Finding(CARDIOMEGALY, present=True, probability=0.8), Finding(NODULE, present=False, probability=0.1)]
    assert series_description(answer_about(image, findings), templates.series.seg, "") == "AI Region · Cardiomegaly"
    assert (
        series_description(answer_about(image, findings[1:]), templates.series.seg, "") == "AI Region · Chest findings"
    )


def test_the_region_of_what_was_not_found_says_so_in_lists_of_series_and_segments(templates) -> None:
    image = image_of([synthetic.radiograph(np.arange(6400).reshape(80, 80), study="nothing found")])
    nearest = Finding(NODULE, present=False, probability=0.13, maps=(a_map(image, blob(image, centre_of(image))),))
    (region,) = build_results(answer_about(image, [nearest]), ["seg"], templates)
    assert region.dataset.SeriesDescription == "AI Region · Nodule (not found)"
    assert region.dataset.SegmentSequence[0].SegmentLabel == "Nodule (not found): grad-cam"
