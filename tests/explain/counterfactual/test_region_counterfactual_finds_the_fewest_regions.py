"""region-counterfactual: the search against exhaustive search, and on a planted detector."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from planted import BRIGHT, planted_package
from whyray.base.errors import Cancelled, ExplanationError
from whyray.explain import Case, Context, Counterfactual, explain
from whyray.explain.counterfactual import Search, region_labels
from whyray.explain.counterfactual.inpaint import inpainted
from whyray.inference import Model, load_package

REGIONS = 8


def smallest(ask, level: float) -> int | None:
    """How many regions the smallest set has, by trying all."""
    for size in range(1, REGIONS + 1):
        sets = np.array(
            [np.isin(np.arange(REGIONS), combination) for combination in combinations(range(REGIONS), size)]
        )
        if (ask(sets) < level).any():
            return size
    return None


@pytest.mark.parametrize("seed", range(20))
def test_where_effects_add_up_the_set_is_smallest_within_a_few_passes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, level = rng.normal(size=REGIONS), rng.uniform(-3, -0.5)

    def ask(sets: np.ndarray) -> np.ndarray:
        return -(sets @ weights)

    outcome = Search(ask, REGIONS, start=0.0, level=level, downwards=True, budget=60).run()
    best = smallest(ask, level)
    assert outcome.flipped == (best is not None)
    if best is not None:
        assert len(outcome.order) == best
        assert outcome.irreducible
        assert list(weights[list(outcome.order)]) == sorted(weights[list(outcome.order)], reverse=True)


@pytest.mark.parametrize("seed", range(20))
def test_where_regions_act_together_what_is_said_to_be_certain_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, together, level = rng.normal(size=REGIONS), rng.normal(size=(REGIONS, REGIONS)), rng.uniform(-4, -1)
    asked = 0

    def ask(sets: np.ndarray) -> np.ndarray:
        nonlocal asked
        asked += len(sets)
        return -(sets @ weights) - np.einsum("ni,ij,nj->n", sets, together, sets)

    budget = int(rng.integers(10, 300))
    outcome = Search(ask, REGIONS, start=0.0, level=level, downwards=True, budget=budget).run()
    assert outcome.asked == asked <= budget
    best = smallest(ask, level)
    if outcome.flipped:
        own = np.isin(np.arange(REGIONS), outcome.order)
        assert ask(own[None])[0] < level
        assert best is not None
        assert outcome.certified <= best <= len(outcome.order)
        if outcome.irreducible:
            fewer = np.array([own & (np.arange(REGIONS) != region) for region in outcome.order])
            assert not (ask(fewer)[fewer.any(axis=1)] < level).any()
    elif outcome.certified > REGIONS:
        assert best is None


def test_with_budget_enough_even_regions_that_act_together_give_the_smallest_set() -> None:
    # alone 0 and 1 do nothing; together they flip; greedy growth would take 2, 3 and 4
    def ask(sets: np.ndarray) -> np.ndarray:
        return -(sets[:, 2:5] @ np.array([1.0, 1.0, 1.0])) - 3.0 * (sets[:, 0] & sets[:, 1])

    outcome = Search(ask, REGIONS, start=0.0, level=-2.5, downwards=True, budget=400).run()
    assert set(outcome.order) == {0, 1}
    assert (outcome.certified, outcome.irreducible) == (2, True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_package(planted_package(tmp_path_factory.mktemp("packages")))


def bright_spots(*corners: tuple[int, int]) -> np.ndarray:
    x = np.full((1, 1, 64, 64), 0.2, np.float32)
    for row, column in corners:
        x[..., row : row + 16, column : column + 16] = 1.0
    return x


def replaced(model: Model, x: np.ndarray, **parameters: object) -> Counterfactual:
    explanation = explain(model, x, target=BRIGHT, method="region-counterfactual", **parameters)
    assert isinstance(explanation, Counterfactual)
    return explanation


@pytest.mark.parametrize("regions", ["slic", "grid"])
@pytest.mark.parametrize("fill", ["inpaint", "mean", "zero"])
def test_without_the_planted_spot_the_answer_is_another(model: Model, regions: str, fill: str) -> None:
    x = bright_spots((16, 32))
    told = replaced(model, x, regions=regions, count=16, fill=fill)
    assert told.answer_before >= 0.5
    assert told.flipped
    assert told.answers[told.end] < 0.5
    assert told.evidence["certified"] >= told.evidence["replaced"]
    spot = x[0, 0] == 1
    assert told.changed is not None
    assert (told.changed & spot).sum() >= 0.9 * spot.sum()
    assert not told.difference[~told.changed].any()
    assert told.difference[spot & told.changed].max() < 0


def test_each_spot_is_taken_away_and_frames_show_one_step_each(model: Model) -> None:
    told = replaced(model, bright_spots((0, 0), (32, 16), (48, 48)), regions="grid", count=16, fill="zero")
    assert (told.start, told.end) == (0, 3)
    assert len(told.frames) == len(told.answers) == 4
    assert told.answers[3] < 0.5 <= min(told.answers[:3])
    for step in (1, 2, 3):  # one box of 16 x 16 more each time
        assert (told.frames[step] != told.frames[step - 1]).sum() == 256
    assert not told.synthetic  # no decoder: the first frame is the image itself
    np.testing.assert_array_equal(told.frames[0], bright_spots((0, 0), (32, 16), (48, 48))[0, 0])


def test_an_answer_below_the_threshold_is_not_flipped_where_replacing_can_only_take_away(model: Model) -> None:
    told = replaced(model, bright_spots()[..., :64, :], regions="grid", count=16)
    assert told.answer_before < 0.5
    assert not told.flipped


def test_padding_is_never_replaced(model: Model) -> None:
    valid = np.ones((64, 64), bool)
    valid[:, :20] = False
    x = bright_spots((16, 32))
    told = explain(
        model, x, target=BRIGHT, method="region-counterfactual", context=Context(valid=valid), regions="grid", count=64
    )
    assert isinstance(told, Counterfactual)
    assert told.changed is not None
    assert not told.changed[~valid].any()
    case = Case(model, x, [0], context=Context(valid=valid))
    labels = region_labels(case, "slic", 32, 0.1)
    assert (labels[~valid] == -1).all()
    assert set(np.unique(labels[valid])) == set(range(labels.max() + 1))


def test_supervoxels_of_a_volume_are_replaced_too(tmp_path: Path) -> None:
    model = load_package(planted_package(tmp_path, kind="volume", shape=(16, 16, 16)))
    x = np.full((1, 1, 16, 16, 16), 0.2, np.float32)
    x[..., 4:12, 8:16, 0:8] = 1.0
    told = replaced(model, x, count=27)
    assert told.flipped
    assert told.frames.shape[1:] == (16, 16, 16)


def test_one_region_is_too_few(model: Model) -> None:
    case = Case(model, bright_spots(), [0], context=Context(valid=np.zeros((64, 64), bool)))
    with pytest.raises(ExplanationError, match="two at least"):
        region_labels(case, "grid", 16, 0.1)


def test_cancelling_ends_the_search(model: Model) -> None:
    told: list[tuple[int, int]] = []

    def cancel(done: int, total: int, _: str) -> None:
        told.append((done, total))
        if done > 20:
            raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        explain(model, bright_spots((0, 0), (32, 32)), target=BRIGHT, method="region-counterfactual", progress=cancel)
    assert all(done <= total for done, total in told)


def test_a_hole_is_filled_from_around_it_and_nothing_else_changes() -> None:
    ramp = np.linspace(0, 1, 37, dtype=np.float32)[None, None].repeat(29, axis=1)
    x = ramp.copy()
    hole = np.zeros((29, 37), bool)
    hole[8:20, 10:24] = True
    x[:, hole] = 9.0
    filled = inpainted(x, hole)
    np.testing.assert_array_equal(filled[:, ~hole], x[:, ~hole])
    assert np.abs(filled - ramp)[:, hole].max() < 0.12
    assert filled[:, hole].max() <= 1.0


def test_an_image_that_is_all_hole_becomes_its_mean() -> None:
    x = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    np.testing.assert_allclose(inpainted(x, np.ones((3, 4), bool)), np.full((1, 3, 4), 5.5))
