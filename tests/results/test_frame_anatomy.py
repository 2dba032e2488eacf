"""What a Parametric Map says of the part that its frames show: Frame Anatomy (PS3.3 C.7.6.16.2.8)."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileDataset

import synthetic
from mammography import code, item
from results.answers import CARDIOMEGALY, a_map, answer_about
from results.sources import read
from whyray.imaging import read_images
from whyray.results import Finding, build_results, encode

PLANES = synthetic.stack(4, (20, 30), spacing=(2.0, 2.0), distance=3.0)
CHEST, LUNG = code("816094009", "SCT", "Chest"), code("39607008", "SCT", "Lung structure")
KNEE = code("72696002", "SCT", "Knee")


def source(**attributes: object) -> FileDataset:
    data = synthetic.enhanced(np.zeros((4, 20, 30)), PLANES)
    for keyword, value in attributes.items():
        setattr(data, keyword, value)
    return data


def anatomy(region: Dataset | None, side: str | None) -> list[Dataset]:
    said = {"AnatomicRegionSequence": region and [region], "FrameLaterality": side}
    return [item(**{keyword: value for keyword, value in said.items() if value})]


def made_of(data: FileDataset, templates, errors_of) -> Dataset:
    (image,) = read_images([data]).or_raise()
    values = np.ones(image.shape, np.float32)
    answer = answer_about(image, [Finding(CARDIOMEGALY, present=True, probability=0.8, maps=(a_map(image, values),))])
    (result,) = build_results(answer, ["pm"], templates)
    file = encode(result.dataset)
    assert errors_of(file) == []
    return read(file)


def said(made: Dataset) -> tuple[str, str] | None:
    groups = made.SharedFunctionalGroupsSequence[0].get("FrameAnatomySequence")
    assert all("FrameAnatomySequence" not in group for group in made.PerFrameFunctionalGroupsSequence)
    assert not groups or "Laterality" not in made
    return (groups[0].AnatomicRegionSequence[0].CodeValue, groups[0].FrameLaterality) if groups else None


@pytest.mark.parametrize("side", ["U", "B", "L", "R"])
@pytest.mark.parametrize("each", [False, True])
def test_a_map_says_what_the_functional_groups_of_its_source_say(side, each, templates, errors_of):
    """Only Body Part Examined and Anatomic Region of the top were read, which enhanced objects need not have."""
    data = source()
    for group in data.PerFrameFunctionalGroupsSequence if each else data.SharedFunctionalGroupsSequence:
        group.FrameAnatomySequence = anatomy(LUNG, side)
        group.FrameAnatomySequence[0].add_new(0x00111010, "LO", "of the device's own")
    made = made_of(data, templates, errors_of)
    assert said(made) == ("39607008", side)
    assert 0x00111010 not in made.SharedFunctionalGroupsSequence[0].FrameAnatomySequence[0]


def test_frames_of_several_parts_leave_it_to_what_is_said_of_all(templates, errors_of):
    data = source()
    for index, group in enumerate(data.PerFrameFunctionalGroupsSequence):
        group.FrameAnatomySequence = anatomy(LUNG if index else CHEST, "U")
    assert said(made_of(data, templates, errors_of)) is None
    data.BodyPartExamined = "CHESTABDOMEN"
    assert said(made_of(data, templates, errors_of)) == ("416550000", "U")


@pytest.mark.parametrize(("of_all", "wanted"), [("L", ("39607008", "L")), ("R", None)])
def test_a_side_that_the_source_contradicts_is_not_said(of_all, wanted, templates, errors_of):
    data = source(ImageLaterality=of_all)
    data.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = anatomy(LUNG, "L")
    assert said(made_of(data, templates, errors_of)) == wanted


@pytest.mark.parametrize(("region", "side"), [(None, "U"), (LUNG, None), (LUNG, "X"), (code("", "", ""), "U")])
def test_half_a_frame_anatomy_is_none(region, side, templates, errors_of):
    data = source()
    data.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = anatomy(region, side)
    assert said(made_of(data, templates, errors_of)) is None


@pytest.mark.parametrize(
    ("region", "wanted"),
    [(CHEST, ("816094009", "U")), (code("T-D3000", "SRT", "Chest"), ("T-D3000", "U")), (KNEE, None)],
)
def test_a_region_that_is_not_one_of_a_pair_has_no_side(region, wanted, templates, errors_of):
    """It was taken for one that may be, unless Body Part Examined named the part, too."""
    assert said(made_of(source(AnatomicRegionSequence=[region]), templates, errors_of)) == wanted


def test_a_region_that_is_told_the_side_of_is_not_taken_for_one_without(templates, errors_of):
    half = code("816094009", "SCT", "Chest")
    half.AnatomicRegionModifierSequence = [code("7771000", "SCT", "Left")]
    assert said(made_of(source(AnatomicRegionSequence=[half]), templates, errors_of)) is None
