"""latent-position: planted outliers lie beyond the references, usual images among them."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from indexed import REFERENCES, load, with_index
from inference.nets import image, pack
from planted_cases import TARGETS, cases_package, image_of, images_of
from whyray.explain import NOTHING, LatentPosition, explain
from whyray.explain.latent import index_of, planted
from whyray.inference import Model
from whyray.onboarding import thumbnail
from whyray.onboarding.latent_space_fitting import split
from whyray.onboarding.reference_index import Collected, IndexFacts, make_index
from whyray.packages import write_artefact
from whyray.quality import Grade, assess_typed


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return with_index(cases_package(tmp_path_factory.mktemp("packages")))


def position(model: Model, x: np.ndarray) -> LatentPosition:
    explanation = explain(model, x, target=TARGETS[0], method="latent-position")
    assert isinstance(explanation, LatentPosition)
    return explanation


def test_usual_images_lie_among_the_references_and_noise_does_not(model: Model) -> None:
    rng = np.random.default_rng(5)
    usual = [position(model, image_of(place, rng)).percentile for place in REFERENCES[:12]]
    noise = position(model, rng.random((1, 1, 32, 32), np.float32))
    assert np.median(usual) < 90
    assert noise.percentile == 100
    card = assess_typed(model, rng.random((1, 1, 32, 32), np.float32), noise, context=NOTHING)
    told = {measurement.name: measurement for measurement in card.measurements}
    assert told["distance from the references"].grade is Grade.AMBER
    assert told["outliers told apart"].value > 0.8  # upside down, a lower right is an upper right: no outlier


def test_the_place_on_the_plane_is_that_of_a_reference_that_is_the_same(model: Model) -> None:
    x = images_of(REFERENCES)[3]
    explanation = position(model, x)
    nearest = np.linalg.norm(explanation.references - np.asarray(explanation.position), axis=1).min()
    assert nearest < 1e-3 * np.abs(explanation.references).max()
    assert explanation.known.tolist().count(1) == 20
    assert explanation.plane == "PCA"
    assert set(explanation.distances) == {"Mahalanobis", "k-th neighbour"}


def test_all_targets_share_the_place_but_not_what_is_known(model: Model) -> None:
    first, second = explain(
        model, image_of("upper left", np.random.default_rng(1)), target="all", method="latent-position"
    )
    assert first.position == second.position
    assert (first.known != second.known).any()


def test_held_out_references_take_no_part_in_the_space_and_no_patient_is_on_both_sides() -> None:
    groups = [f"patient {number // 3}" for number in range(90)]
    out = split(groups, 0.3, seed=0)
    assert 0.25 < out.mean() < 0.4
    for patient in set(groups):
        members = [side for side, group in zip(out, groups, strict=True) if group == patient]
        assert len(set(members)) == 1


def test_outliers_are_planted_in_the_scale_of_the_model(model: Model) -> None:
    x = image_of("upper left", np.random.default_rng(1))
    kinds = planted(model, x, seed=0)
    assert np.allclose(kinds["inverted"], 1 - x, atol=1e-6)
    assert np.allclose(kinds["upside down"], x[..., ::-1, :])
    assert np.allclose(np.sort(kinds["tiles shuffled"].ravel()), np.sort(x.ravel()))
    assert not np.allclose(kinds["tiles shuffled"], x)
    assert all(image.shape == x.shape and image.dtype == np.float32 for image in kinds.values())


@pytest.mark.parametrize("kind", ["plain-3d", "unet", "unet-3d", "flatten"])
def test_volumes_segmentations_and_heads_of_several_layers_are_placed_too(kind: str, tmp_path: Path) -> None:
    """Their nets know nothing: what is asked is that an index is made and read, not that it is a good one."""
    folder = pack(tmp_path, kind)
    model = load(folder)
    collected = Collected(model)
    for seed in range(24):
        x = image(kind, seed).numpy()
        collected.add(x, {}, picture=thumbnail(model, x))
    facts, arrays = make_index(collected, IndexFacts("noise", "CC0", date(2026, 1, 2), umap=False))
    write_artefact(folder / "onboarding" / "reference-index.npz", facts, arrays)
    again = load(folder)
    x = image(kind, 99).numpy()
    placed = explain(again, x, target=again.targets[0], method="latent-position")
    assert isinstance(placed, LatentPosition)
    assert 0 <= placed.percentile <= 100
    assert assess_typed(again, x, placed, context=NOTHING).measurements
    assert arrays["pictures"].ndim == 3


def test_a_distance_that_tells_nothing_apart_withholds_the_place(tmp_path: Path) -> None:
    model = with_index(cases_package(tmp_path))
    index = index_of(model, method="a test")
    for kinds in index.details["outliers"].values():
        kinds.update(dict.fromkeys(kinds, 0.5))
    x = image_of("upper left", np.random.default_rng(1))
    card = assess_typed(model, x, position(model, x), context=NOTHING)
    assert card.withheld
    assert any("outliers told apart" in words for words in card.reasons)
