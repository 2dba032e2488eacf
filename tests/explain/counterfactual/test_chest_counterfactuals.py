"""The bundled autoencoder on real radiographs that it was not trained on: its counterfactuals pass their own gate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from whyray.explain import NOTHING, Counterfactual, explain
from whyray.inference import Autoencoder, Model, RuntimeOptions, load_package
from whyray.quality import Budget, Grade, assess_typed
from whyray_training.cxr_augment import plain
from whyray_training.cxr_autoencoder import FOLDS, HELD_OUT, SPLIT_SEED
from whyray_training.cxr_data import load_radiographs, patient_folds


@pytest.fixture(scope="module")
def model() -> Model:
    return load_package("cxr-findings@1", options=RuntimeOptions(intra_op_threads=1))


@pytest.fixture(scope="module")
def held_out(shared_data: Path) -> np.ndarray:
    """(8, 1, 224, 224): radiographs of patients that the autoencoder never saw."""
    few = load_radiographs(shared_data / "nih-cxr")
    apart = np.flatnonzero(patient_folds(few.patients, FOLDS, SPLIT_SEED) == HELD_OUT)[:8]
    return plain(torch.from_numpy(few.images[apart]), 224).numpy()


def test_the_autoencoder_gives_radiographs_back(model: Model, held_out: np.ndarray) -> None:
    autoencoder = Autoencoder(model.companion("autoencoder", method="test"))
    small = torch.nn.functional.interpolate(
        torch.from_numpy(held_out), size=autoencoder.shape, mode="bilinear", antialias=True
    ).numpy()[:, 0]
    errors = ((autoencoder.reconstruct(small) - small) ** 2).mean(axis=(1, 2))
    assert errors.mean() < 0.003
    shuffled = ((autoencoder.reconstruct(small) - np.roll(small, 1, axis=0)) ** 2).mean(axis=(1, 2))
    assert (errors < 0.2 * shuffled).all()  # each is given back, not a mean chest


@pytest.mark.parametrize("number", range(3))
def test_the_strongest_finding_of_a_held_out_radiograph_is_flipped_and_passes_the_gate(
    model: Model, held_out: np.ndarray, number: int
) -> None:
    x = held_out[number]
    levels = np.array([target.threshold for target in model.manifest.targets])
    target = model.targets[int((model.predict(x)[0] / levels).argmax())]
    told = explain(model, x, target=target, method="latent-shift")
    assert isinstance(told, Counterfactual)
    assert told.flipped
    assert told.evidence["reconstruction_gap"] <= 0.1
    card = assess_typed(model, x, told, context=NOTHING, budget=Budget(forwards=40))
    assert not card.withheld, card.reasons
    grades = {measurement.name: measurement.grade for measurement in card.measurements}
    assert grades["autoencoder fidelity"] is Grade.GREEN
    assert grades["change against random"] is not Grade.RED


def test_regions_of_a_real_radiograph_flip_the_answer_within_the_budget(model: Model, held_out: np.ndarray) -> None:
    x = held_out[0]
    before = model.session.forwards
    told = explain(model, x, target="Effusion", method="region-counterfactual", forwards=150, count=40)
    assert isinstance(told, Counterfactual)
    assert model.session.forwards - before <= 150 + len(told.frames) + 4
    card = assess_typed(model, x, told, context=NOTHING, budget=Budget(forwards=40))
    assert not card.withheld, card.reasons
    assert (told.answers[told.end] >= 0.215) != (told.answer_before >= 0.215) or not told.flipped
