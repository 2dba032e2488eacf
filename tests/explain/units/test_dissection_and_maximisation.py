"""Network dissection finds the planted detectors and no others; pictures made for a unit excite it."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from explain.units import detectors
from whyray.base.errors import PackageError
from whyray.inference import AxisPlacement, MapPlacement, Model
from whyray.onboarding import Recipe, UnitImage, UnitSurveyOptions, dissect, maximise, survey_units, thresholds
from whyray.onboarding.network_dissection import at_resolution, keep_top
from whyray.onboarding.unit_survey import _cut


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return detectors.load(detectors.package(tmp_path_factory.mktemp("units")))


def survey(model: Model, images: list[UnitImage], **wanted: object):  # type: ignore[no-untyped-def]
    return survey_units(
        model,
        images,
        "features",
        wanted=UnitSurveyOptions(resolution=32, **wanted),  # type: ignore[arg-type]
        source="made by the test",
        licence="none",
        made=date(2026, 1, 2),
        synthetic=False,
        rng=np.random.default_rng(0),
    )


def test_the_bright_unit_detects_blobs_and_the_dark_one_nothing(model: Model) -> None:
    artefact = survey(model, detectors.references())
    concepts = artefact.facts.details["concepts"]
    assert concepts == ["blob", "elsewhere"]
    assert concepts[artefact.arrays["concept"][0]] == "blob"
    assert artefact.arrays["concept"][1] == -1
    assert artefact.arrays["iou"][0] > 4 * artefact.arrays["chance"][0]


def test_no_unit_detects_masks_that_lie_anywhere(model: Model) -> None:
    given = detectors.references(40)
    images = [UnitImage(reference.x, None, masks={"elsewhere": reference.masks["elsewhere"]}) for reference in given]
    artefact = survey(model, images)
    assert (artefact.arrays["concept"] == -1).all()


def test_a_unit_that_fires_in_one_place_for_all_images_detects_nothing_that_moves() -> None:
    """The prior of a place is no detection: masks of other images would fit as well."""
    rng = np.random.default_rng(3)
    masks = np.zeros((30, 1, 16, 16), bool)
    for mask in masks[:, 0]:
        row, column = rng.integers(2, 10, 2)
        mask[row : row + 5, column : column + 5] = True
    fixed = np.zeros((1, 16, 16), np.float32)
    fixed[0, 5:10, 5:10] = 1
    layers = [fixed + rng.random(fixed.shape, np.float32) * 0.01 for _ in masks]
    following = [mask.astype(np.float32)[:1] + 0.0 for mask in masks]
    annotated = np.ones((30, 1), bool)
    both = [np.concatenate(pair) for pair in zip(layers, following, strict=True)]
    dissection = dissect(both, np.array([0.5, 0.5], np.float32), masks, annotated, np.random.default_rng(0))
    assert dissection.concept.tolist()[1] == 0
    assert dissection.iou[1] == pytest.approx(1.0)
    assert dissection.chance[0] == pytest.approx(dissection.iou[0], abs=1e-6)
    assert dissection.concept.tolist()[0] == -1


def test_images_that_nobody_annotated_do_not_count() -> None:
    masks = np.zeros((6, 1, 8, 8), bool)
    masks[:3, 0, :4] = True
    annotated = np.array([[True]] * 3 + [[False]] * 3)
    layers = [mask.astype(np.float32) for mask in masks[:3]] + [np.ones((1, 8, 8), np.float32)] * 3
    dissection = dissect(layers, np.array([0.5], np.float32), masks, annotated, np.random.default_rng(0))
    assert dissection.iou[0] == pytest.approx(1.0)


def test_the_level_is_the_quantile_of_all_places_together() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 4000)).astype(np.float32)
    tops = None
    for part in np.split(values, 8, axis=1):
        tops = keep_top(tops, part, 20)
    np.testing.assert_allclose(thresholds(tops, values.mean(axis=1)), np.sort(values, axis=1)[:, -20])


def test_a_unit_that_is_always_silent_fires_nowhere() -> None:
    level = thresholds(np.zeros((1, 20), np.float32), np.zeros(1))
    assert level[0] > 0


def test_a_small_mask_does_not_vanish_on_a_coarse_grid() -> None:
    mask = np.zeros((30, 30), bool)
    mask[7, 8] = True
    small = next(at_resolution([mask], 10))
    assert small.sum() == 1
    assert small[2, 2]


def test_pictures_made_for_a_unit_excite_it_more_than_every_reference(model: Model) -> None:
    images = detectors.references(8)
    made = maximise(model, "features", [0, 2], Recipe(steps=40, jitter=2), np.random.default_rng(0))
    for maximised in made:
        highest = max(float(model.session.run(image.x).features[0, maximised.unit].mean()) for image in images)
        assert maximised.reached.min() > highest
        assert maximised.reached.min() > maximised.start.max()
        assert maximised.pictures.min() >= 0
        assert maximised.pictures.max() <= 1


def test_smoothness_is_paid_for(model: Model) -> None:
    def rough(variation: float) -> float:
        recipe = Recipe(steps=30, jitter=2, seeds=1, variation=variation)
        picture = maximise(model, "features", [2], recipe, np.random.default_rng(0))[0].pictures[0]
        return float(np.abs(np.diff(picture, axis=0)).mean())

    assert rough(40.0) < rough(0.0)


def test_the_same_images_give_the_same_artefact(model: Model) -> None:
    one, two = (survey(model, detectors.references(10), maximise=1, recipe=Recipe(steps=3)) for _ in range(2))
    assert one.facts == two.facts
    assert one.arrays.keys() == two.arrays.keys()
    for name, values in one.arrays.items():
        np.testing.assert_array_equal(values, two.arrays[name])


def test_a_patch_is_cut_around_the_place_of_the_highest_activation() -> None:
    picture = np.zeros((56, 56), np.float32)
    picture[25, 41] = 1
    everywhere = MapPlacement((None, None))
    cut = _cut(picture, place=6 * 14 + 10, grid=(14, 14), placement=everywhere)
    row, column = np.unravel_index(cut.argmax(), cut.shape)
    assert abs(row - len(cut) / 2) <= 2
    assert abs(column - len(cut) / 2) <= 2
    volume = np.zeros((4, 56, 56), np.float32)
    volume[3] = picture
    whole = MapPlacement((None, None, None))
    np.testing.assert_array_equal(_cut(volume, 3 * 196 + 6 * 14 + 10, (4, 14, 14), whole), cut)
    # cells that lie one of them further up and to the left
    before = MapPlacement((AxisPlacement(-1 / 14, 1 / 14), AxisPlacement(-1 / 14, 1 / 14)))
    np.testing.assert_array_equal(_cut(picture, place=7 * 14 + 11, grid=(14, 14), placement=before), cut)


def test_no_patch_is_kept_where_none_may_be_cut(model: Model) -> None:
    images = [UnitImage(reference.x, None) for reference in detectors.references(10)]
    assert "patches" not in survey(model, images).arrays


def test_too_few_images_are_refused(model: Model) -> None:
    with pytest.raises(PackageError, match="8 images"):
        survey(model, detectors.references(3))


def test_masks_of_another_shape_are_refused(model: Model, tmp_path: Path) -> None:
    images = [
        UnitImage(reference.x, None, masks={"blob": np.ones((4, 4), bool)}) for reference in detectors.references(8)
    ]
    with pytest.raises(PackageError, match="mask of blob"):
        survey(model, images)
