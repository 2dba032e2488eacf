"""What a person sees: everything needed to judge an overlay, nothing that was withheld, no name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import structural_similarity

import synthetic
from results.answers import CARDIOMEGALY, NODULE, a_map, answer_about, blob, centre_of, image_of
from results.sources import tilted_planes
from results.test_validity import rich_answer
from whyray.base.errors import ExplanationError
from whyray.quality import Grade
from whyray.results import Finding, Refusal, build_results, write_picture
from whyray.results.page import key_slices, legible_wording, map_pages, notice_page
from whyray.results.page.text import wrapped
from whyray.results.strengths import strengths_of

GOLDEN = Path(__file__).parent / "golden"


def words_on(monkeypatch, draw):
    """All text that is drawn while `draw` runs, as it reaches the page."""
    from PIL import ImageDraw

    drawn = []
    original = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, xy, text, *a, **k: (drawn.append(text), original(self, xy, text, *a, **k)),
    )
    draw()
    monkeypatch.undo()
    return "\n".join(drawn)


@pytest.fixture
def smooth_image():
    rows, columns = np.mgrid[0:240, 0:200]
    pixels = 2000 + 1500 * np.cos(rows / 60) * np.sin(columns / 50)
    return image_of([synthetic.radiograph(pixels, modality="DX", patient=synthetic.JAPANESE)])


def test_a_page_says_all_that_is_needed_to_judge_its_overlay(smooth_image, templates, monkeypatch):
    answer = replace(rich_answer(smooth_image), revision=2)
    words = words_on(monkeypatch, lambda: build_results(answer, ["sc"], templates))
    for needed in (
        "Cardiomegaly was found.",
        "90%",
        "threshold 40%",
        "Explanation: use with caution",
        "Use with caution: it could not be shown that it follows what the model did.",
        "Where the model sees it: patient's left, middle third.",
        "Chest findings, version 1.2.3",
        "Revision 2, replaces earlier results",
        "Not for diagnostic use",
        "Scale bar: lengths at the detector",
    ):
        assert needed in words
    assert {"R", "L", "H", "F"} <= set(words.split("\n"))


def test_a_page_of_details_says_all_that_was_measured(smooth_image, templates, monkeypatch):
    answer = rich_answer(smooth_image)
    words = words_on(monkeypatch, lambda: build_results(answer, ["sc"], templates, audience="scientist"))
    for needed in (
        "Deletion AUC 0.21 (baseline 0.34)",
        "Method: grad-cam",
        "layer features.norm5",
        "unit: logit",
        "scaled to the maximum of this map",
        "at least 50 % of the maximum",
        "Quality: AMBER",
        "0123456789abcdef" * 4,
    ):
        assert needed in " ".join(words.split("\n"))


def test_no_page_shows_who_the_patient_is(smooth_image, templates, monkeypatch):
    words = words_on(monkeypatch, lambda: build_results(rich_answer(smooth_image), ["sc"], templates))
    assert words
    for part in ("Yamada", "山田", "SYNTH-JP", "1960"):
        assert part not in words


def test_a_withheld_explanation_leaves_no_trace_but_a_page_that_says_so(smooth_image, templates, monkeypatch):
    values = blob(smooth_image, (0, 100, 100))
    failed = a_map(smooth_image, values, grade=Grade.RED)
    answer = answer_about(smooth_image, [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(failed,))])
    results = []
    words = words_on(monkeypatch, lambda: results.extend(build_results(answer, ["sc", "seg", "pm"], templates)))
    first, notice = results
    assert (first.description, notice.kind) == ("what was found", "sc")
    for needed in (
        "Cardiomegaly",
        "80%",
        "Explanation: not shown",
        "Not shown: it could not be shown that it follows what the model did.",
        "Not for diagnostic",
    ):
        assert needed in words
    page = notice_page(answer, answer.findings[0], [failed], templates.layout, templates.wording("en"))
    assert page.panels == ()
    np.testing.assert_array_equal(page.picture, notice.picture)


def test_a_page_on_which_two_methods_are_withheld_names_the_method_of_each_reason(smooth_image, templates, monkeypatch):
    values = blob(smooth_image, (0, 100, 100))
    maps = tuple(
        a_map(smooth_image, values, grade=Grade.RED, method=method, aspect=aspect)
        for method, aspect in (("grad-cam", "faithfulness"), ("occlusion", "stability"))
    )
    finding = Finding(CARDIOMEGALY, present=True, probability=0.8, maps=maps)
    answer = answer_about(smooth_image, [finding])
    words = words_on(
        monkeypatch, lambda: notice_page(answer, finding, maps, templates.layout, templates.wording("en"))
    ).replace("\n", " ")
    for method in ("Grad-CAM", "Occlusion"):
        assert f"{method}  ·  Not shown: " in words
    words = words_on(
        monkeypatch, lambda: notice_page(answer, finding, maps[:1], templates.layout, templates.wording("en"))
    )
    assert "Grad-CAM" not in words, "where there is one reason alone, a reader needs no method"


def test_a_page_is_the_same_whatever_a_withheld_map_holds(smooth_image, templates):
    pages = []
    for centre in ((0, 20, 20), (0, 200, 150)):
        failed = a_map(smooth_image, blob(smooth_image, centre), grade=Grade.RED)
        finding = Finding(NODULE, present=True, probability=0.8, maps=(failed,))
        pages += [result.picture for result in build_results(answer_about(smooth_image, [finding]), ["sc"], templates)]
    for one, other in zip(pages[:2], pages[2:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_finding_that_no_method_could_explain_gets_a_page_that_says_why(smooth_image, templates, monkeypatch):
    finding = Finding(
        NODULE,
        present=True,
        probability=0.8,
        refused={"lrp": Refusal("model", "the model has no gradients: /srv/model.onnx")},
    )
    words = words_on(monkeypatch, lambda: build_results(answer_about(smooth_image, [finding]), ["sc"], templates))
    assert "No explanation possible" in words
    assert "Layer-wise relevance propagation: this model does not give what the method needs" in words
    assert "model.onnx" not in words


def test_low_values_are_clear_and_the_highest_are_half_transparent(smooth_image, templates):
    values = np.zeros(smooth_image.shape, np.float32)
    values[0, :80], values[0, 80:160] = 0.05, 1.0
    heatmap = a_map(smooth_image, values)
    answer = answer_about(smooth_image, [Finding(NODULE, present=True, probability=0.9, maps=(heatmap,))])
    (page,) = map_pages(answer, answer.findings[0], heatmap, templates.layout, templates.wording("en"))
    original, overlay = (
        page.picture[top : top + height, left : left + width].astype(float)
        for left, top, width, height in (panel.box for panel in page.panels)
    )
    height, width = overlay.shape[:2]
    inner = slice(round(width * 0.2), round(width * 0.4))
    low, high = slice(round(height * 0.1), round(height * 0.3)), slice(round(height * 0.4), round(height * 0.48))
    np.testing.assert_array_equal(overlay[low, inner], original[low, inner])
    outside = overlay[round(height * 0.72) :, inner]
    np.testing.assert_array_equal(outside, original[round(height * 0.72) :, inner])
    top_of_inferno = np.array([0.988362, 0.998364, 0.644924]) * 255
    np.testing.assert_allclose(overlay[high, inner], (original[high, inner] + top_of_inferno) / 2, atol=1.5)


def test_what_the_model_did_not_see_is_darkened_and_said(smooth_image, templates, monkeypatch):
    covered = np.ones(smooth_image.shape, bool)
    covered[:, :, :80] = False
    heatmap = replace(a_map(smooth_image, np.zeros(smooth_image.shape, np.float32)), covered=covered)
    answer = answer_about(smooth_image, [Finding(NODULE, present=True, probability=0.9, maps=(heatmap,))])
    pages = []
    words = words_on(
        monkeypatch,
        lambda: pages.extend(map_pages(answer, answer.findings[0], heatmap, templates.layout, templates.wording("en"))),
    )
    assert "Darkened: outside what the model saw" in words
    original, overlay = (
        pages[0].picture[top : top + height, left : left + width].astype(float)
        for left, top, width, height in (panel.box for panel in pages[0].panels)
    )
    height, width = overlay.shape[:2]
    band = slice(round(height * 0.6), round(height * 0.8))
    unseen, seen = slice(round(width * 0.1), round(width * 0.35)), slice(round(width * 0.45), round(width * 0.55))
    np.testing.assert_allclose(overlay[band, unseen], 0.4 * original[band, unseen], atol=1)
    np.testing.assert_array_equal(overlay[band, seen], original[band, seen])


@pytest.mark.parametrize("shape", [(64, 64), (100, 1200), (1200, 100), (2400, 3000)])
def test_pages_of_any_image_fit_and_stay_legible(shape, templates):
    image = image_of([synthetic.radiograph(np.zeros(shape), modality="CR")])
    for result in build_results(answer_about(image), ["sc"], templates):
        height, width, _ = result.picture.shape
        assert 1000 <= width <= templates.layout.page.width_at_most
        assert height <= templates.layout.page.panel_height_at_most + 700


def test_text_that_is_too_long_is_wrapped_or_shrunk_never_cut_off_by_the_edge(smooth_image, templates):
    long = NODULE.model_copy(update={"name": "A finding with a name that goes on and on " * 3})
    heatmap = replace(a_map(smooth_image, blob(smooth_image, (0, 90, 90)), grade=Grade.AMBER), region_rule="word " * 80)
    answer = answer_about(smooth_image, [Finding(long, present=True, probability=0.5, maps=(heatmap,))])
    for result in build_results(answer, ["sc"], templates, audience="scientist"):
        margin = result.picture[:, -6:]
        assert (margin == np.array(templates.layout.colours.background)).all()


def test_key_slices_are_those_with_the_highest_attribution(templates):
    values = np.zeros((20, 4, 4), np.float32)
    for index, value in ((3, 2.0), (4, 1.9), (11, 3.0), (15, 1.0), (18, 0.01)):
        values[index] = value
    region = values > 0
    assert key_slices(strengths_of(values, region), templates.layout) == [11, 3, 15, 4]
    assert key_slices(strengths_of(-values, region), templates.layout) == [11, 3, 15, 4]
    assert key_slices(strengths_of(np.zeros_like(values), np.zeros_like(region)), templates.layout) == [0]


def test_a_slice_beside_the_region_is_shown_only_after_all_that_hold_part_of_it(templates):
    values = np.zeros((16, 8, 8))
    values[8:15] = np.array([0.2, 0.5, 0.7, 0.9, 0.8, 0.6, 0.3])[:, None, None]
    region = values >= 0.6
    assert sorted(key_slices(strengths_of(values, region), templates.layout)) == [10, 11, 12, 13]
    region = values >= 0.8
    assert key_slices(strengths_of(values, region), templates.layout)[:2] == [11, 12]


def test_a_wording_that_no_font_can_write_falls_back_to_english_instead_of_boxes(templates):
    fonts = templates.layout.fonts.model_copy(update={"regular": ("DejaVuSans.ttf",), "bold": ("DejaVuSans-Bold.ttf",)})
    plain = replace(templates, layout=templates.layout.model_copy(update={"fonts": fonts}))
    assert legible_wording(plain, "ja") == templates.wording("en")
    for language in ("de", "fr", "es"):
        assert legible_wording(plain, language) == templates.wording(language)


def test_a_japanese_page_is_written_in_japanese_where_a_font_for_it_is_installed(smooth_image, templates, monkeypatch):
    pytest.importorskip("noto_cjk_sans_jp_regular")
    answer = rich_answer(smooth_image)
    words = words_on(monkeypatch, lambda: build_results(answer, ["sc"], templates, language="ja"))
    for needed in ("90%", "しきい値 40%", "診断用ではありません", "を認めます。"):
        assert needed in words


def test_lines_break_anywhere_in_scripts_without_spaces(templates):
    lines = wrapped("あ" * 200, 500, 20, templates.layout)
    assert len(lines) > 1
    assert "".join(lines) == "あ" * 200


def test_a_picture_is_written_as_png_and_only_where_there_is_one(smooth_image, templates, tmp_path):
    _, capture, report = build_results(answer_about(smooth_image), ["sc", "sr"], templates)
    write_picture(capture, tmp_path / "page.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "page.png")), capture.picture)
    with pytest.raises(ExplanationError, match="has no picture"):
        write_picture(report, tmp_path / "report.png")


def test_a_map_that_does_not_lie_on_the_image_is_refused(smooth_image, templates):
    heatmap = a_map(smooth_image, blob(smooth_image, (0, 9, 9)))
    for broken, message in (
        (replace(heatmap, values=heatmap.values[:, :-1]), "has values"),
        (replace(heatmap, values=np.full_like(heatmap.values, np.nan)), "not finite"),
    ):
        answer = answer_about(smooth_image, [Finding(NODULE, present=True, probability=0.5, maps=(broken,))])
        with pytest.raises(ExplanationError, match=message):
            build_results(answer, ["sc"], templates)


def golden_answers(smooth_image):
    planes = tilted_planes()
    volume = synthetic.volume_of(planes, synthetic.ball((3, -4, 0), 14))
    head = image_of(synthetic.slices(volume, planes))
    lit = blob(smooth_image, centre_of(smooth_image))
    signed = lit - np.roll(lit, 40, axis=2)
    deep = blob(head, (5, 20, 30), 0.25)

    def about(image, heatmap):
        return answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.82, maps=(heatmap,))])

    return {
        "planar-amber": about(smooth_image, a_map(smooth_image, lit, grade=Grade.AMBER)),
        "planar-signed": about(smooth_image, a_map(smooth_image, signed, method="integrated-gradients", signed=True)),
        "volume-montage": about(head, a_map(head, deep)),
        "withheld": about(smooth_image, a_map(smooth_image, lit, grade=Grade.RED)),
        "details": about(smooth_image, a_map(smooth_image, signed, method="integrated-gradients", signed=True)),
        "what-was-found": replace(
            rich_answer(smooth_image),
            findings=(
                *rich_answer(smooth_image).findings,
                Finding(NODULE.model_copy(update={"name": "Mass"}), False, 0.03),
            ),
        ),
    }


GOLDEN_NAMES = ["planar-amber", "planar-signed", "volume-montage", "withheld", "details", "what-was-found"]


@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_pages_look_as_they_did_when_they_were_looked_at(name, smooth_image, templates, tmp_path):
    """Golden pictures at half size; to renew one, look at the new one first, then copy it over."""
    audience = "scientist" if name == "details" else "radiologist"
    results = build_results(golden_answers(smooth_image)[name], ["sc"], templates, audience=audience)
    result = results[0 if name == "what-was-found" else -1]
    made = Image.fromarray(result.picture)
    made = made.resize((made.width // 2, made.height // 2), Image.Resampling.LANCZOS)
    made.save(tmp_path / f"{name}.png", optimize=True)
    golden = Image.open(GOLDEN / f"{name}.png").convert("RGB")
    assert made.size == golden.size, f"{tmp_path / name}.png differs in size"
    likeness = structural_similarity(np.asarray(made), np.asarray(golden), channel_axis=2)
    assert likeness > 0.98, f"look at {tmp_path / name}.png"
