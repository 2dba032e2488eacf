"""The autoencoder's training script, on a handful of radiographs: it runs through, and again to the same weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from whyray.inference import Autoencoder, RuntimeOptions, load_package
from whyray.onboarding import check_package
from whyray_training import cxr_autoencoder
from whyray_training.cxr_autoencoder_data import Lesson, Observer, lesson
from whyray_training.cxr_autoencoder_fit import Recipe, fit
from whyray_training.cxr_autoencoder_net import Autoencoder as Net
from whyray_training.cxr_autoencoder_net import with_components
from whyray_training.cxr_data import FINDINGS, Radiographs

OPTIONS = RuntimeOptions(intra_op_threads=1)


@pytest.fixture(scope="module")
def observer() -> Observer:
    return Observer(load_package("cxr-findings@1", options=OPTIONS))


@pytest.fixture(scope="module")
def taught(observer: Observer) -> Lesson:
    noise = np.random.default_rng(0).normal(size=(9, 256, 256)).cumsum(1).cumsum(2)
    low, high = noise.min((1, 2), keepdims=True), noise.max((1, 2), keepdims=True)
    images = (255 * (noise - low) / (high - low)).astype(np.uint8)
    nothing = np.zeros((9, len(FINDINGS)))
    return lesson(Radiographs(images, nothing, nothing, np.arange(9)), 0, 1, observer, lambda _: None)


def test_what_is_learned_from_is_what_the_classifier_says(observer: Observer, taught: Lesson) -> None:
    picture = taught.full[:1].astype(np.float32)[:, None] / 255
    np.testing.assert_allclose(taught.logits[0], observer.model.session.run(picture).logits[0], atol=1e-4)
    with torch.no_grad():
        features, pooled, logits = observer(torch.from_numpy(picture))
    np.testing.assert_allclose(logits[0].numpy(), taught.logits[0], atol=1e-2)
    np.testing.assert_allclose(pooled[0].numpy(), taught.pooled[0], atol=1e-2)
    assert features.shape[1] >= taught.features.shape[1]


def test_the_untrained_net_is_the_linear_code_of_its_components(taught: Lesson) -> None:
    torch.manual_seed(0)
    pictures = taught.seen.astype(np.float32)
    net = with_components(Net(), pictures).eval()
    with torch.no_grad():
        coarse = torch.nn.functional.avg_pool2d(torch.from_numpy(pictures[:, None]), 2)
        decoded = torch.nn.functional.avg_pool2d(net.decoder(net.encoder(torch.from_numpy(pictures[:, None]))), 2)
    assert float(((decoded - coarse) ** 2).mean()) < 1e-3


def test_the_same_seed_gives_the_same_weights(observer: Observer, taught: Lesson) -> None:
    def run() -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
        torch.manual_seed(0)
        told: list[dict[str, float]] = []
        net = with_components(Net(), taught.seen.astype(np.float32))
        net = fit(net, taught, observer, Recipe(steps=2), 0, told.append)
        return told, net.state_dict()

    (first, weights), (second, again) = run(), run()
    assert first == second
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert not torch.equal(weights["decoder.last.weight"], torch.zeros(1, 4, 3, 3))  # it did learn


def test_the_script_writes_a_package_that_is_right(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "cxr-autoencoder" / "1.0.0"
    cxr_autoencoder.main(
        data=shared_data, out=out, classifier="cxr-findings@1", steps=2, copies=1, limit=20, seed=0, threads=1,
        start=None, keep=tmp_path / "weights.pt",
    )  # fmt: skip
    assert [finding for finding in check_package(out) if finding.severity == "error"] == []
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["data"]["held_out_pictures"] == metrics["held_out"]["pictures"] == 4
    assert metrics["held_out"]["mse_per_mille"]["value"] > 0
    assert (tmp_path / "weights.pt").is_file()
    assert Autoencoder(load_package(out, options=OPTIONS)).latent_count == 256
