"""Cards of explanations by anatomy: a right one is green, wrong sums and absent anatomy withhold, attention is told."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from explain.anatomy.planted_anatomy import (
    IN_HEART,
    IN_RIGHT_LUNG,
    OUTSIDE,
    SIZE,
    anatomy_package,
    detector,
    lit,
    mask_of,
)
from planted import BRIGHT
from whyray.base.coded_concept import CodedConcept
from whyray.explain import Context, Counterfactual, Heatmap, RegionShares, Structure, explain
from whyray.explain.anatomy import allowed_in
from whyray.inference import Model
from whyray.quality import Budget, Grade, Measurement, QualityCard, assess, assess_typed
from whyray.quality.anatomy import alike, random_region

METHODS = ("region-shares", "region-occlusion", "region-shapley")


@pytest.fixture
def model(tmp_path: Path) -> Model:
    anatomy_package(tmp_path)
    return detector(tmp_path)


def told(model: Model, image: np.ndarray, method: str, **more: object) -> RegionShares:
    explanation = explain(model, image, target=BRIGHT, method=method, **more)
    assert isinstance(explanation, RegionShares)
    return explanation


def carded(model: Model, image: np.ndarray, explanation: RegionShares) -> QualityCard:
    return assess_typed(model, image, explanation, context=Context(), budget=Budget(forwards=300))


def named(card: QualityCard, name: str) -> Measurement:
    return next(measurement for measurement in card.measurements if measurement.name == name)


@pytest.mark.parametrize("method", METHODS)
def test_a_right_explanation_is_not_withheld_and_its_first_structure_beats_random_regions(
    model: Model, method: str
) -> None:
    image = lit(IN_RIGHT_LUNG)
    card = carded(model, image, told(model, image, method, zones=False))
    assert not card.withheld
    assert named(card, "sum of shares").value == pytest.approx(0, abs=1e-6)
    first = named(card, "effect of the first structure")
    assert first.grade is Grade.GREEN
    assert first.baseline is not None
    assert first.value > first.baseline
    assert named(card, "share inside anatomy").grade is Grade.GREEN
    assert named(card, "stability under noise").grade is Grade.GREEN


@pytest.mark.parametrize("method", METHODS)
def test_attention_elsewhere_is_told_and_withholds_nothing_by_itself(model: Model, method: str) -> None:
    image = lit(OUTSIDE)
    card = carded(model, image, told(model, image, method))
    inside = named(card, "share inside anatomy")
    assert (inside.aspect, inside.grade) == ("anatomy", Grade.AMBER)
    assert card.grade is not Grade.GREEN


def test_shares_that_do_not_sum_to_one_are_withheld(model: Model) -> None:
    image = lit(IN_RIGHT_LUNG)
    right = told(model, image, "region-occlusion")
    card = carded(model, image, replace(right, outside=right.outside + 0.01))
    assert named(card, "sum of shares").grade is Grade.RED
    assert card.withheld


def test_a_gap_of_efficiency_is_withheld(model: Model) -> None:
    image = lit(IN_RIGHT_LUNG)
    right = told(model, image, "region-shapley")
    card = carded(model, image, replace(right, evidence={**right.evidence, "efficiency_gap": 0.002}))
    assert named(card, "efficiency gap").grade is Grade.RED
    assert card.withheld


def test_lungs_on_the_wrong_sides_are_no_anatomy(tmp_path: Path) -> None:
    anatomy_package(tmp_path, swapped=True)
    model = detector(tmp_path)
    image = lit(IN_RIGHT_LUNG)
    measurement = named(carded(model, image, told(model, image, "region-occlusion")), "anatomy found")
    assert measurement.grade is Grade.AMBER
    assert "to the right of the left one" in measurement.rule


def test_structures_of_impossible_size_are_no_anatomy_and_withhold(model: Model) -> None:
    image = lit(IN_RIGHT_LUNG)
    tiny = np.zeros((SIZE, SIZE), bool)
    tiny[14:20, 10:16] = True
    code = CodedConcept(value="80891009", scheme="SCT", meaning="Heart")
    context = Context(structures=(Structure("heart", tiny, code),))
    card = carded(model, image, told(model, image, "region-occlusion", context=context))
    assert named(card, "anatomy found").grade is Grade.RED
    assert card.withheld


def test_a_structure_that_does_less_than_chance_is_withheld_where_a_map_named_it(model: Model) -> None:
    image = lit(IN_RIGHT_LUNG, OUTSIDE)
    right = told(model, image, "region-shares", zones=False)
    lying = [region for region in right.regions if region.structure.name == "left lung"]
    rest = [region for region in right.regions if region.structure.name != "left lung"]
    lie = replace(
        right, regions=(replace(lying[0], share=1.0), *(replace(region, share=0.0) for region in rest)), outside=0.0
    )
    first = named(carded(model, image, lie), "effect of the first structure")
    assert first.grade in (Grade.RED, Grade.AMBER)
    assert first.value <= (first.baseline or 0)


def test_a_heatmaps_card_tells_how_much_of_it_lies_where_the_finding_is_looked_for(model: Model) -> None:
    for place, grade in ((IN_RIGHT_LUNG, Grade.GREEN), (IN_HEART, Grade.RED), (OUTSIDE, Grade.RED)):
        image = lit(place)
        heatmap = explain(model, image, target=BRIGHT, method="grad-cam")
        assert isinstance(heatmap, Heatmap)
        allowed = allowed_in(model, image, BRIGHT)
        assert allowed is not None
        card = assess(model, image, heatmap, allowed=allowed)
        inside = named(card, "share inside anatomy")
        assert (inside.grade, inside.aspect) == (grade, "anatomy")
        assert card.withheld is (grade is Grade.RED)
        assert named(card, "strongest place inside anatomy").grade is grade
        assert inside.baseline == pytest.approx(allowed.mean())
        assert "share inside anatomy" not in {
            measurement.name for measurement in assess(model, image, heatmap).measurements
        }


@pytest.mark.parametrize(("place", "grade"), [(IN_RIGHT_LUNG, Grade.GREEN), (OUTSIDE, Grade.AMBER)])
def test_a_counterfactuals_card_tells_whether_what_it_changes_lies_where_the_finding_is_looked_for(
    model: Model, place: tuple[slice, slice], grade: Grade
) -> None:
    image = lit(place)
    changed = explain(model, image, target=BRIGHT, method="region-counterfactual", fill="mean", regions="grid")
    assert isinstance(changed, Counterfactual)
    card = assess_typed(model, image, changed, context=Context(), budget=Budget(forwards=300))
    inside = named(card, "change inside anatomy")
    assert (inside.grade, inside.aspect) == (grade, "anatomy")
    assert card.answers["place"] is grade


def test_a_narrowed_map_is_judged_by_what_the_prior_took_from_it(model: Model) -> None:
    image = lit(IN_RIGHT_LUNG, OUTSIDE, IN_HEART)
    heatmap = explain(model, image, target=BRIGHT, method="anatomy-constrained")
    assert isinstance(heatmap, Heatmap)
    inside = named(assess(model, image, heatmap, allowed=allowed_in(model, image, BRIGHT)), "share inside anatomy")
    assert inside.value == pytest.approx(heatmap.evidence["share_kept"])
    assert inside.grade is Grade.RED


def test_random_regions_have_the_area_asked_for_and_lie_in_the_image() -> None:
    image = np.zeros((40, 50), bool)
    image[5:35, 8:44] = True
    regions = [random_region(image, 137, np.random.default_rng(seed)) for seed in range(5)]
    for region in regions:
        assert region.sum() == 137
        assert not (region & ~image).any()
    assert len({region.tobytes() for region in regions}) == 5


@pytest.mark.parametrize("shape", [(40, 50), (33, 64), (9, 12, 15)])
def test_random_regions_are_where_a_smoothed_field_is_largest(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(1).random(shape) > 0.2
    field = np.random.default_rng(2).standard_normal(shape)
    field = ndimage.gaussian_filter(field, [size / 10 for size in shape], mode="wrap")
    field[~image] = -np.inf
    wanted = field >= np.sort(field.ravel())[-137]
    np.testing.assert_array_equal(random_region(image, 137, np.random.default_rng(2)), wanted)


ALIKE_IN_A_PROCESS = """
import numpy as np
from whyray.explain import RegionShare, RegionShares, Structure
from whyray.quality.anatomy import alike

def told(shares):
    zones = [Structure(f"zone {at}", np.ones((1, 1), bool)) for at in range(len(shares))]
    regions = [RegionShare(zone, share, 0.1) for zone, share in zip(zones, shares)]
    return RegionShares(target="mass", method="region-shares", unit="share", regions=tuple(regions), outside=0.1)

random = np.random.default_rng(0)
print([alike(told(random.random(9)), told(random.random(9))) for _ in range(20)])
"""


def test_shares_are_as_alike_in_one_process_as_in_another_to_the_last_bit() -> None:
    """Each process of Python goes through a set of names in an order of its own."""
    said = {
        subprocess.run(
            [sys.executable, "-c", ALIKE_IN_A_PROCESS],
            env=os.environ | {"PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "7", "8")
    }
    assert len(said) == 1


def test_the_same_shares_are_alike_and_disjoint_ones_are_not(model: Model) -> None:
    one = told(model, lit(IN_RIGHT_LUNG), "region-shares", zones=False)
    other = told(model, lit(IN_HEART), "region-shares", zones=False)
    assert alike(one, one) == pytest.approx(1)
    assert alike(one, other) == pytest.approx(0, abs=0.02)
    assert mask_of("heart").any()
