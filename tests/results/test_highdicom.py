"""Every image that is made is read by highdicom, in its geometry and meaning; no source is refused by its SOP class."""

from __future__ import annotations

import highdicom
import numpy as np
import pytest

import synthetic
from results.answers import CARDIOMEGALY, KINDS_OF_A_MAP, a_map, answer_about, blob, centre_of, image_of
from results.sources import image_named, read
from results.test_frame_stacks import answers_about, cine, images
from results.test_segmentation_forms import disjoint, wanting
from results.test_validity import rich_answer
from whyray.results import EVERY_KIND, Finding, build_results, build_run_results, encode

RETIRED_ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6"
TILTS = [-4.0, 2.0, 0.0, 3.0, -1.0, 5.0]


def opened(result):
    """The result as highdicom reads it from its bytes."""
    dataset = read(encode(result.dataset))
    if result.kind == "seg":
        return highdicom.seg.Segmentation.from_dataset(dataset, copy=False)
    if result.kind == "pm":
        return highdicom.pm.ParametricMap.from_dataset(dataset, copy=False)
    return highdicom.Image.from_dataset(dataset, copy=False)


def fanned_image(folder):
    planes = synthetic.fan(TILTS, (20, 22), distance=5.0)
    return image_of(
        synthetic.write(synthetic.slices(synthetic.volume_of(planes, synthetic.ball((0, 0, 0), 8)), planes), folder)
    )


@pytest.mark.parametrize("source", ["DX, Japanese", "tilted CT, Japanese"])
def test_highdicom_reads_the_pixels_of_every_image_that_is_made(source, templates):
    results = build_results(rich_answer(image_named(source)), ["sc", "seg", "pm"], wanting(templates, fractional=True))
    assert {result.kind for result in results} == {"sc", "seg", "pm"}
    for result in results:
        # float maps have no frames as stored: highdicom 0.28.2 asks them for a Pixel Representation
        frames = opened(result).get_frames(
            apply_real_world_transform=False,
            apply_modality_transform=False,
            apply_voi_transform=False,
            apply_palette_color_lut=False,
            apply_icc_profile=False,
        )
        wanted = read(encode(result.dataset)).pixel_array
        np.testing.assert_array_equal(frames.reshape(wanted.shape), wanted)


def test_highdicom_reads_the_frames_of_a_cine(templates, tmp_path):
    answers = answers_about(images(cine(tmp_path)))
    results = build_run_results(answers, ["sc", "seg", "pm"], wanting(templates, label_maps=True))
    summary, *of_frames = results
    assert opened(summary).number_of_frames == 1, "what was found is one page for all frames"
    for result in of_frames:
        assert opened(result).number_of_frames == len(answers), result.kind


def test_highdicom_reads_what_a_segment_is_and_by_which_algorithm(templates):
    image = image_named("tilted CT, Japanese")
    lit = a_map(image, blob(image, centre_of(image)))
    finding = Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(lit,))
    (result,) = build_results(answer_about(image, [finding]), ["seg"], templates)
    segment = opened(result).get_segment_description(1)
    assert segment.segment_label == segment.tracking_id == "Cardiomegaly: grad-cam"
    assert segment.algorithm_identification.name == "grad-cam"
    assert segment.algorithm_identification.parameters == {"relu": "True"}
    assert [region.meaning for region in segment.anatomic_regions] == ["Heart"]
    (modifier,) = segment.segmented_property_type.SegmentedPropertyTypeModifierCodeSequence
    assert modifier.CodeMeaning == "Cardiomegaly"
    colour = highdicom.color.CIELabColor.from_dicom_value(list(segment.RecommendedDisplayCIELabValue))
    assert colour.to_rgb() == (230, 159, 0)


def test_highdicom_tells_the_background_of_a_label_map_from_its_segments(templates):
    image = image_named("DX, Japanese")
    (result,) = build_results(answer_about(image, disjoint(image)), ["seg"], wanting(templates, label_maps=True))
    segmentation = opened(result)
    assert segmentation.segment_numbers == [1, 2]
    background = segmentation.get_segment_description(0)
    assert (background.segment_label, background.segmented_property_type.value) == ("Background", "125040")


def test_highdicom_reads_a_map_in_its_own_values_and_what_they_are(templates):
    image = image_named("tilted CT, Japanese")
    answer = answer_about(image)
    (result,) = build_results(answer, ["pm"], templates)
    heatmap = opened(result)
    values = answer.findings[0].maps[0].values
    frames = heatmap.get_frames(apply_real_world_transform=True, apply_voi_transform=False)
    np.testing.assert_array_equal(frames, values)
    (mapping,) = heatmap.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    quantity, finding = mapping.QuantityDefinitionSequence
    assert quantity.ConceptNameCodeSequence[0].CodeValue == "246205007"
    assert finding.ConceptCodeSequence[0].CodeMeaning == "Cardiomegaly"
    (window,) = heatmap.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence
    assert window.WindowCenterWidthExplanation == "whole range of grad-cam"
    assert float(window.WindowWidth) == pytest.approx(float(values.max()))


def test_fanned_slices_keep_the_place_and_turn_of_each(templates, errors_of, tmp_path):
    image = fanned_image(tmp_path)
    for result in build_results(answer_about(image), ["seg", "pm"], templates):
        assert errors_of(encode(result.dataset)) == []
        groups = opened(result).PerFrameFunctionalGroupsSequence
        assert len(groups) == len(TILTS)
        for group, frame in zip(groups, image.frames, strict=True):
            header = image.headers[frame.sop_instance_uid]
            assert group.PlanePositionSequence[0].ImagePositionPatient == header.ImagePositionPatient
            assert group.PlaneOrientationSequence[0].ImageOrientationPatient == header.ImageOrientationPatient


def test_an_image_of_a_retired_class_gets_every_kind_of_result(templates):
    source = synthetic.radiograph(np.arange(60 * 40).reshape(60, 40), modality="CR")
    source.Modality = "US"
    source.SOPClassUID = source.file_meta.MediaStorageSOPClassUID = RETIRED_ULTRASOUND
    results = build_results(answer_about(image_of([source])), EVERY_KIND, templates)
    assert [result.kind for result in results] == ["sc", *KINDS_OF_A_MAP], "what was found, then all of the map"
    for result in results:
        assert len(encode(result.dataset)) > 1000


def test_a_label_on_the_original_holds_any_name_of_a_target(templates):
    image = image_named("DX, Japanese")
    target = CARDIOMEGALY.model_copy(update={"name": "Heart\\lung ratio " + "x" * 300})
    lit = a_map(image, blob(image, centre_of(image)))
    answer = answer_about(image, [Finding(target, present=True, probability=0.8, maps=(lit,))])
    (result,) = build_results(answer, ["gsps"], templates)
    (annotation,) = read(encode(result.dataset)).GraphicAnnotationSequence
    first, *rest = annotation.TextObjectSequence[0].UnformattedTextValue.split("\r\n")
    assert first.startswith("Heart/lung ratio x")
    assert rest[-1].startswith("Not for diagnostic use")
