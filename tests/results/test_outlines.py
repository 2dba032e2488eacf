"""The report's outlines lie on the source, on the slice that shows most, and track what the segment tracks."""

from __future__ import annotations

import highdicom
import numpy as np
import pytest
from scipy import ndimage
from skimage import measure
from skimage.measure import points_in_poly

import synthetic
from results.answers import CARDIOMEGALY, NODULE, a_map, answer_about, blob, centre_of, image_of
from results.sources import SOURCES, image_named
from results.test_report import children, groups_of, report_of
from whyray.results import Finding, build_results, encode
from whyray.results.contours import closed_contours
from whyray.results.polygon_simplification import simplified


@pytest.mark.parametrize("source", SOURCES)
def test_the_outline_encloses_the_pixels_of_the_region_on_the_slice_that_shows_most(source, templates):
    image = image_named(source)
    answer = answer_about(image)
    (heatmap,) = answer.findings[0].maps
    finding, *_, outline = groups_of(report_of(answer, templates))
    assert outline.ContentTemplateSequence[0].TemplateIdentifier == "1410"
    (region,) = children(outline, "Image Region")
    assert (region.ValueType, region.GraphicType) == ("SCOORD", "POLYLINE")
    reference = region.ContentSequence[0].ReferencedSOPSequence[0]
    (index,) = [
        number
        for number, frame in enumerate(image.frames)
        if frame.sop_instance_uid == reference.ReferencedSOPInstanceUID
        and frame.frame_number == int(reference.get("ReferencedFrameNumber") or frame.frame_number)
    ]
    assert index == centre_of(image)[0]
    points = np.reshape(region.GraphicData, (-1, 2))
    np.testing.assert_array_equal(points[0], points[-1])
    rows, columns = np.mgrid[: image.shape[1], : image.shape[2]]
    centres = np.column_stack([columns.ravel() + 0.5, rows.ravel() + 0.5])
    inside = points_in_poly(centres, points).reshape(image.shape[1:])
    np.testing.assert_array_equal(inside, heatmap.region[index])
    assert children(finding, "Finding")[0].ConceptCodeSequence == children(outline, "Finding")[0].ConceptCodeSequence


def test_an_outline_tracks_what_its_finding_or_its_further_explanation_tracks(templates):
    image = image_named("tilted CT, Japanese")
    maps = tuple(a_map(image, blob(image, centre_of(image)), method=method) for method in ("grad-cam", "rise"))
    absent = Finding(NODULE, present=False, probability=0.1)
    answer = answer_about(image, [absent, Finding(CARDIOMEGALY, present=True, probability=0.8, maps=maps)])
    finding, further, nodule, *outlines = groups_of(report_of(answer, templates))
    tracked = [children(group, "Tracking Unique Identifier")[0].UID for group in (finding, further, nodule, *outlines)]
    assert tracked[3:] == tracked[:2]
    assert len(set(tracked)) == 3
    assert children(nodule, "Finding")[0].ConceptCodeSequence[0].CodeMeaning == "Nodule"


def test_highdicom_reads_the_outline_as_a_planar_region(templates, tmp_path):
    path = tmp_path / "report.dcm"
    path.write_bytes(
        encode(build_results(answer_about(image_named("tilted CT, Japanese")), ["sr"], templates)[0].dataset)
    )
    (group,) = highdicom.sr.srread(path).content.get_planar_roi_measurement_groups()
    assert group.finding_type.value == "8186001"
    assert group.roi.graphic_type.value == "POLYLINE"
    assert group.get_measurements() == []


def test_of_several_parts_the_largest_is_outlined_and_an_empty_region_has_none(templates):
    image = image_named("DX, Japanese")
    values = blob(image, (0, 20, 15), 0.05) + blob(image, (0, 70, 40), 0.12)
    parts, nothing = a_map(image, values), a_map(image, np.zeros(image.shape), method="rise")
    answer = answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(parts, nothing))])
    outlines = [group for group in groups_of(report_of(answer, templates)) if children(group, "Image Region")]
    ((region,),) = [children(outline, "Image Region") for outline in outlines]
    centre = np.reshape(region.GraphicData, (-1, 2))[:-1].mean(0)
    np.testing.assert_allclose(centre, (40.5, 70.5), atol=1)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_contours_are_those_of_skimage_number_by_number(share):
    rng = np.random.default_rng(0)
    for number in range(30):
        shape = rng.integers(1, 30, 2)
        mask = rng.random(shape) < share
        mask = ndimage.binary_closing(mask, iterations=2) if number % 3 == 0 else mask
        expected = measure.find_contours(np.pad(mask, 1).astype(np.float32), 0.5)
        made = closed_contours(np.pad(mask, 1))
        assert len(made) == len(expected)
        for one, other in zip(made, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_an_image_of_a_retired_class_is_outlined_too(templates):
    """Archives hold ultrasound of before 1996, whose class no table of today's classes knows."""
    old = synthetic.radiograph(np.random.default_rng(3).integers(0, 4095, (60, 40)))
    old.SOPClassUID, old.Modality = "1.2.840.10008.5.1.4.1.1.6", "US"
    image = image_of([old])
    outlines = [
        group for group in groups_of(report_of(answer_about(image), templates)) if children(group, "Image Region")
    ]
    ((region,),) = [children(outline, "Image Region") for outline in outlines]
    (reference,) = region.ContentSequence[0].ReferencedSOPSequence
    assert reference.ReferencedSOPClassUID == old.SOPClassUID


def test_a_simplified_outline_has_the_very_points_that_looking_at_one_stretch_after_another_keeps() -> None:
    rng = np.random.default_rng(0)
    for size in (3, 8, 40, 200):
        smooth = ndimage.gaussian_filter(rng.standard_normal((size, size)), size / 30)
        for line in measure.find_contours(np.pad((smooth > np.quantile(smooth, 0.7)).astype(np.float32), 1), 0.5):
            for tolerance in (0.0, 0.3, 2.0):
                expected = measure.approximate_polygon(line + 1000, tolerance)
                np.testing.assert_array_equal(simplified(line + 1000, tolerance), expected)
