"""Report, Segmentation and key objects say which side an image shows; of unpaired parts they say none."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import Dataset

import mammography
import synthetic
from results.answers import CARDIOMEGALY, NODULE, a_map, answer_about, blob, centre_of, image_of
from results.sources import read
from whyray.imaging import read_images
from whyray.results import Finding, build_results, encode, invalid_attributes
from whyray.results.side import side_of

MEANINGS = {"R": "Right", "L": "Left"}


def made_of(folder, templates, target=NODULE, **attributes) -> dict[str, Dataset]:
    film = synthetic.radiograph(np.full((60, 50), 900), modality="CR", body_part="KNEE")
    for keyword in ("Laterality", "ImageLaterality"):
        film.pop(keyword, None)
    for keyword, value in attributes.items():
        setattr(film, keyword, value)
    image = image_of(synthetic.write([film], folder))
    lit = a_map(image, blob(image, centre_of(image)))
    answer = answer_about(image, [Finding(target, present=True, probability=0.8, maps=(lit,))])
    return {
        result.kind: read(encode(result.dataset)) for result in build_results(answer, ["seg", "sr", "ko"], templates)
    }


def sides_in(report):
    meanings = []
    for element in report.iterall():
        if element.keyword == "ConceptNameCodeSequence" and element.value[0].get("CodeValue") == "272741003":
            meanings.append(element.value[0].CodeMeaning)
    return meanings


@pytest.mark.parametrize("side", ["R", "L"])
@pytest.mark.parametrize("keyword", ["Laterality", "ImageLaterality"])
def test_the_side_of_the_source_is_said_by_all(side, keyword, tmp_path, templates, errors_of):
    made = made_of(tmp_path, templates, CARDIOMEGALY, **{keyword: side})
    assert (made["sr"].Laterality, made["ko"].Laterality) == (side, side)
    region = made["seg"].SegmentSequence[0].AnatomicRegionSequence[0]
    assert region.AnatomicRegionModifierSequence[0].CodeMeaning == MEANINGS[side]
    assert sides_in(made["sr"])
    assert all(errors_of(encode(dataset)) == [] for dataset in made.values())


def test_a_mammogram_says_which_breast_though_the_package_names_no_anatomy(tmp_path, templates, errors_of):
    made = made_of(tmp_path, templates, Modality="MG", BodyPartExamined="BREAST", ImageLaterality="R")
    region = made["seg"].SegmentSequence[0].AnatomicRegionSequence[0]
    assert (region.CodeMeaning, region.AnatomicRegionModifierSequence[0].CodeValue) == ("Breast", "24028007")
    assert sides_in(made["sr"])
    assert all(errors_of(encode(dataset)) == [] for dataset in made.values())


@pytest.mark.parametrize("value", ["", "B", "U", "X"])
def test_no_one_side_is_said_where_the_source_says_none(value, tmp_path, templates):
    made = made_of(tmp_path, templates, CARDIOMEGALY, ImageLaterality=value)
    assert not any(dataset.get("Laterality") for dataset in made.values())
    assert sides_in(made["sr"]) == []


def test_an_unpaired_part_stays_without(tmp_path, templates):
    made = made_of(tmp_path, templates, CARDIOMEGALY, BodyPartExamined="CHEST", Laterality="R")
    assert not any("Laterality" in dataset for dataset in made.values())
    assert sides_in(made["sr"]) == []


@pytest.mark.parametrize(
    "said", [{"ImageLaterality": "R", "Laterality": "L"}, {"ImageLaterality": "B", "Laterality": "L"}]
)
def test_no_side_is_said_where_image_and_series_contradict_each_other(said, tmp_path, templates):
    """The image's word was taken alone: of two sides one is wrong, and nobody knows which."""
    made = made_of(tmp_path, templates, Modality="MG", BodyPartExamined="BREAST", **said)
    assert not any(dataset.get("Laterality") for dataset in made.values())
    assert sides_in(made["sr"]) == []
    assert "AnatomicRegionSequence" not in made["seg"].SegmentSequence[0]


def test_a_contradiction_of_sides_is_told_with_both():
    header = Dataset()
    header.ImageLaterality, header.Laterality = "R", "L"
    (note,) = invalid_attributes(header)
    assert str(note) == (
        "Image Laterality (0020,0062) R and Laterality (0020,0060) L contradict each other: the results say no side"
    )
    header.Laterality = "R"
    assert invalid_attributes(header) == ()


@pytest.mark.parametrize(("of_image", "of_series"), [("R", "B"), ("B", "L"), ("U", "L"), ("R", "U")])
def test_a_side_that_is_not_said_for_both_or_none_is_told_too(of_image, of_series):
    """The results said no side of it, and nobody was told why."""
    header = Dataset()
    header.ImageLaterality, header.Laterality = of_image, of_series
    (note,) = invalid_attributes(header)
    assert f"Image Laterality (0020,0062) {of_image} and Laterality (0020,0060) {of_series} contradict" in str(note)


@pytest.mark.parametrize(("of_image", "of_series"), [("B", "U"), ("B", "B"), ("", "L"), ("X", "R")])
def test_no_contradiction_is_told_where_no_side_is_lost(of_image, of_series):
    header = Dataset()
    header.ImageLaterality, header.Laterality = of_image, of_series
    assert invalid_attributes(header) == ()


@pytest.mark.parametrize("per_frame", [False, True])
@pytest.mark.parametrize("side", ["R", "L"])
def test_tomosynthesis_and_projections_say_their_side_by_the_anatomy_of_their_frames(side, per_frame):
    for make in (mammography.tomosynthesis, mammography.projections):
        data = make(side, "MLO", per_frame_anatomy=per_frame)
        assert {side_of(image) for image in read_images([data]).or_raise()} == {side}
    frames = data.PerFrameFunctionalGroupsSequence
    frames[0].FrameAnatomySequence = [mammography.item(FrameLaterality="L" if side == "R" else "R")]
    assert {side_of(image) for image in read_images([data]).or_raise()} == {""}
