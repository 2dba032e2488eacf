"""Every object from every source, judged by programs that are not ours: dciodvfy, dcmtk, highdicom."""

from __future__ import annotations

import highdicom
import numpy as np
import pytest

from results.answers import CARDIOMEGALY, FOUR_KINDS, NODULE, a_map, answer_about, blob, centre_of
from results.sources import PLANAR, VOLUMES, image_named, read
from whyray.quality import Grade
from whyray.results import Finding, Refusal, build_results, encode


def test_dciodvfy_finds_no_error_in_any_object(any_image, templates, errors_of):
    results = build_results(answer_about(any_image), FOUR_KINDS, templates)
    assert [result.kind for result in results] == ["sc", "sc", "seg", "pm", "sr"]
    for result in results:
        assert errors_of(encode(result.dataset)) == [], result.kind


@pytest.mark.parametrize("pages", ["montage", "series", "multiframe"])
def test_dciodvfy_finds_no_error_in_any_way_to_page_a_volume(pages, tilted_image, templates, errors_of):
    layout = templates.layout.model_copy(
        update={"volume": templates.layout.volume.model_copy(update={"pages": pages, "key_slices": 3})}
    )
    results = build_results(answer_about(tilted_image), ["sc"], _with(templates, layout=layout))
    assert len(results) == 1 + (3 if pages == "series" else 1)
    assert all(errors_of(encode(result.dataset)) == [] for result in results)
    if pages == "multiframe":
        dataset = results[1].dataset
        assert dataset.NumberOfFrames == 3
        assert read(encode(dataset)).pixel_array.shape == (3, dataset.Rows, dataset.Columns, 3)


@pytest.mark.parametrize("name", [*PLANAR, *VOLUMES])
@pytest.mark.parametrize("omit", [False, True])
def test_an_empty_region_gives_a_valid_segmentation(name, omit, templates, errors_of):
    image = image_named(name)
    nothing = a_map(image, np.zeros(image.shape, np.float32))
    layout = templates.layout.model_copy(
        update={"segmentation": templates.layout.segmentation.model_copy(update={"omit_empty_frames": omit})}
    )
    answer = answer_about(image, [Finding(NODULE, present=False, probability=0.1, maps=(nothing,))])
    results = build_results(answer, FOUR_KINDS, _with(templates, layout=layout))
    for result in results:
        assert errors_of(encode(result.dataset)) == [], result.kind
    segmentation = read(encode(next(result.dataset for result in results if result.kind == "seg")))
    assert segmentation.NumberOfFrames == (1 if omit else len(image.frames))
    assert not segmentation.pixel_array.any()


@pytest.mark.parametrize("name", [*PLANAR, *VOLUMES])
def test_every_kind_of_finding_in_one_answer_is_valid(name, templates, errors_of, dsrdump):
    image = image_named(name)
    for result in build_results(rich_answer(image), FOUR_KINDS, templates):
        assert errors_of(encode(result.dataset)) == [], (result.kind, result.description)
        if result.kind == "sr":
            dsrdump(encode(result.dataset))


def test_highdicom_reads_segmentation_and_map_in_the_source_geometry(tilted_image, templates, tmp_path):
    answer = answer_about(tilted_image)
    source_map = answer.findings[0].maps[0]
    for result in build_results(answer, ["seg", "pm"], templates):
        path = tmp_path / f"{result.kind}.dcm"
        path.write_bytes(encode(result.dataset))
    segmentation = highdicom.seg.segread(tmp_path / "seg.dcm")
    uids = [frame.sop_instance_uid for frame in tilted_image.frames]
    pixels = segmentation.get_pixels_by_source_instance(uids)
    np.testing.assert_array_equal(pixels[..., 0].astype(bool), source_map.region)
    assert segmentation.get_tracking_ids()[0][0] == "Cardiomegaly: grad-cam"
    heatmap = highdicom.pm.ParametricMap.from_dataset(read((tmp_path / "pm.dcm").read_bytes()))
    # highdicom 0.28 reads single frames of float maps only once the whole array is there
    np.testing.assert_array_equal(heatmap.pixel_array, source_map.values)
    np.testing.assert_array_equal(heatmap.get_frame(7), source_map.values[6])


def test_highdicom_reads_the_measurement_groups_of_the_report(tilted_image, dx_image, templates, tmp_path):
    for image, groups in (
        (tilted_image, "get_volumetric_roi_measurement_groups"),
        (dx_image, "get_planar_roi_measurement_groups"),
    ):
        path = tmp_path / "sr.dcm"
        path.write_bytes(encode(build_results(answer_about(image), FOUR_KINDS, templates)[-1].dataset))
        content = highdicom.sr.srread(path).content
        group, *_ = getattr(content, groups)()
        assert group.finding_type.value == "8186001"
        assert group.roi is not None or group.reference_type is not None
        names = {measurement.name.meaning: measurement.value for measurement in group.get_measurements()}
        assert names["Certainty of Finding"] == pytest.approx(82.0)
        (absent,) = content.get_image_measurement_groups()
        assert absent.finding_type.meaning == "Nodule"


def rich_answer(image):
    """Shown, amber, signed, withheld, refused, absent, regression and segment, with a second method."""
    centre = centre_of(image)
    lit = blob(image, centre)
    signed = lit - np.roll(lit, 5, axis=2)
    return answer_about(
        image,
        [
            Finding(
                CARDIOMEGALY,
                present=True,
                probability=0.9,
                maps=(
                    a_map(image, lit, grade=Grade.AMBER),
                    a_map(image, signed, method="integrated-gradients", signed=True),
                    a_map(image, lit, method="rise", grade=Grade.RED),
                ),
                refused={"lrp": Refusal("model", "the model has no verified gradient engine")},
            ),
            Finding(NODULE, present=True, probability=0.7, maps=(a_map(image, lit, grade=Grade.RED),)),
            Finding(
                _target("Effusion"),
                present=True,
                probability=0.6,
                refused={"grad-cam": Refusal("model", "no spatial layer")},
            ),
            Finding(_target("Age"), present=True, probability=None, value=61.5),
            Finding(_target("Heart segment"), present=True, probability=None, value=612.0, mask=lit > 0.4),
        ],
        revision=2,
    )


def _target(name):
    return NODULE.model_copy(update={"name": name})


def _with(templates, **changes):
    from dataclasses import replace

    return replace(templates, **changes)
