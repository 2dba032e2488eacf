"""A study of several images has one first page, which says what is seen on which of them, and pages in its order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

import synthetic
from mammography import view_item
from results.answers import PACKAGE, a_map, answer_about, blob, image_of
from results.sources import read
from results.test_read_in_seconds import LANGUAGES, written
from whyray.imaging import SourceImage
from whyray.packages import TargetSpec
from whyray.quality import ScopeCheck
from whyray.results import Answer, Finding, Result, build_run_results, encode

__all__ = ["written"]
LEFT_UPPER, RIGHT_LOWER = (0, 12, 42), (0, 50, 8)


def film(number: int, view: str, *, side: str = "", study: str = "views") -> SourceImage:
    pixels = np.add.outer(np.arange(60), np.arange(50)) * (7 + number)
    mammogram = bool(side)
    made = synthetic.radiograph(
        pixels,
        modality="MG" if mammogram else "DX",
        study=study,
        series=f"series {number}",
        number=number,
        patient=replace(synthetic.LATIN, name="Doe^Jane"),
    )
    made.ViewPosition = view
    if mammogram:
        made.ImageLaterality, made.ViewCodeSequence = side, [view_item(view)]
        made.PatientOrientation = ["P", "L" if side == "R" else "R"]
    return image_of([made])


def about(image: SourceImage, places: dict[str, tuple[int, int, int]] | None = None, **probabilities: float) -> Answer:
    findings = [
        Finding(
            TargetSpec(name=name, threshold=0.5),
            present=probability >= 0.5,
            probability=probability,
            maps=(a_map(image, blob(image, (places or {}).get(name, LEFT_UPPER))),) if probability >= 0.5 else (),
        )
        for name, probability in probabilities.items()
    ]
    return answer_about(image, findings, package=replace(PACKAGE, title="Findings"))


def two_views() -> list[Answer]:
    return [
        about(film(1, "PA"), {"Mass": RIGHT_LOWER}, Effusion=0.6, Mass=0.9, Nodule=0.1),
        about(film(2, "LL"), Effusion=0.95, Mass=0.2, Nodule=0.2),
    ]


def breasts() -> list[Answer]:
    views = [("R", "CC", 0.9), ("R", "MLO", 0.6), ("L", "CC", 0.1), ("L", "MLO", 0.2)]
    return [
        about(film(number, view, side=side), Mass=probability, Calcification=0.05)
        for number, (side, view, probability) in enumerate(views, 1)
    ]


def pages_of(answers: Sequence[Answer], templates, **options) -> list[Result]:
    results = [result for result in build_run_results(answers, ["sc"], templates, **options) if result.kind == "sc"]
    return sorted(results, key=lambda page: page.dataset.InstanceNumber)


def test_two_views_have_one_first_page_that_says_what_is_seen_on_which(templates, written):
    answers = two_views()
    pages = []
    words = " ".join(one.text for one in written(lambda: pages.extend(pages_of(answers, templates))))
    first = [page for page in pages if page.page == "summary"]
    assert first == pages[:1]
    flat = " ".join(words.split())
    assert "PA view: patient's left, upper third lateral view: patient's left, upper third" in flat
    assert "PA view: patient's right, lower third lateral view: not found" in flat
    assert flat.count("What was found") == 1
    assert "Looked for and not found: Nodule." in flat
    sources = {item.ReferencedSOPInstanceUID for item in first[0].dataset.SourceImageSequence}
    assert sources == {answer.image.frames[0].sop_instance_uid for answer in answers}
    assert len(first[0].dataset.ReferencedSeriesSequence) == 2


def test_pages_of_a_study_follow_finding_by_finding_and_name_their_image(templates):
    pages = [page.dataset for page in pages_of(two_views(), templates, audience="scientist")]
    assert [page.InstanceNumber for page in pages] == list(range(1, 8))
    assert [page.ImageComments for page in pages] == [
        "AI Summary · what was found",
        "AI Overlay · Effusion by Grad-CAM, PA",
        "AI Overlay · Effusion by Grad-CAM, LL",
        "AI Overlay · Mass by Grad-CAM, PA",
        "AI Details · Effusion by Grad-CAM, details, PA",
        "AI Details · Effusion by Grad-CAM, details, LL",
        "AI Details · Mass by Grad-CAM, details, PA",
    ]
    assert len({page.SeriesInstanceUID for page in pages}) == len({page.SeriesDescription for page in pages}) == 1
    assert len({page.SOPInstanceUID for page in pages}) == 7


def test_of_four_mammograms_findings_are_told_by_side_in_one_series(templates, written, errors_of):
    pages = []
    words = " ".join(one.text for one in written(lambda: pages.extend(pages_of(breasts(), templates))))
    flat = " ".join(words.split())
    assert "Mass (right)" in flat
    assert "CC view: " in flat
    assert "Looked for and not found: Mass (left), Calcification." in flat
    assert len({page.dataset.SeriesInstanceUID for page in pages}) == 1
    made = [read(encode(page.dataset)) for page in pages]
    assert [page.ImageLaterality for page in made] == ["B", "R", "R"]
    assert not any("Laterality" in page for page in made)
    assert all(errors_of(encode(page.dataset)) == [] for page in pages)


def test_a_view_that_nothing_is_said_of_is_named_on_the_first_page(templates, written):
    first, second = two_views()
    silent = replace(second, findings=(), scope=ScopeCheck(reasons=("view",)))
    pages = []
    flat = " ".join(one.text for one in written(lambda: pages.extend(pages_of([first, silent], templates))))
    assert "lateral view: This image is unlike those the model was made for: no statement." in flat
    assert "Its header names another view." in flat
    assert "lateral view: not found" not in flat
    assert [page.page for page in pages] == ["summary", "map", "map"]
    none = " ".join(
        one.text
        for one in written(
            lambda: pages_of([replace(one, findings=(), scope=silent.scope) for one in (first, second)], templates)
        )
    )
    assert "No finding reached its threshold." not in none
    assert none.count("no statement") == 2


def test_images_that_no_view_tells_apart_are_told_by_number(templates, written):
    answers = [about(film(number, "PA"), Mass=0.9) for number in (1, 2)]
    flat = " ".join(one.text for one in written(lambda: pages_of(answers, templates)))
    assert "PA view, image 1 of 2: patient's left" in flat


def test_each_study_has_a_first_page_and_a_series_of_its_own(templates):
    """Pictures are studies by themselves: pages of several were one series, which then lay in several studies."""
    answers = [about(film(number, "PA", study=f"study {number}"), Mass=0.9) for number in (1, 2)]
    pages = [result for result in build_run_results(answers, ["sc"], templates) if result.kind == "sc"]
    assert [page.page for page in pages] == ["summary", "map"] * 2
    assert len({page.dataset.SeriesInstanceUID for page in pages}) == 2


def test_the_order_of_what_came_first_makes_other_objects_and_the_same_the_same(templates):
    uids = [
        [page.dataset.SOPInstanceUID for page in pages_of(answers, templates)]
        for answers in (two_views(), two_views(), two_views()[::-1])
    ]
    assert uids[0] == uids[1]
    assert not set(uids[0]) & set(uids[2])


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_study_is_told_whole_in_every_language(language, templates, written):
    texts = written(lambda: pages_of(breasts(), templates, language=language))
    said = templates.wording(language).pages.study
    flat = "".join(one.text for one in texts).replace(" ", "")
    assert said.views["MLO"].replace(" ", "") in flat
    assert said.right.replace(" ", "") in flat
