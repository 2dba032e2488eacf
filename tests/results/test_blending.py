"""The heatmap in the standard's Hot Iron palette: over the original where it may be, alone where it may not."""

from __future__ import annotations

import highdicom
import numpy as np
import pytest
from pydicom.pixels import apply_color_lut

from results.answers import CARDIOMEGALY, a_map, answer_about, blob, centre_of
from results.sources import SOURCES, image_named, read
from results.test_validity import rich_answer
from whyray.base.errors import ConfigError
from whyray.config import Send
from whyray.quality import Grade
from whyray.results import Finding, build_results, encode
from whyray.results.blending import ADVANCED_BLENDING, HOT_IRON, PSEUDO_COLOUR

PLACED = ("real CT", "real MR", "real enhanced CT", "tilted CT, Japanese", "enhanced MR volume")


@pytest.mark.parametrize("source", SOURCES)
def test_blends_are_valid_on_every_source(source, templates, errors_of):
    results = build_results(rich_answer(image_named(source)), ["pm", "blend"], templates)
    blends = [result for result in results if result.kind == "blend"]
    assert len(blends) == len([result for result in results if result.kind == "pm"])
    for blend in blends:
        assert errors_of(encode(blend.dataset)) == [], blend.description


@pytest.mark.parametrize("source", PLACED)
def test_an_image_in_the_patients_space_lies_behind_its_map(source, templates):
    image = image_named(source)
    heatmap, blend = build_results(answer_about(image), ["pm", "blend"], templates)
    dataset = read(encode(blend.dataset))
    assert dataset.SOPClassUID == ADVANCED_BLENDING
    original, front = dataset.AdvancedBlendingSequence
    named = {reference.ReferencedSOPInstanceUID for reference in original.ReferencedImageSequence}
    assert named == {frame.sop_instance_uid for frame in image.frames}
    assert front.ReferencedImageSequence[0].ReferencedSOPInstanceUID == heatmap.dataset.SOPInstanceUID
    assert heatmap.dataset.FrameOfReferenceUID == image.header.FrameOfReferenceUID
    (display,) = dataset.BlendingDisplaySequence
    assert display.BlendingMode == "FOREGROUND"
    assert display.RelativeOpacity == templates.layout.opacity.top
    assert [blending_input.BlendingInputNumber for blending_input in display.BlendingDisplayInputSequence] == [2, 1]
    (palette,) = front.PaletteColorLookupTableSequence
    assert palette.PaletteColorLookupTableUID == HOT_IRON
    (window,) = front.SoftcopyVOILUTSequence
    top = float(np.float32(image.shape[0] and heatmap.dataset.pixel_array.max()))
    assert float(window.WindowWidth) == pytest.approx(top, rel=1e-6)


@pytest.mark.parametrize("source", [name for name in SOURCES if name not in PLACED])
def test_the_map_of_an_image_without_position_is_coloured_alone(source, templates):
    heatmap, blend = build_results(answer_about(image_named(source)), ["pm", "blend"], templates)
    dataset = read(encode(blend.dataset))
    if dataset.SOPClassUID == ADVANCED_BLENDING:
        assert image_named(source).frames[0].to_patient is not None
        return
    assert dataset.SOPClassUID == PSEUDO_COLOUR
    (series,) = dataset.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == heatmap.dataset.SeriesInstanceUID
    assert series.ReferencedImageSequence[0].ReferencedSOPInstanceUID == heatmap.dataset.SOPInstanceUID
    assert dataset.PaletteColorLookupTableUID == HOT_IRON


def test_the_palette_is_that_of_the_standard(templates):
    *_, blend = build_results(answer_about(image_named("real chest CR")), ["pm", "blend"], templates)
    values = np.arange(256, dtype=np.uint8)
    standard = apply_color_lut(values, palette=HOT_IRON)
    ours = apply_color_lut(values, blend.dataset)
    np.testing.assert_array_equal(ours // 257, standard)
    # PS3.6 table B.1.1: black, then red, then yellow, then white
    assert tuple(standard[0]) == (0, 0, 0)
    assert tuple(standard[127]) == (254, 0, 0)
    assert tuple(standard[255]) == (255, 255, 255)


@pytest.mark.parametrize("source", ["real chest CR", "tilted CT, Japanese"])
def test_highdicom_reads_the_palette(source, templates):
    *_, blend = build_results(answer_about(image_named(source)), ["pm", "blend"], templates)
    dataset = read(encode(blend.dataset))
    if dataset.SOPClassUID == ADVANCED_BLENDING:
        dataset = dataset.AdvancedBlendingSequence[1].PaletteColorLookupTableSequence[0]
    tables = [
        highdicom.PaletteColorLUT(
            first_mapped_value=getattr(dataset, f"{colour}PaletteColorLookupTableDescriptor")[1],
            lut_data=np.frombuffer(getattr(dataset, f"{colour}PaletteColorLookupTableData"), np.uint16),
            color=colour.lower(),
        )
        for colour in ("Red", "Green", "Blue")
    ]
    transformation = highdicom.PaletteColorLUTTransformation(*tables)
    assert transformation.combined_lut_data.shape == (256, 3)


def test_what_speaks_against_is_dark_and_what_is_withheld_is_not_shown(templates):
    image = image_named("tilted CT, Japanese")
    values = blob(image, centre_of(image)) - 0.7 * blob(image, (0, 0, 0))
    signed = a_map(image, values, signed=True)
    failed = a_map(image, blob(image, centre_of(image)), grade=Grade.RED, method="rise")
    answer = answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(signed, failed))])
    results = build_results(answer, ["pm", "blend"], templates)
    assert [result.kind for result in results] == ["pm", "blend"]
    (window,) = results[1].dataset.AdvancedBlendingSequence[1].SoftcopyVOILUTSequence
    assert float(window.WindowCenter) - float(window.WindowWidth) / 2 == pytest.approx(0)
    assert "evidence for it" in results[1].dataset.ContentDescription


def test_a_blend_without_its_map_is_refused(templates):
    with pytest.raises(ConfigError, match="Parametric Maps"):
        build_results(answer_about(image_named("real CT")), ["sc", "blend"], templates)
    with pytest.raises(ValueError, match="blend shows Parametric Maps"):
        Send(**{"to": ["pacs"], "as": ["blend"]})
