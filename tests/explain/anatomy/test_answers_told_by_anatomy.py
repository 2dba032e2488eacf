"""A planted region is found by all methods; attention elsewhere is flagged; refusals name what is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from explain.anatomy.planted_anatomy import (
    IN_HEART,
    IN_LEFT_LUNG,
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
from whyray.base.errors import ArtefactMissing, ConfigError, ExplanationError, NotFound, PackageError
from whyray.explain import Context, Heatmap, PriorExplanation, RegionShares, Structure, explain, method_named, why_not
from whyray.explain.anatomy import (
    ALLOWED,
    allowed_in,
    allowed_mask,
    anatomy_in,
    marked,
    partition,
    shares,
    structure,
    with_zones,
)
from whyray.explain.anatomy.structures import without_notches
from whyray.inference import Model
from whyray.packages import TargetSpec

METHODS = ("region-shares", "region-occlusion", "region-shapley")


@pytest.fixture
def model(tmp_path: Path) -> Model:
    anatomy_package(tmp_path)
    return detector(tmp_path)


def told(model: Model, image: np.ndarray, method: str, **more: object) -> RegionShares:
    explanation = explain(model, image, target=BRIGHT, method=method, **more)
    assert isinstance(explanation, RegionShares)
    return explanation


def share_of(explanation: RegionShares, name: str) -> float:
    return sum(region.share for region in explanation.regions if region.structure.name == name)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("place", "zone", "whole"),
    [(IN_RIGHT_LUNG, "right upper zone", "right lung"), (IN_LEFT_LUNG, "left lower zone", "left lung")],
)
def test_the_planted_region_has_all_of_the_answer(model: Model, method: str, place, zone: str, whole: str) -> None:
    for zones, name in ((True, zone), (False, whole)):
        explanation = told(model, lit(place), method, zones=zones)
        assert explanation.regions[0].structure.name == name
        assert explanation.regions[0].share == pytest.approx(1.0, abs=1e-3)
        assert not explanation.flagged


@pytest.mark.parametrize("method", METHODS)
def test_shares_and_what_lies_outside_sum_to_one(model: Model, method: str) -> None:
    explanation = told(model, lit(IN_RIGHT_LUNG, IN_HEART, OUTSIDE), method)
    assert sum(region.share for region in explanation.regions) + explanation.outside == pytest.approx(1.0, abs=1e-6)
    assert explanation.outside > 0.1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", [OUTSIDE, IN_HEART])
def test_a_model_that_looks_where_the_finding_is_not_looked_for_is_flagged(model: Model, method: str, place) -> None:
    explanation = told(model, lit(place), method)
    assert explanation.flagged
    assert explanation.evidence["allowed_share"] < 0.5


@pytest.mark.parametrize("method", ["region-occlusion", "region-shapley"])
def test_of_the_pleura_nothing_is_said_where_structures_have_no_margin(tmp_path: Path, method: str) -> None:
    anatomy_package(tmp_path)
    explanation = told(detector(tmp_path, anatomy=("3120008", "Pleura")), lit(OUTSIDE), method)
    assert not explanation.flagged
    assert "allowed_share" not in explanation.evidence


@pytest.mark.parametrize("method", METHODS)
def test_without_a_prior_nothing_is_flagged(tmp_path: Path, method: str) -> None:
    anatomy_package(tmp_path)
    for number, anatomy in enumerate((None, ("71341001", "Femur"))):
        explanation = told(detector(tmp_path, anatomy=anatomy, name=f"planted-{number}"), lit(OUTSIDE), method)
        assert not explanation.flagged
        assert {region.structure.allowed for region in explanation.regions} == {None}


def test_the_narrowed_map_is_zero_where_the_finding_is_not_looked_for_and_says_what_it_took(model: Model) -> None:
    image = lit(IN_RIGHT_LUNG, OUTSIDE)
    whole = explain(model, image, target=BRIGHT, method="grad-cam")
    heatmap = explain(model, image, target=BRIGHT, method="anatomy-constrained")
    assert isinstance(heatmap, Heatmap)
    assert heatmap.values[OUTSIDE].max() == 0
    np.testing.assert_array_equal(heatmap.values[IN_RIGHT_LUNG], whole.values[IN_RIGHT_LUNG])
    assert heatmap.evidence["share_kept"] == pytest.approx(0.5, abs=0.01)


def test_a_map_of_which_the_prior_leaves_next_to_nothing_is_not_narrowed_but_refused(model: Model) -> None:
    with pytest.raises(ExplanationError, match="only 0% of the map by grad-cam"):
        explain(model, lit(OUTSIDE), target=BRIGHT, method="anatomy-constrained")


def test_a_map_that_was_made_before_is_told_and_not_made_again(model: Model) -> None:
    image = lit(IN_RIGHT_LUNG)
    values = np.zeros((SIZE, SIZE), np.float32)
    values[IN_HEART] = 1
    made = Heatmap(values, BRIGHT, "rise", signed=False, unit="logit")
    explanation = told(model, image, "region-shares", context=Context(made=(PriorExplanation(made, "green", False),)))
    assert (explanation.of, explanation.regions[0].structure.name) == ("rise", "heart")
    withheld = told(model, image, "region-shares", context=Context(made=(PriorExplanation(made, "red", True),)))
    assert (withheld.of, withheld.regions[0].structure.name) == ("grad-cam", "right upper zone")


def test_the_map_that_is_named_is_told_whatever_other_map_was_made_before(model: Model) -> None:
    values = np.zeros((SIZE, SIZE), np.float32)
    values[IN_HEART] = 1
    made = Context(
        made=(PriorExplanation(Heatmap(values, BRIGHT, "rise", signed=False, unit="logit"), "green", False),)
    )
    explanation = told(model, lit(IN_RIGHT_LUNG), "region-shares", context=made, of="occlusion")
    assert (explanation.of, explanation.regions[0].structure.name) == ("occlusion", "right upper zone")
    narrowed = explain(
        model, lit(IN_RIGHT_LUNG), target=BRIGHT, method="anatomy-constrained", context=made, of="grad-cam"
    )
    assert isinstance(narrowed, Heatmap)
    assert narrowed.parameters["of"] == "grad-cam"
    assert narrowed.values[IN_RIGHT_LUNG].max() > 0


def test_a_narrowed_map_says_of_which_map_it_is_where_the_choice_was_left_to_it(model: Model) -> None:
    heatmap = explain(model, lit(IN_RIGHT_LUNG, OUTSIDE), target=BRIGHT, method="anatomy-constrained")
    assert isinstance(heatmap, Heatmap)
    assert heatmap.parameters["of"] == "grad-cam"
    assert heatmap.evidence["share_kept"] + heatmap.evidence["share_cut"] == pytest.approx(1)


def test_of_a_signed_map_only_what_speaks_for_the_target_is_shared_out(model: Model) -> None:
    values = np.zeros((SIZE, SIZE), np.float32)
    values[IN_HEART], values[IN_LEFT_LUNG] = 1, -5
    made = Heatmap(values, BRIGHT, "occlusion", signed=True, unit="logit")
    explanation = told(
        model, lit(IN_RIGHT_LUNG), "region-shares", context=Context(made=(PriorExplanation(made, "green", False),))
    )
    assert share_of(explanation, "heart") == pytest.approx(1)
    assert share_of(explanation, "left lower zone") == 0


def test_a_map_of_nothing_is_refused(model: Model) -> None:
    made = PriorExplanation(Heatmap(np.zeros((SIZE, SIZE), np.float32), BRIGHT, "rise", False, "logit"), "amber", False)
    with pytest.raises(ExplanationError, match="nothing in the map by rise"):
        told(model, lit(IN_RIGHT_LUNG), "region-shares", context=Context(made=(made,)))


def test_structures_of_the_study_come_before_the_companion(model: Model) -> None:
    code = CodedConcept(value="T-28000", scheme="SRT", meaning="Lung")
    side = CodedConcept(value="G-A101", scheme="SRT", meaning="Left")
    own = structure("drawn by hand", mask_of("heart"), code, side)
    assert own.code is not None
    assert own.code.value == "44029006"
    explanation = told(model, lit(IN_HEART), "region-occlusion", context=Context(structures=(own,)))
    assert [region.structure.name for region in explanation.regions] == ["drawn by hand"]
    assert explanation.regions[0].share == pytest.approx(1)
    assert not explanation.flagged
    assert explanation.parameters["anatomy_from"] == "Segmentation of the study"


def test_padding_belongs_to_no_structure_and_counts_as_outside(model: Model) -> None:
    valid = np.zeros((SIZE, SIZE), bool)
    valid[:, :32] = True
    explanation = told(model, lit(IN_RIGHT_LUNG, IN_LEFT_LUNG), "region-shares", context=Context(valid=valid))
    assert explanation.outside == pytest.approx(0.5, abs=0.01)
    right = sum(region.area for region in explanation.regions if region.structure.name.startswith("right"))
    assert right == pytest.approx(mask_of("right lung").sum() / valid.sum())


def test_a_companion_on_a_finer_grid_gives_the_same_structures(tmp_path: Path) -> None:
    anatomy_package(tmp_path, size=128)
    structures = anatomy_in(detector(tmp_path), lit(IN_HEART))
    assert [organ.name for organ in structures] == ["right lung", "left lung", "heart"]
    for organ in structures:
        np.testing.assert_array_equal(organ.mask, mask_of(organ.name))


@pytest.mark.parametrize("method", [*METHODS, "anatomy-constrained"])
def test_what_is_missing_is_named_at_configuration_time(tmp_path: Path, method: str) -> None:
    bare = detector(tmp_path, companion=None, name="bare")
    refusal = why_not(method_named(method), bare)
    assert isinstance(refusal, ArtefactMissing)
    assert "companions.anatomy" in refusal.advice
    absent = detector(tmp_path, companion="no-such-package", name="absent")
    assert isinstance(why_not(method_named(method), absent), NotFound)
    wrong = detector(tmp_path, companion=str(tmp_path / "bare" / "1.0.0"), name="wrong")
    assert isinstance(why_not(method_named(method), wrong), PackageError)
    assert why_not(method_named(method), bare, {"anatomy": "planted-anatomy"}) is None


def test_a_package_that_relies_on_the_studys_segmentation_says_so_where_there_is_none(tmp_path: Path) -> None:
    model = detector(tmp_path, companion="study")
    assert why_not(method_named("region-shares"), model) is None
    with pytest.raises(ArtefactMissing, match="Segmentation of anatomy in the study"):
        told(model, lit(IN_HEART), "region-shares")
    own = structure("heart", mask_of("heart"), CodedConcept(value="80891009", scheme="SCT", meaning="Heart"))
    context = Context(structures=(own,))
    assert told(model, lit(IN_HEART), "region-shares", context=context).regions[0].structure.name == "heart"


def test_no_anatomy_in_the_image_is_refused_by_name(tmp_path: Path) -> None:
    anatomy_package(tmp_path, empty=True)
    model = detector(tmp_path)
    for method in METHODS:
        with pytest.raises(ExplanationError, match="no anatomy found"):
            told(model, lit(IN_HEART), method)
    assert allowed_in(model, lit(IN_HEART), BRIGHT) is None


def test_a_prior_that_bears_on_no_structure_narrows_nothing(tmp_path: Path) -> None:
    anatomy_package(tmp_path)
    model = detector(tmp_path, anatomy=("71341001", "Femur"))
    with pytest.raises(ExplanationError, match="Femur"):
        explain(model, lit(IN_HEART), target=BRIGHT, method="anatomy-constrained")


def test_only_an_attribution_map_can_be_told(model: Model) -> None:
    with pytest.raises(ConfigError, match="gives no heatmap"):
        told(model, lit(IN_HEART), "region-shares", of="region-occlusion")


def test_a_segmentation_package_is_explained_by_its_own_segments(tmp_path: Path) -> None:
    from whyray.inference import load_package

    own = load_package(anatomy_package(tmp_path))
    assert why_not(method_named("region-occlusion"), own) is None
    explanation = explain(own, lit(IN_HEART), target="heart", method="region-occlusion")
    assert isinstance(explanation, RegionShares)
    assert {region.structure.name for region in explanation.regions} == {"right lung", "left lung", "heart"}


def test_a_finding_of_the_pleura_may_lie_at_the_rim_of_a_lung_and_one_of_the_heart_not() -> None:
    lungs = [_coded(name) for name in ("right lung", "left lung", "heart")]
    pleura, heart = (_target(code) for code in ("3120008", "80891009"))
    rim = (45, 60)  # the left lung ends at column 57
    inside = allowed_mask(lungs, pleura)
    assert inside is not None
    assert inside[rim]
    assert not inside[2, 32]
    allowed = {organ.name: organ.allowed for organ in marked(lungs, heart)}
    assert allowed == {"right lung": False, "left lung": False, "heart": True}


def test_every_rule_of_the_table_names_codes_of_the_table() -> None:
    for code, rule in ALLOWED.items():
        assert rule.structures
        assert code in rule.structures or rule.because or code in {"46750007", "955009", "51185008"}


def test_zones_cut_each_lung_into_thirds_from_above() -> None:
    lungs = [_coded("right lung"), _coded("left lung"), _coded("heart")]
    zones = with_zones(lungs)
    assert [zone.name for zone in zones] == [
        *(f"right {zone} zone" for zone in ("upper", "mid", "lower")),
        *(f"left {zone} zone" for zone in ("upper", "mid", "lower")),
        "heart",
    ]
    for side, start in (("right lung", 0), ("left lung", 3)):
        parts = zones[start : start + 3]
        np.testing.assert_array_equal(sum(zone.mask.astype(int) for zone in parts), mask_of(side))
        tops = [int(np.flatnonzero(zone.mask.any(axis=1))[0]) for zone in parts]
        assert tops == sorted(tops)
    assert {zone.laterality.meaning for zone in zones[:3] if zone.laterality} == {"Right"}


masks = arrays(bool, (4, 9, 9))
weights = arrays(np.float32, (9, 9), elements=st.floats(0, 100, width=32))


@settings(max_examples=60, deadline=None)
@given(masks=masks, weight=weights, valid=arrays(bool, (9, 9)))
def test_whatever_the_structures_and_the_map_shares_never_exceed_one_and_overlaps_count_once(
    masks: np.ndarray, weight: np.ndarray, valid: np.ndarray
) -> None:
    weight[0, 0] = max(weight[0, 0], 1)
    structures = [Structure(str(number), mask) for number, mask in enumerate(masks)]
    own = partition(structures)
    assert np.sum(own, axis=0).max() <= 1
    np.testing.assert_array_equal(np.any(own, axis=0), masks.any(axis=0))
    regions = shares(weight, structures, valid)
    covered = weight[masks.any(axis=0) & valid].sum(dtype=np.float64) / weight.sum(dtype=np.float64)
    assert sum(region.share for region in regions) == pytest.approx(covered, abs=1e-9)
    assert all(0 <= region.share <= 1 + 1e-9 and 0 <= region.area <= 1 for region in regions)


@settings(max_examples=30, deadline=None)
@given(weight=weights)
def test_a_mirrored_map_over_mirrored_structures_has_the_same_shares(weight: np.ndarray) -> None:
    weight[4, 4] += 1
    mask = np.zeros((9, 9), bool)
    mask[2:7, 1:4] = True
    straight = shares(weight, [Structure("a", mask)])
    turned = shares(np.ascontiguousarray(weight[:, ::-1]), [Structure("a", mask[:, ::-1])])
    assert straight[0].share == pytest.approx(turned[0].share)


def _coded(name: str) -> Structure:
    codes = {"right lung": "3341006", "left lung": "44029006", "heart": "80891009"}
    return structure(name, mask_of(name), CodedConcept(value=codes[name], scheme="SCT", meaning=name))


def _target(code: str) -> TargetSpec:
    return TargetSpec(name="finding", anatomy=CodedConcept(value=code, scheme="SCT", meaning="place"))


def test_a_structure_without_a_code_is_neither_allowed_nor_forbidden_by_itself() -> None:
    unknown = replace(_coded("heart"), code=None)
    assert allowed_mask([unknown], _target("80891009")) is None


def test_a_notch_that_a_mass_leaves_in_a_lung_is_lung_and_the_heart_stays_the_heart() -> None:
    notched = mask_of("right lung")
    notched[30:33, 6:10] = False
    structures = [
        structure("right lung", notched, _coded("right lung").code),
        structure("heart", mask_of("heart"), _coded("heart").code),
    ]
    whole = without_notches(structures)
    assert whole[0].mask[30:33, 7:10].all()
    assert not (whole[0].mask & ~mask_of("right lung")).any()
    np.testing.assert_array_equal(whole[1].mask, mask_of("heart"))
