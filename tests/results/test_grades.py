"""Each result carries the grade of what it shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from results.answers import CARDIOMEGALY, NODULE, a_map, answer_about, blob, centre_of
from results.test_typed_explanations import METHODS, typed_answer
from whyray.quality import Grade
from whyray.quality.card import worst_of
from whyray.results import EVERY_KIND, Finding, build_results


def graded(answer, templates, kinds=EVERY_KIND):
    return [(result.kind, result.description, result.grade) for result in build_results(answer, kinds, templates)]


def test_two_maps_of_one_method_have_each_their_own_grade(dx_image, templates):
    lit = blob(dx_image, centre_of(dx_image))
    maps = (
        replace(a_map(dx_image, lit, grade=Grade.AMBER), part="first"),
        replace(a_map(dx_image, lit), part="second"),
    )
    answer = answer_about(dx_image, [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=maps)])
    results = build_results(answer, ["sc", "pm", "gsps", "blend", "ko"], templates, audience="scientist")
    for kind in ("sc", "pm", "gsps", "blend", "ko"):
        grades = [result.grade for result in results if result.kind == kind and result.method is not None]
        # a page of each, then a page with the details of each
        assert grades == [Grade.AMBER, Grade.GREEN] * (2 if kind == "sc" else 1), kind


def test_the_same_finding_twice_in_a_study_has_the_grade_of_each_image(dx_image, templates):
    lit = blob(dx_image, centre_of(dx_image))
    for grade in (Grade.AMBER, Grade.GREEN):
        finding = Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(a_map(dx_image, lit, grade=grade),))
        results = graded(answer_about(dx_image, [finding]), templates, ["sc", "pm"])
        assert {result_grade for _, about, result_grade in results if about != "what was found"} == {grade}


def test_a_page_of_several_maps_has_the_worst_of_their_grades(dx_image, templates):
    lit = blob(dx_image, centre_of(dx_image))
    findings = [
        Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(a_map(dx_image, lit),)),
        Finding(NODULE, present=True, probability=0.8, maps=(a_map(dx_image, lit, grade=Grade.AMBER),)),
    ]
    side_by_side = replace(templates, layout=templates.layout.model_copy(update={"compare": ("methods", "targets")}))
    compared = [
        result for result in graded(answer_about(dx_image, findings), side_by_side, ["sc"]) if "side" in result[1]
    ]
    assert [grade for _, _, grade in compared] == [Grade.AMBER]


@pytest.mark.parametrize("method", METHODS)
def test_pages_of_what_is_no_heatmap_have_its_grade_beside_heatmaps_of_another(method, templates):
    results = build_results(typed_answer(method, Grade.AMBER), ["sc"], templates, audience="scientist")
    assert {result.grade for result in results if result.method == method} <= {Grade.AMBER}
    assert {result.grade for result in results if result.method == "grad-cam"} == {Grade.GREEN}
    assert any(result.grade is Grade.AMBER for result in results)


def test_what_shows_no_explanation_has_no_grade(dx_image, templates):
    withheld = a_map(dx_image, blob(dx_image, centre_of(dx_image)), grade=Grade.RED)
    answer = answer_about(dx_image, [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(withheld,))])
    assert {grade for _, _, grade in graded(answer, templates)} == {None}


def test_the_worst_of_grades_is_red_before_amber_before_green():
    assert worst_of([]) is None
    assert worst_of([Grade.GREEN, Grade.RED, Grade.AMBER]) is Grade.RED
    assert worst_of([Grade.GREEN, Grade.AMBER]) is Grade.AMBER
