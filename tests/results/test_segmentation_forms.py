"""Heatmaps as fractional segments, and segments that don't overlap as label maps, where a site's layout wants them."""

from __future__ import annotations

import dataclasses
import subprocess

import highdicom
import numpy as np
import pytest

import synthetic
from peers import require
from results.answers import CARDIOMEGALY, NODULE, a_map, answer_about, blob, centre_of, image_of
from results.sources import SOURCES, VOLUMES, image_named, read
from results.test_validity import rich_answer
from whyray.base.errors import ImageError
from whyray.quality import Grade
from whyray.results import Finding, Templates, build_results, encode, segmentation_frames

FRACTIONAL, LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"


def wanting(templates: Templates, **options: bool) -> Templates:
    segmentation = templates.layout.segmentation.model_copy(update=options)
    return dataclasses.replace(templates, layout=templates.layout.model_copy(update={"segmentation": segmentation}))


def by_type(results) -> dict[str, list]:
    datasets: dict[str, list] = {}
    for result in results:
        if result.kind == "seg":
            dataset = read(encode(result.dataset))
            datasets.setdefault(dataset.SegmentationType, []).append(dataset)
    return datasets


@pytest.mark.parametrize("omit", [False, True])
@pytest.mark.parametrize("source", SOURCES)
def test_fractional_segments_are_valid_and_hold_the_map_to_half_a_step(source, templates, errors_of, omit):
    image = image_named(source)
    answer = rich_answer(image)
    results = build_results(answer, ["seg"], wanting(templates, fractional=True, omit_empty_frames=omit))
    (dataset,) = by_type(results)["FRACTIONAL"]
    assert errors_of(encode(dataset)) == []
    assert dataset.SegmentationFractionalType == "OCCUPANCY"
    shown = [heatmap for finding in answer.findings for heatmap in finding.maps if not heatmap.card.withheld]
    number = 0
    for heatmap in shown:
        top = float(np.abs(heatmap.values).max()) or 1.0
        sides = [heatmap.values, -heatmap.values] if heatmap.signed and heatmap.values.min() < 0 else [heatmap.values]
        for values in sides:
            number += 1
            frames = [
                dataset.pixel_array.reshape(-1, *image.shape[1:])[index]
                for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence)
                if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number
            ]
            wanted = np.clip(values / top, 0, 1)
            if omit:
                wanted = wanted[[bool(frame.any()) for frame in np.rint(wanted * 255)]]
                frames = [frame for frame in frames if frame.any()]
            np.testing.assert_allclose(np.array(frames) / 255, wanted, atol=0.5 / 255 + 1e-6)
            words = dataset.SegmentSequence[number - 1].SegmentDescription
            assert "neither a probability nor a share of area" in words
    segmentation = highdicom.seg.Segmentation.from_dataset(dataset)
    assert segmentation.number_of_segments == number
    assert segmentation.segmentation_fractional_type.value == "OCCUPANCY"


def disjoint(image) -> list[Finding]:
    """Two findings whose regions lie apart."""
    frames, rows, columns = image.shape
    left = a_map(image, blob(image, (frames // 2, rows // 4, columns // 4)))
    right = a_map(image, blob(image, (frames // 2, 3 * rows // 4, 3 * columns // 4)))
    return [
        Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(left,)),
        Finding(NODULE, present=True, probability=0.7, maps=(right,)),
    ]


@pytest.mark.parametrize("source", SOURCES)
def test_a_label_map_numbers_each_region_and_is_read_by_highdicom(source, templates):
    image = image_named(source)
    answer = answer_about(image, disjoint(image))
    results = build_results(answer, ["seg", "sr"], wanting(templates, label_maps=True))
    (dataset,) = by_type(results)["LABELMAP"]
    assert dataset.SOPClassUID == LABEL_MAP
    wanted = np.zeros(image.shape, np.uint8)
    for number, finding in enumerate(answer.findings, start=1):
        wanted[finding.maps[0].region] = number
    np.testing.assert_array_equal(dataset.pixel_array.reshape(image.shape), wanted)
    assert [segment.SegmentNumber for segment in dataset.SegmentSequence] == [0, 1, 2]
    uids = [frame.sop_instance_uid for frame in image.frames]
    segmentation = highdicom.seg.Segmentation.from_dataset(dataset)
    assert segmentation.segmentation_type.value == "LABELMAP"
    if len(set(uids)) == len(uids) and image.frames[0].to_patient is not None:
        pixels = segmentation.get_pixels_by_source_instance(uids, combine_segments=True)
        np.testing.assert_array_equal(pixels, wanted)
    report = next(result.dataset for result in results if result.kind == "sr")
    assert str(dataset.SOPInstanceUID) in str(report)


@pytest.mark.parametrize("source", ["real chest CR", "tilted CT, Japanese", "enhanced MR volume", "real CT"])
def test_dcmtk_reads_label_maps_and_fractional_segments(source, templates, tmp_path):
    require("dcmdump", "dcmtk")
    image = image_named(source)
    both = wanting(templates, label_maps=True, fractional=True)
    for number, result in enumerate(build_results(answer_about(image, disjoint(image)), ["seg"], both)):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(encode(result.dataset))
        read_back = subprocess.run(["dcmdump", "+L", str(path)], capture_output=True, check=True)
        assert result.dataset.SegmentationType.encode() in read_back.stdout


def test_regions_that_overlap_stay_binary_and_empty_ones_are_valid(templates, errors_of):
    image = image_named("tilted CT, Japanese")
    lit = a_map(image, blob(image, centre_of(image)))
    nothing = a_map(image, np.zeros(image.shape))
    both = wanting(templates, label_maps=True, fractional=True)
    twice = answer_about(
        image, [Finding(target, present=True, probability=0.8, maps=(lit,)) for target in (CARDIOMEGALY, NODULE)]
    )
    assert set(by_type(build_results(twice, ["seg"], both))) == {"BINARY", "FRACTIONAL"}
    for omit in (False, True):
        wanted = wanting(templates, label_maps=True, fractional=True, omit_empty_frames=omit)
        empty = answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(nothing,))])
        datasets = by_type(build_results(empty, ["seg"], wanted))
        assert set(datasets) == {"LABELMAP", "FRACTIONAL"}
        for (dataset,) in datasets.values():
            assert not dataset.pixel_array.any()
            assert dataset.NumberOfFrames == (1 if omit else len(image.frames))
        assert errors_of(encode(datasets["FRACTIONAL"][0])) == []


def test_what_is_withheld_is_in_no_form(templates):
    image = image_named("DX, Japanese")
    failed = a_map(image, blob(image, centre_of(image)), grade=Grade.RED)
    answer = answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(failed,))])
    assert build_results(answer, ["seg"], wanting(templates, label_maps=True, fractional=True)) == []


PROJECTIONS = {
    "CR without spacing": ({"modality": "CR", "spacing": None}, {}, 1),
    "CR with the detector's spacing": ({"modality": "CR", "spacing": (0.2, 0.1)}, {}, 0.2),
    "DX with the patient's spacing": ({"modality": "DX", "spacing_keyword": "PixelSpacing"}, {}, 0.2),
    "MG that says how thick the breast is": ({"modality": "MG"}, {"BodyPartThickness": "52"}, 52),
    "MG whose thickness is none": ({"modality": "MG"}, {"BodyPartThickness": "0"}, 0.2),
    "DX with a nominal spacing": ({"modality": "DX", "spacing_keyword": "NominalScannedPixelSpacing"}, {}, 0.2),
}


@pytest.mark.parametrize("kind", PROJECTIONS)
@pytest.mark.parametrize("form", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segments_on_a_radiograph_open_in_highdicom_from_the_file_and_hold_the_pixels(
    kind, form, templates, errors_of, tmp_path
):
    options, attributes, thickness = PROJECTIONS[kind]
    source = synthetic.radiograph(np.arange(60 * 40).reshape(60, 40), **options)
    for keyword, value in attributes.items():
        setattr(source, keyword, value)
    image = image_of(synthetic.write([source], tmp_path / "source"))
    answer = answer_about(image)
    wanted = wanting(templates, fractional=form == "FRACTIONAL", label_maps=form == "LABELMAP")
    ((dataset,),) = [
        of_form for name, of_form in by_type(build_results(answer, ["seg"], wanted)).items() if name == form
    ]
    if form != "LABELMAP":  # dciodvfy of today knows no label maps
        assert errors_of(encode(dataset)) == []
    path = tmp_path / "seg.dcm"
    path.write_bytes(encode(dataset))
    segmentation = highdicom.seg.segread(path)
    region = answer.findings[0].maps[0].region
    (uid,) = image.digests
    pixels = segmentation.get_pixels_by_source_instance([uid], rescale_fractional=False)
    if form == "FRACTIONAL":
        np.testing.assert_array_equal(pixels[..., 0] >= 128, region)
    else:
        np.testing.assert_array_equal(pixels[..., -1].astype(bool), region)
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    (measures,) = shared.PixelMeasuresSequence
    assert float(measures.SliceThickness) == thickness


@pytest.mark.parametrize("kind", PROJECTIONS)
def test_a_heatmap_of_a_radiograph_opens_in_highdicom(kind, templates):
    options, *_ = PROJECTIONS[kind]
    image = image_of([synthetic.radiograph(np.arange(60 * 40).reshape(60, 40), **options)])
    answer = answer_about(image)
    (result,) = build_results(answer, ["pm"], templates)
    heatmap = highdicom.pm.ParametricMap.from_dataset(read(encode(result.dataset)))
    np.testing.assert_array_equal(heatmap.pixel_array, answer.findings[0].maps[0].values[0])


def test_empty_frames_are_left_out_where_the_object_would_be_too_large(templates, errors_of, monkeypatch):
    answer = rich_answer(image_named(VOLUMES[0]))
    whole = by_type(build_results(answer, ["seg"], templates))["BINARY"]
    monkeypatch.setattr(segmentation_frames, "LARGEST_WITH_EMPTY", 1)
    lean = by_type(build_results(answer, ["seg"], templates))["BINARY"]
    for large, small in zip(whole, lean, strict=True):
        assert errors_of(encode(small)) == []
        assert small.SOPInstanceUID != large.SOPInstanceUID
        kept = [bool(frame.any()) for frame in large.pixel_array.reshape(-1, large.Rows, large.Columns)]
        assert small.NumberOfFrames == sum(kept) < large.NumberOfFrames
        np.testing.assert_array_equal(
            small.pixel_array.reshape(-1, large.Rows, large.Columns),
            large.pixel_array.reshape(-1, large.Rows, large.Columns)[kept],
        )


def test_a_segmentation_whose_length_cannot_be_written_is_refused_with_what_to_do(templates, monkeypatch):
    monkeypatch.setattr(segmentation_frames, "LARGEST", 100)
    with pytest.raises(ImageError, match=r"expected a Segmentation of at most 0 MiB.*frames in which segments") as no:
        build_results(rich_answer(image_named(VOLUMES[0])), ["seg"], templates)
    assert "segmentation.label_maps" in no.value.advice
