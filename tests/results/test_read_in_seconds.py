"""What a reader takes in at a glance: few words, large enough, apart from their ground, and an outline all can see."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import get_args

import matplotlib
import numpy as np
import pytest
from PIL import ImageDraw, ImageFont
from skimage.color import deltaE_ciede2000, rgb2lab

import synthetic
from results.answers import CARDIOMEGALY, NODULE, a_map, answer_about, blob, image_of
from results.sources import tilted_planes
from results.test_typed_explanations import typed_answer
from whyray.explain import method_title
from whyray.imaging import SourceImage
from whyray.packages import TargetSpec
from whyray.quality import Grade, ScopeCheck, ScopeReason
from whyray.results import (
    Answer,
    Finding,
    Prevalence,
    Refusal,
    StructureInSource,
    Templates,
    build_results,
    load_templates,
)
from whyray.results.page import map_pages, on_paper, summary_page
from whyray.results.page.text import LEAST_TEXT
from whyray.results.place import place_in_words
from whyray.results.refusal import RefusalReason
from whyray.results.template_layout import Layout
from whyray.results.trust import method_title_in, trust_in

LANGUAGES = ["en", "de", "fr", "es", "ja"]
MOST_WORDS = {"what was found": 60, "page of a finding": 70, "page of another explanation": 80}
"""Of a page in English with one finding, its foot, badge and captions counted; a word has two letters or more."""
# Machado, Oliveira and Fernandes 2009, table 1, severity 1.0; for linear RGB
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
TYPES = ["region-shares", "similar-cases", "prototypes", "concept-bottleneck", "latent-shift", "latent-position"]


@dataclass(frozen=True)
class Written:
    """One text as it reached a page."""

    text: str
    size: int
    colour: tuple[int, int, int]


@pytest.fixture
def written(monkeypatch):
    """Every text that is drawn while something runs."""

    def during(draw):
        texts: list[Written] = []
        original = ImageDraw.ImageDraw.text

        def text(self, xy, text, *args, font: ImageFont.FreeTypeFont, fill, **options):
            texts.append(Written(text, round(font.size), tuple(fill)))
            return original(self, xy, text, *args, font=font, fill=fill, **options)

        monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
        draw()
        monkeypatch.undo()
        return texts

    return during


@pytest.fixture(scope="module")
def film() -> SourceImage:
    rows, columns = np.mgrid[0:240, 0:200]
    return image_of([synthetic.radiograph(2000 + 1500 * np.cos(rows / 60) * np.sin(columns / 50), modality="DX")])


def with_grade(film: SourceImage, grade: Grade) -> Answer:
    heatmap = a_map(film, blob(film, (0, 80, 130)), grade=grade)
    return answer_about(
        film,
        [
            Finding(CARDIOMEGALY, present=True, probability=0.82, maps=(heatmap,)),
            Finding(NODULE, present=False, probability=0.03),
        ],
    )


def contrast(one, other) -> float:
    """WCAG 2.1, success criterion 1.4.3."""
    light, dark = sorted(linear(np.asarray(colour) / 255) @ [0.2126, 0.7152, 0.0722] for colour in (one, other))[::-1]
    return float((light + 0.05) / (dark + 0.05))


def linear(colour):
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def as_seen(colours: np.ndarray, by: str) -> np.ndarray:
    """Colours (N, 3) in 0..1 as somebody sees them who lacks long- or medium-wave cones, or on grey paper."""
    light = linear(colours)
    if by == "everyone":
        return colours
    if by == "grey paper":
        light = np.repeat(light @ [[0.2126], [0.7152], [0.0722]], 3, axis=1)
    else:
        light = np.clip(light @ np.array(PROTANOPIA if by == "protanopes" else DEUTERANOPIA).T, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def distances(colour, others: np.ndarray, by: str) -> np.ndarray:
    own = rgb2lab(as_seen(np.array([colour]) / 255, by)[np.newaxis])
    return deltaE_ciede2000(rgb2lab(as_seen(others, by)[np.newaxis]), own)[0]


def heat(layout: Layout) -> np.ndarray:
    """Every colour that a map can have within its region, from half of its maximum on, over any grey."""
    strength = np.linspace(0.5, 1, 12)
    colours = matplotlib.colormaps[layout.colour_maps.unsigned](strength)[:, :3]
    start, top = layout.opacity.start, layout.opacity.top
    alpha = ((strength - start) / (1 - start) * top)[:, np.newaxis]
    return np.concatenate([colours * alpha + grey * (1 - alpha) for grey in np.linspace(0, 1, 12)])


@pytest.mark.parametrize("by", ["everyone", "protanopes", "deuteranopes"])
def test_the_outline_stays_apart_from_the_heat_for_readers_who_see_colours_otherwise(by, templates):
    layout = templates.layout
    assert distances(layout.contour.colour, heat(layout), by).min() > 20
    if by != "everyone":
        assert distances((0, 255, 200), heat(layout), by).min() < 2, "the colour before this was that of the heat"


def test_on_grey_paper_the_outline_or_its_dark_edge_stays_apart_from_the_heat(templates):
    layout = templates.layout
    core, edge = (distances(colour, heat(layout), "grey paper") for colour in (layout.contour.colour, (0, 0, 0)))
    assert np.maximum(core, edge).min() > 25


def pages_in(language: str, templates: Templates, film: SourceImage) -> list[tuple[str, list]]:
    options = {"language": language}
    kinds = []
    for grade in (Grade.GREEN, Grade.AMBER, Grade.RED):
        answer = with_grade(film, grade)
        kinds.append(("what was found", [summary_page(answer, templates.layout, templates.wording(language))]))
        kinds.append(("page of a finding", [build_results(answer, ["sc"], templates, **options)[-1]]))
    return kinds


@pytest.mark.parametrize("language", LANGUAGES)
def test_text_is_whole_large_enough_and_apart_from_its_ground(language, templates, film, written):
    texts = written(lambda: pages_in(language, templates, film))
    texts += written(lambda: build_results(typed_answer("similar-cases"), ["sc"], templates, language=language))
    colours = templates.layout.colours
    for one in texts:
        assert "…" not in one.text
        assert one.size >= LEAST_TEXT, one
        ground = colours.amber if one.colour == (0, 0, 0) else colours.background
        assert contrast(one.colour, ground) >= 4.5, one


def without(texts, others):
    """The texts less the others: pages are drawn by two threads, and what they write comes in any order."""
    left = list(texts)
    for other in others:
        left.remove(other)
    return left


def test_print_is_apart_from_white_paper(templates):
    layout = on_paper(templates.layout)
    for name in ("text", "faint", "amber", "red"):
        assert contrast(getattr(layout.colours, name), layout.colours.background) >= 4.5, name


@pytest.mark.parametrize("grade", list(Grade))
def test_pages_have_few_words_and_no_metric(grade, templates, film, written):
    answer = with_grade(film, grade)
    first = written(lambda: summary_page(answer, templates.layout, templates.wording("en")))
    every = written(lambda: build_results(answer, ["sc"], templates))
    of_finding = without(every, first)
    for texts, most in ((first, MOST_WORDS["what was found"]), (of_finding, MOST_WORDS["page of a finding"])):
        words = " ".join(one.text for one in texts)
        assert len(re.findall(r"[^\W\d_]{2,}", words)) <= most, words
        for term in (
            "AUC",
            "Deletion",
            "baseline",
            "0.21",
            "GREEN",
            "AMBER",
            "RED",
            "grad-cam",
            "logit",
            "2026",
            "2.25",
        ):
            assert term not in words


@pytest.mark.parametrize("method", TYPES)
def test_every_type_has_a_page_that_needs_no_legend(method, templates, written):
    answer = typed_answer(method)
    alone = replace(answer, findings=(replace(answer.findings[0], maps=()),))
    first = written(lambda: summary_page(alone, templates.layout, templates.wording("en")))
    results = []
    texts = written(lambda: results.extend(build_results(alone, ["sc"], templates)))[len(first) :]
    page = next(result for result in results if result.method == method)
    assert page.picture is not None
    words = " ".join(one.text for one in texts)
    if "FrameTime" not in results[-1].dataset:
        assert len(re.findall(r"[^\W\d_]{2,}", words)) <= MOST_WORDS["page of another explanation"], words
    for term in ("AUC", "logit", "p <", "trustworthiness"):
        assert term not in words


@pytest.mark.parametrize("method", ["tcav", "unit-report"])
def test_what_only_scientists_understand_is_on_their_pages_alone(method, templates):
    made = {
        audience: [
            one.description
            for one in build_results(typed_answer(method), ["sc"], templates, audience=audience)
            if one.method == method
        ]
        for audience in ("radiologist", "scientist")
    }
    assert made == {"radiologist": [], "scientist": [f"Cardiomegaly: {method_title(method)}, details"]}


def test_scientists_get_every_measurement_with_baseline_and_rule(templates, film, written):
    texts = written(lambda: build_results(with_grade(film, Grade.AMBER), ["sc"], templates, audience="scientist"))
    words = " ".join(one.text for one in texts)
    for needed in ("Deletion AUC", "0.21", "0.34", "below random orders", "Entropy", "relu = True", "0123456789abcdef"):
        assert needed in words


def test_administrators_get_what_was_found_and_no_more(templates, film):
    results = build_results(with_grade(film, Grade.AMBER), ["sc"], templates, audience="administrator")
    assert [one.description for one in results] == ["what was found"]


def test_the_first_page_says_what_was_found_by_probability_what_was_not_and_what_could_not_be_done(
    templates, film, written
):
    heatmap = a_map(film, blob(film, (0, 60, 130)))
    findings = [
        Finding(TargetSpec(name=f"Finding {number}", threshold=0.2), present=True, probability=0.3 + number / 20)
        for number in range(9)
    ]
    findings[4] = replace(
        findings[4], maps=(heatmap,), refused={"lrp": Refusal("model", "the model has no gradients.")}
    )
    findings.append(Finding(NODULE, present=False, probability=0.1))
    answer = answer_about(film, findings)
    texts = [one.text for one in written(lambda: summary_page(answer, templates.layout, templates.wording("en")))]
    assert [text for text in texts if text.startswith("Finding ")] == [f"Finding {n}" for n in (8, 7, 6, 5, 4, 3)]
    assert "and 3 more: Finding 2 40%, Finding 1 35%, Finding 0 30%" in texts
    assert "Looked for and not found: Nodule." in texts
    assert any(
        text.startswith("Could not be done: ") and text.endswith("(this model does not give what the method needs).")
        for text in texts
    )
    assert "patient's left, upper third" in texts


def test_where_heatmaps_are_withheld_the_first_page_calls_nothing_else_reliable_and_shows_no_place(
    templates, film, written
):
    """Maps that are part of a counterfactual stood in their stead: a place outside the lungs, called reliable."""
    withheld = a_map(film, blob(film, (0, 80, 130)), grade=Grade.RED, aspect="anatomy")
    part = replace(a_map(film, blob(film, (0, 220, 10)), method="latent-shift"), part="difference")
    told = typed_answer("latent-position", Grade.GREEN, film).findings[0].typed
    bare = Finding(CARDIOMEGALY, present=True, probability=0.82)
    misleading = replace(bare, maps=(withheld, part), typed=told)
    pages = {}

    def draw(name, finding):
        return lambda: pages.update(
            {name: summary_page(answer_about(film, [finding]), templates.layout, templates.wording("en"))}
        )

    words = " ".join(one.text for one in written(draw("misleading", misleading)))
    assert "Not shown: " in words
    assert "reliable" not in words
    assert "third" not in words
    written(draw("withheld", replace(bare, maps=(withheld,))))
    assert np.array_equal(pages["misleading"].picture, pages["withheld"].picture)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_map_that_is_part_of_another_explanation_is_not_called_where_the_model_sees_it_nor_reliable(
    templates, film, written, language
):
    """The difference of a counterfactual ran along the edges of the body, and its page said both."""
    wording = templates.wording(language)
    part = replace(a_map(film, blob(film, (0, 220, 10)), method="latent-shift"), part="difference")
    finding = Finding(CARDIOMEGALY, present=True, probability=0.82, maps=(part,))
    answer = answer_about(film, [finding])
    texts = [one.text for one in written(lambda: map_pages(answer, finding, part, templates.layout, wording))]
    assert method_title_in("latent-shift", wording) in texts, "the caption"
    assert wording.pages.highlighted not in texts
    assert not any(text.startswith(wording.pages.lies.partition("{")[0]) for text in texts)
    assert any(text.startswith(wording.pages.nearest_lies.partition("{")[0]) for text in texts)
    assert trust_in(part.card, wording).badge not in texts


@pytest.mark.parametrize("present", [True, False])
@pytest.mark.parametrize("language", LANGUAGES)
def test_where_nothing_speaks_for_a_finding_its_page_says_that_nothing_is_highlighted(
    language, present, templates, film, written
):
    """'Highlighted: where the model sees it' stood above a bare image."""
    wording = templates.wording(language)
    empty = a_map(film, np.zeros(film.shape, np.float32))
    finding = Finding(CARDIOMEGALY, present=present, probability=0.82 if present else 0.03, maps=(empty,))
    answer = answer_about(film, [finding])
    texts = [one.text for one in written(lambda: map_pages(answer, finding, empty, templates.layout, wording))]
    said = "".join(texts)
    assert wording.pages.nothing_highlighted in texts
    assert "".join(wording.pages.nowhere.split()) in "".join(said.split())
    assert {wording.pages.highlighted, wording.pages.nearest}.isdisjoint(texts)
    name = wording.named(CARDIOMEGALY.name)
    assert (wording.pages.found if present else wording.pages.absent).format(name=name) in texts


def test_a_prevalence_that_a_route_sets_is_said_beside_the_probability(templates, film, written):
    answer = with_grade(film, Grade.GREEN)
    moved = replace(answer.findings[0], prevalence=Prevalence(0.02, 0.12))
    answer = replace(answer, findings=(moved, *answer.findings[1:]))
    texts = [one.text for one in written(lambda: build_results(answer, ["sc"], templates))]
    said = "calibrated for a prevalence of 2%, set by chest radiographs (the package's own: 12%)"
    assert f"Cardiomegaly: {said}" in texts, "on the first page"
    assert said in texts, "on the page of the finding"


def test_of_what_was_not_found_no_page_says_that_the_model_sees_it(templates, film, written):
    heatmap = a_map(film, blob(film, (0, 80, 130)))
    answer = answer_about(film, [Finding(NODULE, present=False, probability=0.1, maps=(heatmap,))])
    words = " ".join(one.text for one in written(lambda: build_results(answer, ["sc"], templates)))
    assert "Nodule was not found; highlighted is what came nearest" in words
    assert "Where that is: patient's left, middle third." in words
    assert "sees it" not in words


def test_names_are_written_as_people_write_them(templates, film, written):
    named = CARDIOMEGALY.model_copy(update={"name": "Pleural_Thickening"})
    answer = with_grade(film, Grade.GREEN)
    answer = replace(answer, findings=(replace(answer.findings[0], target=named), *answer.findings[1:]))
    texts = written(lambda: build_results(answer, ["sc"], templates, audience="scientist"))
    assert not [one.text for one in texts if "_" in one.text]
    assert "Pleural Thickening was found." in [one.text for one in texts]


def test_no_finding_is_said_calmly(templates, film, written):
    answer = answer_about(film, [Finding(NODULE, present=False, probability=0.1)])
    texts = [one.text for one in written(lambda: summary_page(answer, templates.layout, templates.wording("en")))]
    assert "No finding reached its threshold." in texts
    assert "Looked for and not found: Nodule." in texts


def test_both_sides_are_named_where_a_finding_lies_on_both_however_unequal(templates, film):
    right, left = (np.zeros(film.shape, bool) for _ in range(2))
    right[:, 150:, 20:90], left[:, 150:, 110:180] = True, True
    zones = tuple(
        StructureInSource(name, mask) for name, mask in (("right lower zone", right), ("left lower zone", left))
    )
    region = np.zeros(film.shape, bool)
    region[:, 160:220, 30:80] = region[:, 170:190, 120:145] = True
    answer = replace(with_grade(film, Grade.GREEN), anatomy=zones)
    finding = answer.findings[0]
    assert place_in_words(answer, finding, region, templates.wording("en")) == "right lower zone and left lower zone"
    assert place_in_words(answer, finding, region, templates.wording("de")).startswith("rechtes Unterfeld und linkes")
    away = np.zeros(film.shape, bool)
    away[:, :30, :30] = True
    assert place_in_words(answer, finding, away, templates.wording("en")) == (
        "patient's right, upper third, outside lungs, heart and mediastinum"
    )


def test_of_a_volume_the_slices_are_named_and_shown_in_their_order(templates):
    planes = tilted_planes()
    head = image_of(synthetic.slices(synthetic.volume_of(planes, synthetic.ball((3, -4, 0), 14)), planes))
    answer = answer_about(
        head, [Finding(NODULE, present=True, probability=0.9, maps=(a_map(head, blob(head, (5, 20, 30), 0.25)),))]
    )
    place = place_in_words(answer, answer.findings[0], answer.findings[0].maps[0].region, templates.wording("en"))
    assert place.startswith("slices ")
    assert "of 10" in place


def test_a_change_that_cant_be_seen_is_not_shown(templates):
    answer = typed_answer("latent-shift")
    (told,) = answer.findings[0].typed
    faint = replace(
        told, explanation=replace(told.explanation, difference=np.full_like(told.explanation.difference, 0.01))
    )
    hidden = replace(answer, findings=(replace(answer.findings[0], maps=(), typed=(faint,)),))
    shown = [one for one in build_results(hidden, ["sc"], templates) if one.method == "latent-shift"]
    assert len(shown) == 1
    assert shown[0].picture is not None
    assert shown[0].picture.shape[0] < 600, "no pictures, and no cine"


def test_a_page_bears_no_time(templates, film):
    answer = with_grade(film, Grade.GREEN)
    later = replace(answer, at=answer.at.replace(year=2031))
    for one, other in zip(
        *(build_results(made, ["sc"], templates, audience="scientist") for made in (answer, later)), strict=True
    ):
        np.testing.assert_array_equal(one.picture, other.picture)


def test_the_shipped_words_of_every_language_are_complete():
    wordings = load_templates().wordings
    for wording in wordings.values():
        for part in (wording.pages, wording.pages.place, wording.pages.types):
            assert part.model_fields_set == set(type(part).model_fields)


@pytest.mark.parametrize("method", ["latent-shift", "prototypes"])
def test_maps_that_are_part_of_an_explanation_go_to_scientists_alone(method, templates):
    """Everybody's SEG, PM and presentation states held the difference map of a counterfactual."""
    answer = typed_answer(method)
    assert any(heatmap.part for heatmap in answer.findings[0].maps)
    kinds = ["sc", "seg", "pm", "sr", "gsps", "blend", "ko"]
    made = {
        audience: build_results(answer, kinds, templates, audience=audience)
        for audience in ("radiologist", "administrator", "scientist")
    }
    for audience in ("radiologist", "administrator"):
        assert {one.method for one in made[audience] if one.kind in ("pm", "gsps", "blend", "ko")} == {"grad-cam"}
        (regions,) = [one.dataset for one in made[audience] if one.description.startswith("salient regions")]
        assert len(regions.SegmentSequence) == 1
    assert {one.method for one in made["scientist"] if one.kind == "pm"} == {"grad-cam", method}
    drawn = {audience: _outlines(results) for audience, results in made.items()}
    assert drawn["radiologist"] == drawn["administrator"] == 1, "viewers draw every outline that a report holds"
    assert drawn["scientist"] > 1
    numbers = {audience: _measurements(results) for audience, results in made.items()}
    assert numbers["radiologist"] == numbers["scientist"], "the report keeps every measurement"


def _report(results):
    return next(one.dataset for one in results if one.kind == "sr")


def _outlines(results) -> int:
    return sum(element.keyword == "GraphicType" for element in _report(results).iterall())


def _measurements(results) -> list[float]:
    return sorted(float(element.value) for element in _report(results).iterall() if element.keyword == "NumericValue")


def small(templates: Templates) -> Templates:
    """The same pages on small paper, for what is asked of their words: letters are as large as on large paper."""
    page = templates.layout.page.model_copy(
        update={"width_at_most": 1100, "panel_at_least": 240, "panel_height_at_most": 300}
    )
    return replace(
        templates, layout=templates.layout.model_copy(update={"page": page, "compare": ("methods", "targets")})
    )


def every_kind(film: SourceImage) -> list[Answer]:
    """Answers whose pages are of all kinds together."""
    planes = tilted_planes()
    head = image_of(synthetic.slices(synthetic.volume_of(planes, synthetic.ball((3, -4, 0), 14)), planes))
    lit, dim = (a_map(head, blob(head, (5, 20, 30), 0.25), grade=grade) for grade in (Grade.AMBER, Grade.RED))
    segment = Finding(CARDIOMEGALY, present=True, probability=None, value=61.5, mask=lit.values > 0.4, maps=(lit,))
    volume = answer_about(head, [segment, replace(segment, target=NODULE, maps=(dim,))])
    refused = {method: Refusal(reason, "/srv") for method, reason in zip(TYPES, get_args(RefusalReason), strict=False)}
    moved = replace(with_grade(film, Grade.GREEN).findings[0], prevalence=Prevalence(0.02, 0.12), refused=refused)
    two = (moved, replace(moved, target=NODULE, maps=(a_map(film, blob(film, (0, 200, 40))),)))
    several = [replace(answer_about(film, two), revision=2), replace(with_grade(film, Grade.RED), revision=2)]
    silent = replace(with_grade(film, Grade.RED), findings=(), scope=ScopeCheck(reasons=get_args(ScopeReason)))
    told = [typed_answer(method, Grade.AMBER) for method in [*TYPES, "tcav", "unit-report"]]
    alone = [replace(one, findings=(replace(one.findings[0], maps=()),)) for one in told]
    return [volume, *several, silent, *alone]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_of_page_is_legible_in_every_language(language, templates, film, written):
    """Whole, large enough at half its size, apart from its ground: for all readers, pages, charts and captions."""
    on_small = small(templates)
    shown: set[str | None] = set()
    texts = []
    for answer in every_kind(film):
        results = []
        texts += written(
            lambda answer=answer, results=results: results.extend(
                build_results(answer, ["sc"], on_small, language=language, audience="scientist")
            )
        )
        shown |= {one.page for one in results}
    assert shown == {"summary", "map", "segment", "notice", "typed", "compared", "details"}
    colours = templates.layout.colours
    for one in texts:
        assert "…" not in one.text, one
        assert one.size >= LEAST_TEXT, one
        ground = colours.amber if one.colour == (0, 0, 0) else colours.background
        assert contrast(one.colour, ground) >= 4.5, one
    assert not any(word in one.text for one in texts for word in ("/srv", "_"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_reader_has_few_words_in_every_language(language, templates, film, written):
    on_small = small(templates)
    for kind, results in (
        ("what was found", lambda answer: [summary_page(answer, on_small.layout, on_small.wording(language))]),
        ("page of a finding", lambda answer: build_results(answer, ["sc"], on_small, language=language)),
    ):
        answer = with_grade(film, Grade.AMBER)
        texts = written(lambda answer=answer, results=results: results(answer))
        if kind != "what was found":
            first = written(lambda answer=answer: summary_page(answer, on_small.layout, on_small.wording(language)))
            texts = without(texts, first)
        words = re.findall(r"[^\W\d_]{2,}", " ".join(one.text for one in texts))
        letters = sum(len(word) for word in words)
        most = round(1.3 * MOST_WORDS[kind])
        assert len(words) <= most, words
        assert letters <= 6 * most, words
