"""Pixel Measures of Segmentations and Parametric Maps are those of the source slice that a frame lies on."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pytest

import synthetic
from results.answers import CARDIOMEGALY, a_map, answer_about, blob, centre_of
from results.sources import read
from whyray.imaging import SourceImage, read_images
from whyray.results import Finding, build_results, encode

THIN, THICK = 2.5, 5.0


def head(folder: Path, thicknesses: list[object], distances: list[float]) -> SourceImage:
    """A head CT, read from files: thin slices of the posterior fossa, thick ones above."""
    planes = synthetic.stack(len(thicknesses), (40, 36), spacing=(0.9, 0.7), distance=distances)
    made = synthetic.slices(synthetic.volume_of(planes, synthetic.ball((0, 0, 0), 8)), planes)
    for data, thickness in zip(made, thicknesses, strict=True):
        data.SliceThickness = thickness
    (image,) = read_images(synthetic.write(made, folder)).or_raise()
    return image


def posterior_fossa(folder: Path) -> SourceImage:
    return head(folder, [THIN] * 4 + [THICK] * 4, [THIN] * 3 + [3.75] + [THICK] * 3)


def seg_and_pm(image, templates, kinds=("seg", "pm")):  # type: ignore[no-untyped-def]
    values = blob(image, centre_of(image))
    finding = Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(a_map(image, values),))
    return [read(encode(result.dataset)) for result in build_results(answer_about(image, [finding]), kinds, templates)]


def own_measures(dataset) -> list:  # type: ignore[no-untyped-def, type-arg]
    return [groups.PixelMeasuresSequence[0] for groups in dataset.PerFrameFunctionalGroupsSequence]


def test_frames_of_slices_that_change_in_thickness_have_measures_of_their_own(templates, errors_of, tmp_path):
    image = posterior_fossa(tmp_path)
    thickness = {f.sop_instance_uid: float(image.headers[f.sop_instance_uid].SliceThickness) for f in image.frames}
    for dataset in seg_and_pm(image, templates):
        assert errors_of(encode(dataset)) == []
        assert "PixelMeasuresSequence" not in dataset.SharedFunctionalGroupsSequence[0]
        for groups, measures in zip(dataset.PerFrameFunctionalGroupsSequence, own_measures(dataset), strict=True):
            source = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            assert float(measures.SliceThickness) == thickness[source]
            assert "SpacingBetweenSlices" not in measures


def test_highdicom_reads_what_has_measures_of_each_frame(templates, tmp_path):
    image = posterior_fossa(tmp_path / "source")
    values = blob(image, centre_of(image))
    source_map = a_map(image, values)
    finding = Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(source_map,))
    for result in build_results(answer_about(image, [finding]), ["seg", "pm"], templates):
        (tmp_path / f"{result.kind}.dcm").write_bytes(encode(result.dataset))
    segmentation = highdicom.seg.segread(tmp_path / "seg.dcm")
    uids = [frame.sop_instance_uid for frame in image.frames]
    pixels = segmentation.get_pixels_by_source_instance(uids)
    np.testing.assert_array_equal(pixels[..., 0].astype(bool), source_map.region)
    heatmap = highdicom.pm.ParametricMap.from_dataset(read((tmp_path / "pm.dcm").read_bytes()))
    np.testing.assert_array_equal(heatmap.pixel_array, source_map.values)


def test_frames_of_even_slices_share_their_measures_and_say_how_far_they_lie_apart(templates, tmp_path):
    image = head(tmp_path, [4] * 6, [4.0] * 5)
    for dataset in seg_and_pm(image, templates):
        (measures,) = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
        assert (float(measures.SliceThickness), float(measures.SpacingBetweenSlices)) == (4.0, 4.0)
        assert not any("PixelMeasuresSequence" in groups for groups in dataset.PerFrameFunctionalGroupsSequence)


def test_slices_of_one_thickness_at_uneven_distances_share_measures_without_a_distance(templates, tmp_path):
    image = head(tmp_path, [3] * 6, [3, 3, 3.5, 4, 4])
    for dataset in seg_and_pm(image, templates):
        (measures,) = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
        assert float(measures.SliceThickness) == 3
        assert "SpacingBetweenSlices" not in measures


@pytest.mark.parametrize("unusable", [None, "0", "-2"], ids=["empty", "zero", "negative"])
def test_a_slice_without_a_thickness_is_as_thick_as_the_distance_to_its_nearer_neighbour(
    unusable, templates, errors_of, tmp_path
):
    image = head(tmp_path, [THIN, unusable, THICK, THICK], [THIN, THICK, THICK])
    for dataset in seg_and_pm(image, templates):
        assert errors_of(encode(dataset)) == []
        assert sorted(float(measures.SliceThickness) for measures in own_measures(dataset)) == [2.5, 2.5, 5, 5]


def test_an_enhanced_source_gives_the_thickness_of_each_frame(templates, tmp_path):
    planes = synthetic.stack(6, (40, 36), distance=[2.5, 2.5, 3.75, 5, 5])
    made = synthetic.enhanced(synthetic.volume_of(planes, synthetic.ball((0, 0, 0), 8)), planes, rescale=(1.0, 0.0))
    (shared,) = made.SharedFunctionalGroupsSequence
    for index, groups in enumerate(made.PerFrameFunctionalGroupsSequence):
        item = synthetic._item(PixelSpacing=[1, 1], SliceThickness=THIN if index < 3 else THICK)
        groups.PixelMeasuresSequence = [item]
    del shared.PixelMeasuresSequence
    (image,) = read_images(synthetic.write([made], tmp_path)).or_raise()
    for dataset in seg_and_pm(image, templates):
        assert [float(measures.SliceThickness) for measures in own_measures(dataset)] == [THIN] * 3 + [THICK] * 3
