"""Autoencoder packages: both ways in ONNX Runtime and in torch, and what a manifest must say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from planted_counterfactuals import linear_pair
from whyray.base.errors import ModelOutputError, PackageError
from whyray.explain import methods, why_not
from whyray.inference import Autoencoder, Model, RuntimeOptions, load_package
from whyray.onboarding import check_package, onboard
from whyray.packages import BUNDLED, Manifest, read_manifest

OPTIONS = RuntimeOptions(intra_op_threads=1)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Autoencoder, np.ndarray]:
    pair = linear_pair(tmp_path_factory.mktemp("packages"))
    folder = pair.folder.parents[1] / "planted-autoencoder" / "1.0.0"
    return Autoencoder(load_package(folder, options=OPTIONS)), pair.decoder


@pytest.fixture(scope="module")
def chest() -> Autoencoder:
    return Autoencoder(load_package(BUNDLED / "cxr-autoencoder" / "1.0.0", options=OPTIONS))


def smooth(shape: tuple[int, ...], count: int) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(count, *shape)).cumsum(1).cumsum(2)
    low, high = noise.min((1, 2), keepdims=True), noise.max((1, 2), keepdims=True)
    return ((noise - low) / (high - low)).astype(np.float32)


def test_pictures_go_to_latents_and_back_as_planted(planted: tuple[Autoencoder, np.ndarray]) -> None:
    autoencoder, decoder = planted
    latents = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    pictures = (0.5 + latents @ decoder.T).reshape(-1, 16, 16).astype(np.float32)
    assert (autoencoder.shape, autoencoder.latent_shape, autoencoder.latent_count) == ((16, 16), (6,), 6)
    np.testing.assert_allclose(autoencoder.encode(pictures), latents, atol=1e-4)
    np.testing.assert_allclose(autoencoder.decode(latents), pictures, atol=1e-4)
    np.testing.assert_allclose(autoencoder.reconstruct(pictures), pictures, atol=1e-4)


def test_what_is_decoded_is_never_outside_the_displayed_range(planted: tuple[Autoencoder, np.ndarray]) -> None:
    autoencoder, _ = planted
    pictures = autoencoder.decode(100 * np.ones((1, 6), np.float32))
    assert pictures.min() >= 0
    assert pictures.max() <= 1


@pytest.mark.parametrize("which", ["planted", "chest"])
def test_torch_gives_what_onnx_runtime_gives(which: str, request: pytest.FixtureRequest) -> None:
    fixture = request.getfixturevalue(which)
    autoencoder: Autoencoder = fixture[0] if which == "planted" else fixture
    pictures = smooth(autoencoder.shape, 3)
    latents = autoencoder.encode(pictures)
    assert latents.shape == (3, autoencoder.latent_count)
    np.testing.assert_allclose(autoencoder.encode_torch(torch.from_numpy(pictures)).numpy(), latents, atol=1e-3)
    decoded = autoencoder.decode_torch(torch.from_numpy(latents)).numpy()
    np.testing.assert_allclose(decoded, autoencoder.decode(latents), atol=1e-4)


def test_the_decoders_gradient_is_that_of_finite_differences(chest: Autoencoder) -> None:
    latents = chest.encode(smooth(chest.shape, 1))
    weights = np.random.default_rng(2).normal(size=chest.shape)
    leaf = torch.from_numpy(latents).requires_grad_(True)
    (chest.decode_torch(leaf)[0] * torch.from_numpy(weights.astype(np.float32))).sum().backward()
    assert leaf.grad is not None
    direction = np.random.default_rng(3).normal(size=latents.shape)
    direction /= np.linalg.norm(direction)
    step = 1e-2
    ends = chest.decode(np.concatenate([latents + step * direction, latents - step * direction]).astype(np.float32))
    measured = float(((ends[0] - ends[1]).astype(np.float64) * weights).sum() / (2 * step))
    assert float((leaf.grad.numpy() * direction).sum()) == pytest.approx(measured, rel=0.05, abs=0.05)


def test_a_batch_is_decoded_as_singles_are_and_passes_are_counted(chest: Autoencoder) -> None:
    latents = np.random.default_rng(4).normal(size=(11, chest.latent_count)).astype(np.float32)
    before = chest.model.session.forwards
    together = chest.decode(latents)
    assert chest.model.session.forwards == before + 11
    np.testing.assert_allclose(together, np.concatenate([chest.decode(latent[None]) for latent in latents]), atol=1e-5)


def test_the_bundled_package_is_right_and_stands_beside_the_classifier(chest: Autoencoder) -> None:
    assert [finding for finding in check_package(chest.model.package.folder) if finding.severity == "error"] == []
    classifier = load_package("cxr-findings@1", options=OPTIONS)
    assert classifier.companion("autoencoder", method="test").identity == chest.model.identity
    ours, theirs = classifier.manifest.input, chest.model.manifest.input
    assert (ours.kind, ours.fit, ours.intensity) == (theirs.kind, theirs.fit, theirs.intensity)


def test_nothing_explains_or_onboards_what_answers_nothing(chest: Autoencoder) -> None:
    for method in methods():
        refusal = why_not(method, chest.model)
        assert refusal is not None
        assert "answers nothing" in refusal.message
    with pytest.raises(PackageError, match="answers nothing"):
        onboard(chest.model, [np.zeros((1, 1, 128, 128), np.float32)])


def test_another_package_is_no_autoencoder() -> None:
    with pytest.raises(PackageError, match="expected an autoencoder"):
        Autoencoder(load_package("cxr-findings@1"))


def test_a_manifest_of_an_autoencoder_names_latents_and_no_targets(chest: Autoencoder) -> None:
    good = read_manifest(chest.model.package.folder / "model.yaml").model_dump()
    with pytest.raises(ValueError, match="has no targets"):
        Manifest.model_validate(good | {"targets": [{"name": "one"}]})
    with pytest.raises(ValueError, match="latents"):
        Manifest.model_validate(good | {"output": {"name": "reconstruction", "activation": "none"}})
    with pytest.raises(ValueError, match="needs targets"):
        Manifest.model_validate(good | {"task": "multi-label"})


def test_a_graph_that_gives_back_another_shape_is_refused(tmp_path: Path) -> None:
    pair = linear_pair(tmp_path)
    folder = pair.folder.parents[1] / "planted-autoencoder" / "1.0.0"
    text = (folder / "model.yaml").read_text().replace("name: reconstruction", "name: picture")
    (folder / "model.yaml").write_text(text)
    model: Model = load_package(folder, options=OPTIONS)
    with pytest.raises(ModelOutputError):
        model.session.run(np.zeros((1, 1, 16, 16), np.float32))


def test_packages_that_are_loaded_together_have_the_same_package_beside_them() -> None:
    loaded: dict[str, Model] = {}

    def load(reference: str) -> Model:
        if reference not in loaded:
            loaded[reference] = load_package(reference, options=OPTIONS, load=load)
        return loaded[reference]

    scopes = {id(load(name).companion("scope", method="test")) for name in ("cxr-findings@1", "cxr-prototypes@1")}
    assert len(scopes) == 1
    assert loaded["cxr-findings@1"].at_prevalence({}).companion("scope", method="test") in loaded.values()
