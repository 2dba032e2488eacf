"""A map that is lit at one known place lies at that place of the patient in every object."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.uid import generate_uid

from results.answers import CARDIOMEGALY, a_map, answer_about
from results.sources import image_named, read, tilted_planes
from synthetic import radiograph
from whyray.imaging import read_images
from whyray.results import Finding, build_results, encode
from whyray.results.page import map_pages

LIT = {"tilted CT, Japanese": (6, 31, 12), "enhanced MR volume": (2, 9, 40), "DX, Japanese": (0, 70, 13)}


def lit_at(image, place):
    values = np.zeros(image.shape, np.float32)
    values[place] = 3.0
    return answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(a_map(image, values),))])


def position(dataset, frame, row, column):
    """Patient coordinates of a pixel of a multi-frame object: PS3.3 C.7.6.2.1-1, from its functional groups alone."""
    own, shared = dataset.PerFrameFunctionalGroupsSequence[frame], dataset.SharedFunctionalGroupsSequence[0]
    holder = own if "PlaneOrientationSequence" in own else shared
    orientation = np.array(holder.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    corner = np.array(own.PlanePositionSequence[0].ImagePositionPatient, float)
    between_rows, between_columns = (float(spacing) for spacing in shared.PixelMeasuresSequence[0].PixelSpacing)
    return corner + orientation[:3] * between_columns * column + orientation[3:] * between_rows * row


@pytest.mark.parametrize("name", ["tilted CT, Japanese", "enhanced MR volume"])
def test_a_lit_voxel_is_at_its_place_in_the_patient_in_segmentation_and_map(name, templates):
    image = image_named(name)
    frame, row, column = LIT[name]
    wanted = tilted_planes()[frame].point(row, column)
    segmentation, heatmap = (
        read(encode(result.dataset)) for result in build_results(lit_at(image, LIT[name]), ["seg", "pm"], templates)
    )
    for dataset, pixels in ((segmentation, segmentation.pixel_array), (heatmap, heatmap.pixel_array)):
        (index,) = np.argwhere(pixels)
        np.testing.assert_allclose(position(dataset, *index), wanted, atol=1e-3)
        assert dataset.FrameOfReferenceUID == image.header.FrameOfReferenceUID


@pytest.mark.parametrize("name", LIT)
def test_frames_refer_to_the_source_frame_that_they_lie_on(name, templates):
    image = image_named(name)
    for result in build_results(lit_at(image, LIT[name]), ["seg", "pm"], templates):
        groups = result.dataset.PerFrameFunctionalGroupsSequence
        for frame, group in zip(image.frames, groups, strict=True):
            source = group.DerivationImageSequence[0].SourceImageSequence[0]
            assert source.ReferencedSOPInstanceUID == frame.sop_instance_uid
            if name == "enhanced MR volume":
                assert source.ReferencedFrameNumber == frame.frame_number


@pytest.mark.parametrize(
    ("body_part", "side", "region", "laterality"),
    [
        ("HEAD", None, "69536005", "U"),
        ("CHEST", "", "816094009", "U"),
        ("BREAST", "L", "76752008", "L"),
        ("BREAST", None, None, None),
        ("KNEE", "R", None, None),
        ("", None, None, None),
    ],
)
def test_a_map_says_of_all_its_frames_what_they_show_where_part_and_side_are_known(
    body_part, side, region, laterality, templates, errors_of
):
    """dcmqi, by which 3D Slicer reads Parametric Maps, died of one that has no Frame Anatomy."""
    made = radiograph(np.zeros((20, 30)), body_part=body_part)
    if side is not None:
        made.Laterality = side
    (image,) = read_images([made]).or_raise()
    (result,) = build_results(lit_at(image, (0, 7, 9)), ["pm"], templates)
    dataset = read(encode(result.dataset))
    groups = dataset.SharedFunctionalGroupsSequence[0].get("FrameAnatomySequence")
    if region is None:
        assert groups is None
    else:
        assert groups[0].FrameLaterality == laterality
        assert groups[0].AnatomicRegionSequence[0].CodeValue == region
    assert errors_of(encode(result.dataset)) == []


def test_plane_positions_are_the_sources_own_digits(templates):
    image = image_named("tilted CT, Japanese")
    for result in build_results(lit_at(image, LIT["tilted CT, Japanese"]), ["seg", "pm"], templates):
        for frame, group in zip(image.frames, result.dataset.PerFrameFunctionalGroupsSequence, strict=True):
            header = image.headers[frame.sop_instance_uid]
            written = [coordinate.original_string for coordinate in header.ImagePositionPatient]
            assert list(map(str, group.PlanePositionSequence[0].ImagePositionPatient)) == written
        measures = result.dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        assert "SpacingBetweenSlices" not in measures, "the slice distance changes along this series"


def test_a_lit_pixel_of_a_radiograph_is_at_its_pixel_in_segmentation_and_map(templates, dx_image):
    place = LIT["DX, Japanese"]
    for result in build_results(lit_at(dx_image, place), ["seg", "pm"], templates):
        pixels = read(encode(result.dataset)).pixel_array
        assert np.argwhere(pixels).tolist() == [list(place[1:])]


def test_a_map_without_frame_of_reference_gets_one_that_it_shares_with_no_other_image(templates, dx_image):
    assert "FrameOfReferenceUID" not in dx_image.header
    segmentation, heatmap = (
        result.dataset for result in build_results(lit_at(dx_image, (0, 1, 1)), ["seg", "pm"], templates)
    )
    for result in (segmentation, heatmap):
        assert result.FrameOfReferenceUID.startswith("2.25.")
    shared = heatmap.SharedFunctionalGroupsSequence[0]
    # Patient Orientation L\F: rows run to the patient's left (+x), columns to the feet (-z)
    assert list(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == [1, 0, 0, 0, 0, -1]
    assert list(shared.PixelMeasuresSequence[0].PixelSpacing) == [0.2, 0.1]


@pytest.mark.parametrize("name", LIT)
def test_a_lit_pixel_is_at_its_place_on_the_page(name, templates):
    image = image_named(name)
    frame, row, column = LIT[name]
    answer = lit_at(image, LIT[name])
    finding = answer.findings[0]
    (page,) = map_pages(answer, finding, finding.maps[0], templates.layout, templates.wording("en"))
    original, overlay = page.panels[:2]
    assert (original.frame, overlay.frame) == (frame, frame)
    _left, _top, width, height = overlay.box
    pictures = [
        page.picture[panel.box[1] : panel.box[1] + height, panel.box[0] : panel.box[0] + width].astype(int)
        for panel in (original, overlay)
    ]
    # the scale bar is on the original alone; what else differs is the overlay
    differs = np.abs(pictures[0] - pictures[1]).sum(axis=2)
    differs[round(height * 0.85) :, round(width * 0.6) :] = 0
    places = np.argwhere(differs > 30)
    _, rows, columns = image.shape
    centre = (places.min(axis=0) + places.max(axis=0) + 1) / 2
    np.testing.assert_allclose(centre * (rows / height, columns / width), (row + 0.5, column + 0.5), atol=0.5)


def test_panels_have_the_proportions_of_the_patient_not_of_the_pixel_grid(templates, dx_image):
    answer = lit_at(dx_image, (0, 5, 5))
    finding = answer.findings[0]
    (page,) = map_pages(answer, finding, finding.maps[0], templates.layout, templates.wording("en"))
    _, _, width, height = page.panels[0].box
    assert height / width == pytest.approx(90 * 0.2 / (60 * 0.1), rel=0.01)


def test_a_series_whose_tilt_changes_keeps_each_frames_own_orientation(templates):
    from dataclasses import replace

    image = image_named("tilted CT, Japanese")
    frames, headers = [], {}
    for number, frame in enumerate(image.frames):
        from copy import deepcopy

        header = deepcopy(image.headers[frame.sop_instance_uid])
        header.SOPInstanceUID = generate_uid(entropy_srcs=[str(number)])
        angle = np.radians(10 + number)
        header.ImageOrientationPatient = ["1", "0", "0", "0", f"{np.cos(angle):.8f}", f"{np.sin(angle):.8f}"]
        affine = frame.to_patient.copy()
        affine[:3, 0] = np.array([1, 0, 0]) * frame.spacing[1]
        affine[:3, 1] = np.array([0, np.cos(angle), np.sin(angle)]) * frame.spacing[0]
        frames.append(replace(frame, sop_instance_uid=header.SOPInstanceUID, to_patient=affine))
        headers[header.SOPInstanceUID] = header
    changing = replace(image, frames=tuple(frames), headers=headers)
    for result in build_results(lit_at(changing, (3, 4, 5)), ["seg", "pm"], templates):
        assert "PlaneOrientationSequence" not in result.dataset.SharedFunctionalGroupsSequence[0]
        for frame, group in zip(frames, result.dataset.PerFrameFunctionalGroupsSequence, strict=True):
            written = group.PlaneOrientationSequence[0].ImageOrientationPatient
            assert list(written) == list(headers[frame.sop_instance_uid].ImageOrientationPatient)
