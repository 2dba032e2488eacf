"""Frames of one multi-frame instance: one series a kind, objects that hold the frames in order, nothing lost."""

from __future__ import annotations

from dataclasses import replace

import highdicom
import numpy as np
import pytest

import synthetic
from results.answers import CARDIOMEGALY, FOUR_KINDS, KINDS_OF_A_MAP, NODULE, a_map, answer_about, blob
from results.sources import read
from whyray.imaging import read_images
from whyray.quality import Grade
from whyray.results import (
    EVERY_KIND,
    Finding,
    FramesExplained,
    build_results,
    build_run_results,
    checksums_of,
    encode,
    load_templates,
    strengths_of,
)
from whyray.results.frame_stack import stacked_maps

FRAMES, ROWS, COLUMNS = 5, 40, 56
BELOW_THE_HEADING = 760
"""Rows of a page with the pictures and what is said beneath them."""


def cine(tmp_path, *, modality="US", colour=False, number=1, count=FRAMES):
    """A file of frames that differ, as images read from it."""
    shape = (count, ROWS, COLUMNS, 3) if colour else (count, ROWS, COLUMNS)
    path = tmp_path / f"{modality}-{number}.dcm"
    made = synthetic.cine(np.random.default_rng(number).integers(0, 255, shape), modality=modality, number=number)
    made.save_as(path, enforce_file_format=True)
    return path


def images(*paths):
    study_images = read_images(paths)
    assert not study_images.refusals
    return study_images.or_raise()


def answers_about(frames, *, withheld=(), absent=(), method="grad-cam"):
    """One answer a frame, each with a map whose highest value lies in the frame's own column."""
    made = []
    for index, image in enumerate(frames):
        values = blob(image, (0, 10, 5 + 4 * index)) * (index + 1)
        grade = Grade.RED if index in withheld else Grade.AMBER if index == 1 else Grade.GREEN
        present = index not in absent
        probability = 0.5 + 0.05 * index if present else 0.1
        lit = Finding(CARDIOMEGALY, present, probability, maps=(a_map(image, values, grade=grade, method=method),))
        made.append(answer_about(image, [lit, Finding(NODULE, present=False, probability=0.03)]))
    return made


def by_kind(results):
    datasets = {}
    for result in results:
        datasets.setdefault(result.kind, []).append(read(encode(result.dataset)))
    return datasets


def series_of(results):
    return {result.dataset.SeriesInstanceUID for result in results}


@pytest.mark.parametrize(("modality", "colour"), [("US", False), ("US", True), ("NM", False)])
def test_a_multi_frame_instance_gives_one_series_a_kind_and_valid_objects(
    modality, colour, tmp_path, templates, errors_of
):
    frames = images(cine(tmp_path, modality=modality, colour=colour))
    results = build_run_results(answers_about(frames, withheld=(3,)), EVERY_KIND, templates)
    # no presentation state outlines anything on colour images
    wanted = [kind for kind in KINDS_OF_A_MAP if not (colour and kind == "gsps")]
    assert [result.kind for result in results] == ["sc", *wanted], "what was found, then the pages of the frames"
    assert len(series_of(results)) == len(wanted)
    for result in results:
        assert errors_of(encode(result.dataset)) == [], result.kind


def test_what_was_known_of_each_frames_map_is_not_taken_for_that_of_all(tmp_path):
    """Shares of the largest value were shares of the first frame's, above which all was 1."""
    answers = answers_about(images(cine(tmp_path)))

    def known(heatmap):
        strengths = strengths_of(heatmap.values, heatmap.region)
        return replace(heatmap, strengths=strengths, checksums=checksums_of(heatmap.values))

    told = []
    for answer in answers:
        findings = [replace(finding, maps=tuple(map(known, finding.maps))) for finding in answer.findings]
        told.append(replace(answer, findings=tuple(findings)))
    (plain,), (stack,) = stacked_maps(answers, "radiologist"), stacked_maps(told, "radiologist")
    assert stack.map.largest == plain.map.largest == max(answer.findings[0].maps[0].largest for answer in answers)
    assert np.array_equal(stack.map.frame_strengths, plain.map.frame_strengths)
    assert build_run_results(told, EVERY_KIND, load_templates())


def test_pages_are_frames_of_one_object_in_the_order_of_the_source(tmp_path, templates):
    frames = images(cine(tmp_path))
    _, capture = build_run_results(answers_about(frames), ["sc"], templates)
    dataset = read(encode(capture.dataset))
    assert dataset.NumberOfFrames == FRAMES
    assert dataset.FrameLabelVector == [f"frame {number}" for number in range(1, FRAMES + 1)]
    (source,) = dataset.SourceImageSequence
    assert source.ReferencedFrameNumber == list(range(1, FRAMES + 1))
    assert len({page.tobytes() for page in dataset.pixel_array}) == FRAMES
    # the picture that stands for them is of the clearest answer
    np.testing.assert_array_equal(dataset.pixel_array[FRAMES - 1], capture.picture)


def test_a_map_has_a_frame_for_each_frame_on_which_it_may_be_shown(tmp_path, templates):
    frames = images(cine(tmp_path))
    answers = answers_about(frames, withheld=(2,))
    datasets = by_kind(build_run_results(answers, ["sc", "seg", "pm"], templates))
    (heatmap,), (regions,), (_, pages) = datasets["pm"], datasets["seg"], datasets["sc"]
    shown = [0, 1, 3, 4]
    of_source = [
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        for group in heatmap.PerFrameFunctionalGroupsSequence
    ]
    assert of_source == [1, 2, 4, 5]
    indices = [group.FrameContentSequence[0].DimensionIndexValues for group in heatmap.PerFrameFunctionalGroupsSequence]
    assert len(set(map(str, indices))) == len(shown)
    values = np.concatenate([answers[index].findings[0].maps[0].values for index in shown])
    np.testing.assert_array_equal(heatmap.pixel_array, values)
    region = np.concatenate([answers[index].findings[0].maps[0].region for index in shown])
    np.testing.assert_array_equal(regions.pixel_array.astype(bool), region)
    # the frame that is withheld has a page that says so, without its map
    assert pages.NumberOfFrames == FRAMES


def test_highdicom_opens_segmentation_map_and_report_of_many_frames(tmp_path, templates):
    frames = images(cine(tmp_path))
    answers = answers_about(frames, withheld=(2,))
    results = build_run_results(answers, FOUR_KINDS, templates)
    for result in results:
        (tmp_path / f"{result.kind}.dcm").write_bytes(encode(result.dataset))
    segmentation = highdicom.seg.segread(tmp_path / "seg.dcm")
    pixels = segmentation.get_pixels_by_source_frame(frames[0].frames[0].sop_instance_uid, [1, 2, 4, 5])
    region = np.concatenate([answers[index].findings[0].maps[0].region for index in (0, 1, 3, 4)])
    np.testing.assert_array_equal(pixels[..., 0].astype(bool), region)
    heatmap = highdicom.pm.ParametricMap.from_dataset(read((tmp_path / "pm.dcm").read_bytes()))
    assert heatmap.number_of_frames == 4
    content = highdicom.sr.srread(tmp_path / "sr.dcm").content
    planar = content.get_planar_roi_measurement_groups()
    without_region = content.get_image_measurement_groups()
    findings = [group for group in (*planar, *without_region) if _is_of_cardiomegaly(group)]
    certain = sorted(value for group in findings for value in _certainties(group))
    np.testing.assert_allclose(certain, [50, 55, 60, 65, 70])


def _is_of_cardiomegaly(group):
    return group.finding_type.value == CARDIOMEGALY.code.value


def _certainties(group):
    return [
        measurement.value
        for measurement in group.get_measurements()
        if measurement.name.meaning == "Certainty of Finding"
    ]


def test_each_group_of_the_report_refers_to_its_own_frame(tmp_path, templates):
    frames = images(cine(tmp_path))
    results = build_run_results(answers_about(frames, withheld=(2,)), FOUR_KINDS, templates)
    report = read(encode(results[-1].dataset))
    uids = {result.kind: result.dataset.SOPInstanceUID for result in results}
    groups = {}
    for group in _groups(report):
        tracking = _text(group, "112039")
        groups.setdefault(tracking, []).append(group)
    assert set(groups) == {
        f"cxr-findings: {name}, frame {number}" for name in ("Cardiomegaly", "Nodule") for number in range(1, 6)
    }
    source = frames[0].frames[0].sop_instance_uid
    for number in range(1, 6):
        for group in groups[f"cxr-findings: Cardiomegaly, frame {number}"]:
            assert _frames(group, source) <= {number}
        first = groups[f"cxr-findings: Cardiomegaly, frame {number}"][0]
        assert _frames(first, source) == {number}
        assert _frames(first, uids["sc"]) == {number}
        # the third frame is withheld: neither map nor region has it
        expected = set() if number == 3 else {number if number < 3 else number - 1}
        assert _frames(first, uids["pm"]) == _frames(first, uids["seg"]) == expected
        (absent,) = groups[f"cxr-findings: Nodule, frame {number}"]
        assert _frames(absent, source) == {number}
    trackings = {_uid(group) for of_frame in groups.values() for group in of_frame}
    assert len(trackings) == len(groups)


def _groups(report):
    (measurements,) = [
        content_item
        for content_item in report.ContentSequence
        if _name(content_item) == "126010" and content_item.ValueType == "CONTAINER"
    ]
    return measurements.ContentSequence


def _name(item):
    return item.ConceptNameCodeSequence[0].CodeValue if "ConceptNameCodeSequence" in item else None


def _text(group, code):
    return next(content_item.TextValue for content_item in group.ContentSequence if _name(content_item) == code)


def _uid(group):
    return next(content_item.UID for content_item in group.ContentSequence if _name(content_item) == "112040")


def _frames(item, uid):
    """Frames of an instance that a group refers to, at any depth."""
    frames = set()
    for child in item.get("ContentSequence", ()):
        for reference in child.get("ReferencedSOPSequence", ()):
            if reference.ReferencedSOPInstanceUID == uid:
                frames |= set(np.atleast_1d(reference.get("ReferencedFrameNumber", 0)).tolist())
        frames |= _frames(child, uid)
    return frames


def test_a_result_of_many_frames_has_the_grade_of_the_worst_that_it_shows(tmp_path, templates):
    frames = images(cine(tmp_path))
    for result in build_run_results(answers_about(frames, withheld=(2,)), ["sc", "pm"], templates)[1:]:
        assert result.grade == "amber", result.kind


def test_frames_that_are_all_withheld_give_pages_and_a_report_and_no_map(tmp_path, templates, errors_of):
    frames = images(cine(tmp_path))
    results = build_run_results(answers_about(frames, withheld=range(FRAMES)), FOUR_KINDS, templates)
    assert [result.kind for result in results] == ["sc", "sc", "sr"]
    assert results[1].dataset.NumberOfFrames == FRAMES
    for result in results:
        assert errors_of(encode(result.dataset)) == []


def test_what_was_left_out_stands_in_the_report_and_on_the_pages(tmp_path, templates):
    frames = images(cine(tmp_path))
    explained = FramesExplained((2, 3, 5), FRAMES)
    answers = [replace(answer, frames_explained=explained) for answer in answers_about(frames)]
    unexplained = {1, 4}
    answers = [
        replace(answer, findings=tuple(replace(finding, maps=()) for finding in answer.findings))
        if answer.image.frames[0].frame_number in unexplained
        else answer
        for answer in answers
    ]
    datasets = by_kind(build_run_results(answers, FOUR_KINDS, templates))
    assert datasets["pm"][0].NumberOfFrames == datasets["sc"][1].NumberOfFrames == 3
    assert datasets["sc"][1].FrameLabelVector == ["frame 2", "frame 3", "frame 5"]
    words = "Explained: 3 of 5 frames, those with the clearest answers (2-3, 5); the others were only answered"
    assert words in [
        item.get("TextValue") for part in datasets["sr"][0].ContentSequence for item in part.get("ContentSequence", ())
    ]
    # all frames are answered: each has its groups
    assert {_text(group, "112039")[-7:] for group in _groups(datasets["sr"][0])} == {f"frame {n}" for n in range(1, 6)}


def test_a_label_map_and_fractions_of_many_frames_are_valid(tmp_path, templates, errors_of):
    frames = images(cine(tmp_path))
    segmentation = templates.layout.segmentation.model_copy(update={"label_maps": True, "fractional": True})
    layout = templates.layout.model_copy(update={"segmentation": segmentation})
    results = build_run_results(answers_about(frames, withheld=(0,)), ["seg", "sr"], replace(templates, layout=layout))
    assert [result.dataset.get("SegmentationType") for result in results] == ["LABELMAP", "FRACTIONAL", None]
    assert errors_of(encode(results[1].dataset)) == []
    # dciodvfy does not know label maps for segmentations; highdicom does
    unknown = "Shall not be present for Referenced SOP Class that is not segmentation"
    assert [error for error in errors_of(encode(results[2].dataset)) if unknown not in error] == []
    (tmp_path / "labels.dcm").write_bytes(encode(results[0].dataset))
    assert highdicom.seg.segread(tmp_path / "labels.dcm").segmentation_type.value == "LABELMAP"
    assert [result.dataset.NumberOfFrames for result in results[:2]] == [4, 4]


@pytest.mark.parametrize("omit", [False, True])
def test_segments_of_a_package_are_one_object_over_all_frames(omit, tmp_path, templates, errors_of):
    frames = images(cine(tmp_path))
    masks = [
        blob(image, (0, 10, 20)) > 0.5 if index else np.zeros(image.shape, bool) for index, image in enumerate(frames)
    ]
    answers = [
        answer_about(image, [Finding(NODULE, bool(mask.any()), None, value=float(mask.sum()), mask=mask)])
        for image, mask in zip(frames, masks, strict=True)
    ]
    segmentation = templates.layout.segmentation.model_copy(update={"omit_empty_frames": omit})
    layout = templates.layout.model_copy(update={"segmentation": segmentation})
    results = build_run_results(answers, ["sc", "seg", "sr"], replace(templates, layout=layout))
    assert [result.kind for result in results] == ["sc", "sc", "seg", "sr"]
    for result in results:
        assert errors_of(encode(result.dataset)) == []
    kept = masks[1:] if omit else masks
    np.testing.assert_array_equal(results[2].dataset.pixel_array.astype(bool), np.concatenate(kept))


def test_instances_of_a_series_keep_their_results_apart(tmp_path, templates):
    path = tmp_path / "still.dcm"
    still = synthetic.radiograph(np.random.default_rng(9).integers(0, 4095, (ROWS, COLUMNS)), number=3)
    still.save_as(path, enforce_file_format=True)
    first, second = cine(tmp_path, number=1), cine(tmp_path, number=2)
    answers = answers_about(images(first, path, second))
    results = build_run_results(answers, FOUR_KINDS, templates)
    # the pages about both clips are one series, those about the still of another body part their own
    assert len(series_of(results)) == 3 * len(FOUR_KINDS) - 1
    (alone,) = [answer for answer in answers if answer.image.multi_frame_instance is None]
    _, page, region = build_results(alone, ["sc", "seg"], templates)
    assert region.dataset.PixelData in {result.dataset.PixelData for result in results if result.kind == "seg"}
    # its page names the view, since there are other images; beneath the heading it is the page of the image alone
    pictures = page.dataset.pixel_array[-BELOW_THE_HEADING:]
    shown = [result.dataset.pixel_array for result in results if result.kind == "sc"]
    assert [np.array_equal(one[-BELOW_THE_HEADING:], pictures) for one in shown].count(True) == 1


def test_the_same_frames_give_the_same_bytes(tmp_path, templates):
    path = cine(tmp_path)
    twice = [
        [encode(result.dataset) for result in build_run_results(answers_about(images(path)), EVERY_KIND, templates)]
        for _ in range(2)
    ]
    assert twice[0] == twice[1]


def test_a_multi_frame_instance_of_one_frame_is_a_single_image(tmp_path, templates):
    (image,) = images(cine(tmp_path, count=1))
    answer = answer_about(image)
    results = build_run_results([answer], FOUR_KINDS, templates)
    assert [encode(result.dataset) for result in results] == [
        encode(result.dataset) for result in build_results(answer, FOUR_KINDS, templates)
    ]
