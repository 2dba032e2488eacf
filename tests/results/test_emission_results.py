"""Results about PET and nuclear medicine: valid, and each slice under its own slope in the states that show it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmwrite

import emission
import synthetic
from peers import require
from results.answers import CARDIOMEGALY, a_map, answer_about, blob, centre_of, image_of
from results.sources import read
from results.test_validity import rich_answer
from whyray.imaging import SourceImage, read_images
from whyray.results import EVERY_KIND, Finding, Wording, build_results, encode, load_templates
from whyray.results.study_images import image_in_words, place_to_say
from whyray.results.templates import Templates

PLANES = synthetic.stack(10, (24, 20), spacing=(4.0, 3.0), distance=3.0, rotation=(10, 5, 0))


def pet() -> list[Dataset]:
    return emission.pet(PLANES)


def windowed_pet() -> list[Dataset]:
    return emission.pet(PLANES, WindowCenter="4000", WindowWidth="8000")


def tomogram() -> list[Dataset]:
    return [emission.nuclear(np.stack([emission.rising(plane.points()) for plane in PLANES]), PLANES[0])]


def gated() -> list[Dataset]:
    frames = np.stack([emission.rising(plane.points()) * time for plane in PLANES for time in (1, 2)])
    vectors = {
        "RRIntervalVector": [1] * 20,
        "TimeSlotVector": [1, 2] * 10,
        "SliceVector": np.repeat(range(1, 11), 2).tolist(),
    }
    kind = ["ORIGINAL", "PRIMARY", "RECON GATED TOMO", "EMISSION"]
    return [emission.nuclear(frames, PLANES[0], image_type=kind, vectors=vectors)]


SOURCES = (pet, windowed_pet, tomogram, gated)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_every_kind_of_result_is_valid(
    source: Callable[[], Sequence[Dataset]], templates: Templates, errors_of: Callable[[bytes], list[str]]
) -> None:
    for result in build_results(rich_answer(image_of(source(), -1)), EVERY_KIND, templates):
        assert errors_of(encode(result.dataset)) == [], (result.kind, result.description)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.__name__)
def test_each_slice_of_a_region_is_outlined_once_and_by_its_own_slope(
    source: Callable[[], Sequence[Dataset]], templates: Templates
) -> None:
    image = image_of(source(), -1)
    heatmap = a_map(image, blob(image, centre_of(image), 0.3))
    answer = answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.82, maps=(heatmap,))])
    states = [read(encode(result.dataset)) for result in build_results(answer, ["gsps"], templates)]
    assert len({state.SOPInstanceUID for state in states}) == len(states)
    assert [state.InstanceNumber for state in states] == list(range(1, len(states) + 1))
    outlined = []
    for state in states:
        for annotation in state.GraphicAnnotationSequence:
            (reference,) = annotation.ReferencedImageSequence
            uid = reference.ReferencedSOPInstanceUID
            outlined.append((uid, int(reference.get("ReferencedFrameNumber") or 1)))
            header = image.headers[uid]
            assert ("RescaleSlope" in state) == ("RescaleSlope" in header)
            if "RescaleSlope" in header:
                assert float(state.RescaleSlope) == pytest.approx(float(header.RescaleSlope))
    held = [frame for index, frame in enumerate(image.frames) if heatmap.region[index].any()]
    assert sorted(outlined) == sorted((frame.sop_instance_uid, frame.frame_number) for frame in held)
    assert len(held) > 1


def test_a_slice_of_pet_looks_as_before_under_its_state(templates: Templates, tmp_path: Path) -> None:
    for program in ("dcmpschk", "dcmp2pgm"):
        require(program, "dcmtk")
    made = windowed_pet()
    image = image_of(made)
    heatmap = a_map(image, blob(image, centre_of(image), 0.3))
    answer = answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.82, maps=(heatmap,))])
    results = build_results(answer, ["gsps"], templates)
    assert len(results) > 1
    by_uid = {data.SOPInstanceUID: data for data in made}
    for result in results:
        source, state = tmp_path / "source.dcm", tmp_path / "state.dcm"
        state.write_bytes(encode(result.dataset))
        uid = result.dataset.ReferencedSeriesSequence[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID
        dcmwrite(source, by_uid[uid], enforce_file_format=True)
        checked = subprocess.run(["dcmpschk", str(state)], capture_output=True, check=False)
        assert b"Test passed" in checked.stdout + checked.stderr
        for arguments, name in (([], "plain"), (["-p", str(state)], "state")):
            subprocess.run(["dcmp2pgm", *arguments, str(source), str(tmp_path / name)], capture_output=True, check=True)
        plain, shown = ((tmp_path / name).read_bytes() for name in ("plain", "state"))
        assert len(set(plain[-480:])) > 5
        assert plain == shown


def planar(views: Sequence[str]) -> Dataset:
    """A whole body as two detectors see it, one frame each, with the codes of their views; empty: none."""
    data = emission.nuclear(
        np.full((2, 24, 20), 100),
        PLANES[0],
        image_type=("ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"),
        vectors={"EnergyWindowVector": [1, 1], "DetectorVector": [2, 1]},
    )
    data.DetectorInformationSequence = []
    for view in views:
        detector = Dataset()
        if view:
            detector.ViewCodeSequence = [Dataset()]
            detector.ViewCodeSequence[0].CodeValue, detector.ViewCodeSequence[0].CodingSchemeDesignator = view, "SCT"
        data.DetectorInformationSequence.append(detector)
    return data


@pytest.mark.parametrize("codes", [("399001007", "399321004"), ("G-5216", "G-5215")])
def test_a_page_says_whether_the_patient_is_seen_from_the_front_or_from_the_back(codes: tuple[str, str]) -> None:
    """By the detector of each frame: left and right are exchanged between the two, and nothing said which it is."""
    wording = load_templates().wording("en")
    images = read_images([planar(codes)]).or_raise()
    assert [place_words(image, wording) for image in images] == ["anterior view", "posterior view"]


def test_where_a_detector_does_not_say_its_view_a_page_says_none() -> None:
    wording = load_templates().wording("en")
    for views in (("", ""), ("399001007",), ()):
        data = planar(views)
        words = [place_words(image, wording) for image in read_images([data]).or_raise()]
        assert words == ["", "posterior view" if len(views) == 1 else ""]


def place_words(image: SourceImage, wording: Wording) -> str:
    return image_in_words(place_to_say(answer_about(image)), wording)
