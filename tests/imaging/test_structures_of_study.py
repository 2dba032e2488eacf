"""Segmentations of a study come back as masks at the right place: written by us, by others, on other grids."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence as Items

import synthetic
from results.answers import CARDIOMEGALY, answer_about, image_of
from results.sources import image_named
from whyray.base.coded_concept import CodedConcept
from whyray.imaging import SourceImage, structures_of_study, structures_on_grid, to_model
from whyray.packages import InputSpec, TargetSpec
from whyray.results import Finding, Templates, build_results, encode, load_templates

HEART = CodedConcept(value="80891009", scheme="SCT", meaning="Heart")
LUNG = CodedConcept(value="39607008", scheme="SCT", meaning="Lung")


@pytest.fixture(scope="module")
def templates() -> Templates:
    return load_templates()


def ours(image: SourceImage, masks: dict[str, np.ndarray], templates: Templates) -> Dataset:
    """A Segmentation as our own results write that of a segmentation package."""
    codes = {"heart": HEART, "lung": LUNG}
    findings = tuple(
        Finding(TargetSpec(name=name, code=codes[name]), present=True, probability=None, mask=mask)
        for name, mask in masks.items()
    )
    answer = answer_about(image, findings)
    made = build_results(answer, ["seg"], templates)
    from io import BytesIO

    return dcmread(BytesIO(encode(made[0].dataset)))


def spot(image: SourceImage, seed: int) -> np.ndarray:
    """A mask without any symmetry: a box in one corner and a single voxel elsewhere."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(image.shape, bool)
    frames, rows, columns = image.shape
    mask[: (frames + 1) // 2, rows // 8 : rows // 3, columns // 2 : columns * 4 // 5] = True
    mask[tuple(int(rng.integers(size)) for size in image.shape)] = True
    return mask


@pytest.mark.parametrize(
    "name", ["real chest CR", "DX, Japanese", "CR without identity", "tilted CT, Japanese", "enhanced MR volume"]
)
def test_a_segmentation_that_we_wrote_comes_back_voxel_by_voxel(name: str, templates: Templates) -> None:
    image = image_named(name)
    masks = {"heart": spot(image, 1), "lung": spot(image, 2)[:, ::-1]}
    study_structures = structures_of_study([ours(image, masks, templates)], image)
    assert study_structures.refusals == ()
    assert [structure.label for structure in study_structures.structures] == ["heart", "lung"]
    for structure in study_structures.structures:
        np.testing.assert_array_equal(structure.mask, masks[structure.label])
    assert study_structures.structures[0].code == ("80891009", "SCT", "Heart")


def test_empty_frames_that_were_left_out_stay_empty_and_neighbours_get_none_of_what_is_next_to_them(
    templates: Templates,
) -> None:
    image = image_named("tilted CT, Japanese")
    mask = np.zeros(image.shape, bool)
    mask[3, 10:20, 5:30] = True
    lean = templates.layout.segmentation.model_copy(update={"omit_empty_frames": True})
    layout = templates.layout.model_copy(update={"segmentation": lean})
    from dataclasses import replace

    made = ours(image, {"heart": mask}, replace(templates, layout=layout))
    assert int(made.NumberOfFrames) == 1
    np.testing.assert_array_equal(structures_of_study([made], image).structures[0].mask, mask)


def test_a_file_is_read_as_a_data_set_is_and_images_beside_it_are_passed_over(tmp_path, templates: Templates) -> None:
    sources = [synthetic.radiograph(np.full((60, 40), 900), modality="CR")]
    image = image_of(sources)
    mask = spot(image, 3)
    ours(image, {"heart": mask}, templates).save_as(tmp_path / "seg.dcm")
    sources[0].save_as(tmp_path / "cr.dcm")
    (tmp_path / "notes.txt").write_text("no DICOM")
    study_structures = structures_of_study(sorted(tmp_path.iterdir()), image)
    np.testing.assert_array_equal(study_structures.structures[0].mask, mask)


def test_a_segmentation_of_another_image_says_nothing_about_this_one(templates: Templates) -> None:
    other = image_named("real chest CR")
    image = image_named("DX, Japanese")
    assert structures_of_study([ours(other, {"heart": spot(other, 1)}, templates)], image).structures == ()


def test_a_salient_region_and_a_lesion_are_no_anatomy(templates: Templates) -> None:
    image = image_named("DX, Japanese")
    made = ours(image, {"heart": spot(image, 1)}, templates)
    for value, meaning in (("309825002", "Spatial and Relational Concept"), ("49755003", "Morphologically Abnormal")):
        category = made.SegmentSequence[0].SegmentedPropertyCategoryCodeSequence[0]
        category.CodeValue, category.CodeMeaning = value, meaning
        assert structures_of_study([made], image).structures == ()
    salient = build_results(answer_about(image), ["seg"], templates)[0].dataset
    assert structures_of_study([salient], image).structures == ()
    assert CARDIOMEGALY.anatomy is not None


def test_the_side_is_read_from_the_modifier(templates: Templates) -> None:
    image = image_named("DX, Japanese")
    made = ours(image, {"lung": spot(image, 1)}, templates)
    side = Dataset()
    side.CodeValue, side.CodingSchemeDesignator, side.CodeMeaning = "7771000", "SCT", "Left"
    kind = made.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
    kind.SegmentedPropertyTypeModifierCodeSequence = [side]
    assert structures_of_study([made], image).structures[0].laterality == ("7771000", "SCT", "Left")


def test_a_fractional_segmentation_counts_from_half_on(templates: Templates) -> None:
    image = image_named("DX, Japanese")
    mask = spot(image, 1)
    made = ours(image, {"heart": mask}, templates)
    made.SegmentationType, made.SegmentationFractionalType = "FRACTIONAL", "PROBABILITY"
    made.MaximumFractionalValue = 100
    made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
    values = np.where(mask, 51, 49).astype(np.uint8)
    made.PixelData = values.tobytes() + b"\0" * (values.size % 2)
    made["PixelData"].VR = "OB"
    np.testing.assert_array_equal(structures_of_study([made], image).structures[0].mask, mask)


def test_a_label_map_gives_each_label_its_mask(templates: Templates) -> None:
    image = image_named("tilted CT, Japanese")
    first, second = spot(image, 1), spot(image, 2)[:, ::-1]
    second &= ~first
    made = ours(image, {"heart": first, "lung": second}, templates)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.7"
    made.SegmentationType = "LABELMAP"
    labels = (first + 2 * second).astype(np.uint8)
    groups = list(made.PerFrameFunctionalGroupsSequence)[: len(labels)]
    for group in groups:
        del group.SegmentIdentificationSequence
    made.PerFrameFunctionalGroupsSequence = Items(groups)
    made.NumberOfFrames = len(labels)
    made.BitsAllocated, made.BitsStored, made.HighBit = 8, 8, 7
    made.PixelData = labels.tobytes() + b"\0" * (labels.size % 2)
    made["PixelData"].VR = "OB"
    structures = structures_of_study([made], image).structures
    assert [structure.label for structure in structures] == ["heart", "lung"]
    np.testing.assert_array_equal(structures[0].mask, first)
    np.testing.assert_array_equal(structures[1].mask, second)


@pytest.mark.parametrize("turned", [(0.0, 0.0, 0.0), (12.0, -7.0, 20.0)])
def test_a_segmentation_on_a_grid_of_its_own_lies_where_it_does_in_the_patient(
    turned: tuple[float, float, float], templates: Templates
) -> None:
    """An oblique source with anisotropic voxels; the segmentation was drawn on other slices of the same patient."""
    centre, radius = np.array([4.0, -6.0, 3.0]), 13.0
    planes = synthetic.stack(14, (60, 52), spacing=(0.8, 1.3), distance=3.0, rotation=(25, 10, -15), tilt=8)
    image = image_of(synthetic.slices(synthetic.volume_of(planes, synthetic.ball(tuple(centre), radius)), planes))
    own = synthetic.stack(30, (70, 80), spacing=(1.1, 0.9), distance=1.5, rotation=turned)
    other = image_of(
        synthetic.slices(synthetic.volume_of(own, synthetic.ball(tuple(centre), radius)), own, series="other")
    )
    drawn = np.stack([np.linalg.norm(plane.points() - centre, axis=-1) <= radius for plane in own])
    made = ours(other, {"heart": drawn}, templates)
    measures = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.SpacingBetweenSlices = 1.5
    for group in made.PerFrameFunctionalGroupsSequence:
        del group.DerivationImageSequence
    mask = structures_of_study([made], image).structures[0].mask
    truth = np.stack([np.linalg.norm(plane.points() - centre, axis=-1) <= radius for plane in planes])
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.95
    elsewhere = deepcopy(made)
    elsewhere.FrameOfReferenceUID = "2.25.1"
    assert structures_of_study([elsewhere], image).structures == ()


def test_on_a_models_grid_a_structure_lies_where_the_image_shows_it(templates: Templates) -> None:
    """The lit half of a radiograph with anisotropic pixels is the structure: grid and tensor agree."""
    pixels = np.zeros((90, 60))
    pixels[20:70, 5:35] = 4000
    image = image_of([synthetic.radiograph(pixels, modality="DX", spacing=(0.2, 0.1))])
    made = ours(image, {"heart": pixels[None] > 0}, templates)
    given = to_model(image, InputSpec(name="x", shape=(64, 64)))
    (only,) = structures_on_grid(structures_of_study([made], image).structures, image, given.grid)
    np.testing.assert_array_equal(only.mask, given.tensor[0, 0] >= 0.5)


def test_on_a_volumes_grid_a_structure_lies_where_the_image_shows_it(templates: Templates) -> None:
    planes = synthetic.stack(12, (48, 56), spacing=(0.9, 0.7), distance=3, tilt=15, rotation=(5, 3, 2))
    image = image_of(synthetic.slices(synthetic.volume_of(planes, synthetic.ball((3, -4, 0), 9)), planes))
    made = ours(image, {"heart": image.modality > -350}, templates)
    spec = InputSpec(
        name="x",
        layout="NCDHW",
        kind="volume",
        shape=(16, 40, 40),
        spacing=(2.5, 1.0, 1.0),
        intensity={"source": "modality", "window": [-350, 1300]},
    )
    given = to_model(image, spec)
    (only,) = structures_on_grid(structures_of_study([made], image).structures, image, given.grid)
    shown = given.tensor[0, 0] >= 0.5
    assert 2 * (only.mask & shown).sum() / (only.mask.sum() + shown.sum()) > 0.93


def test_damaged_pixel_data_is_refused_by_the_uid_of_the_segmentation(templates: Templates) -> None:
    image = image_named("DX, Japanese")
    made = ours(image, {"heart": spot(image, 1)}, templates)
    made.PixelData = made.PixelData[:10]
    study_structures = structures_of_study([made], image)
    assert study_structures.structures == ()
    assert study_structures.refusals[0].sop_instance_uids == (str(made.SOPInstanceUID),)
