from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference import nets
from whyray.base.errors import Cancelled
from whyray.explain import explain, explained_image
from whyray.quality import Budget, Grade, assess, robustness, salient_region


@pytest.mark.parametrize(("name", "most"), [("plain", 100), ("unet", 100), ("plain-3d", 36), ("unet-3d", 36)])
def test_a_card_costs_no_more_forward_passes_than_its_budget_and_says_how_many(name: str, most: int) -> None:
    model, x = nets.loaded(name), nets.image(name).numpy()
    model.session.batchable(np.concatenate([x, x, x]))
    heatmap = explain(model, x, target="all", method="layer-cam")[0]
    image = explained_image(model, x)
    assert image.run.logits.any()
    before = model.session.forwards
    card = assess(model, image, heatmap)
    assert card.forwards <= most
    assert model.session.forwards - before <= card.forwards


def test_the_second_card_of_an_image_shares_the_random_orders_of_the_first() -> None:
    model, x = nets.loaded("plain"), nets.image("plain").numpy()
    image = explained_image(model, x)
    maps = explain(model, image, target="all", method="layer-cam")
    first, second = (assess(model, image, heatmap) for heatmap in maps[:2])
    assert second.forwards < first.forwards / 4


def test_the_cards_of_an_image_share_its_changed_copies_and_are_those_that_each_alone_would_get() -> None:
    model, x = nets.loaded("plain"), nets.image("plain").numpy()
    image = explained_image(model, x)
    maps = explain(model, image, target="all", method="layer-cam")
    alone = [assess(model, explained_image(model, x), heatmap, others=maps) for heatmap in maps[:2]]
    assess(model, image, maps[0], others=maps)
    before = model.session.forwards
    second = assess(model, image, maps[1], others=maps)
    assert model.session.forwards - before == 2 * (Budget().steps - 1), "those of its own two curves and no others"
    assert [measurement.value for measurement in second.measurements] == [
        measurement.value for measurement in alone[1].measurements
    ]


def test_the_cards_of_an_image_share_the_map_of_a_rival_that_nobody_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = nets.loaded("plain"), nets.image("plain").numpy()
    image = explained_image(model, x)
    maps = explain(model, image, target="all", method="layer-cam")
    strongest = model.targets[int(np.argmax(model.answer(image.run.logits)[0]))]
    asked = [heatmap for heatmap in maps if heatmap.target != strongest][:2]
    alone = [assess(model, explained_image(model, x), heatmap) for heatmap in asked]
    made, heatmaps = [], robustness.heatmaps

    def counted(*arguments: Any, **options: Any) -> Any:
        made.extend(options["target"])
        return heatmaps(*arguments, **options)

    monkeypatch.setattr(robustness, "heatmaps", counted)
    cards = [assess(model, image, heatmap) for heatmap in asked]
    assert made.count(strongest) == 1
    values = [[measurement.value for measurement in card.measurements] for card in (*cards, *alone)]
    assert values[:2] == values[2:]


def test_the_same_seed_gives_the_same_card() -> None:
    x = nets.image("unet").numpy()
    cards = []
    for _ in range(2):
        model = nets.loaded("unet")
        heatmap = explain(model, x, target="all", method="rise", masks=30)[0]
        cards.append(assess(model, x, heatmap, seed=3))
    assert cards[0] == cards[1]


@pytest.mark.parametrize("name", ["plain", "unet"])
def test_a_card_is_the_same_whatever_the_loaded_model_was_asked_before(name: str) -> None:
    """UIDs of results follow from it: a job that is done again, by a process that did others before, makes the same."""
    model, x = nets.loaded(name), nets.image(name).numpy()
    heatmap = explain(model, x, target="all", method="layer-cam")[0]
    cards = [assess(model, explained_image(model, x), heatmap, seed=3) for _ in range(2)]
    assert cards[0] == cards[1]


def test_a_card_can_be_cancelled_between_batches() -> None:
    model, x = nets.loaded("plain"), nets.image("plain").numpy()
    heatmap = explain(model, x, target="one", method="layer-cam")

    def stop(done: int, total: int, words: str) -> None:
        if done:
            raise Cancelled("by the test")

    with pytest.raises(Cancelled):
        assess(model, x, heatmap, progress=stop)


def test_a_map_that_is_the_same_for_every_target_is_called_so() -> None:
    model, x = nets.loaded("plain"), nets.image("plain").numpy()
    card = assess(model, x, explain(model, x, target="one", method="eigen-cam"))
    similarity = next(measurement for measurement in card.measurements if measurement.name == "target-swap similarity")
    assert similarity.value == pytest.approx(1)
    assert similarity.grade is Grade.AMBER


def test_an_engine_that_answers_otherwise_than_the_graph_withholds_the_map() -> None:
    model, x = nets.loaded("plain"), nets.image("plain").numpy()
    heatmap = explain(model, x, target="one", method="layer-cam")
    card = assess(model, x, replace(heatmap, evidence={"engine_parity": 0.05}))
    assert card.withheld
    assert any(reason.startswith("engine parity") for reason in card.reasons)


def test_padding_is_never_replaced_and_never_salient() -> None:
    model, x = nets.loaded("plain"), nets.image("plain").numpy()
    valid = np.ones((32, 32), bool)
    valid[:, :10] = False
    heatmap = explain(model, x, target="one", method="occlusion")
    region, words = salient_region(heatmap.values, valid, heatmap.signed)
    assert not region[:, :10].any()
    assert "50%" in words
    assert assess(model, x, heatmap, valid=valid).measurements


def test_the_salient_region_of_a_signed_map_is_what_speaks_for_the_target() -> None:
    values = np.array([[-9.0, 1.0], [0.4, 0.6]], np.float32)
    region, words = salient_region(values, None, signed=True)
    assert region.tolist() == [[False, True], [False, True]]
    assert "positive" in words
    assert not salient_region(-np.abs(values), None, signed=True)[0].any()


def test_a_smaller_budget_buys_fewer_random_orders_but_never_none() -> None:
    model, x = nets.loaded("plain"), nets.image("plain").numpy()
    heatmap = explain(model, x, target="one", method="layer-cam")
    card = assess(model, x, heatmap, budget=Budget(forwards=40))
    assert card.forwards <= 40
    assert any("random orders" in measurement.rule for measurement in card.measurements)
