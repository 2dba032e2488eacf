"""Occlusion against captum, RISE against its published form, Kernel SHAP against shap, LIME against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import Occlusion
from sklearn.linear_model import Ridge

from explain.references import close, reference
from inference import nets
from whyray.base.errors import ConfigError
from whyray.explain import explain
from whyray.explain.kernel_shap import sample_coalitions, shapley_values
from whyray.explain.lime import weighted_ridge
from whyray.explain.rise import masks
from whyray.explain.segments import superpixels
from whyray.quality import Grade, assess


@pytest.mark.parametrize(
    ("name", "window", "stride"),
    [("plain", (8, 8), (4, 4)), ("rgb", (7, 9), (5, 6)), ("plain-3d", (3, 4, 5), (2, 3, 4))],
)
def test_occlusion_is_that_of_captum_to_a_border_that_cuts_windows(
    name: str, window: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    net, x = nets.make(name), nets.image(name)
    channels = x.shape[1]
    heatmap = explain(
        nets.loaded(name), x.numpy(), target="two", method="occlusion", window=window, stride=stride, fill="zero"
    )
    expected = Occlusion(net).attribute(
        x, sliding_window_shapes=(channels, *window), strides=(channels, *stride), target=1, baselines=0
    )
    close(heatmap.values, expected[0, 0].numpy())


@pytest.mark.parametrize("name", ["plain", "rgb", "plain-3d"])
def test_rise_is_the_published_estimator_on_the_same_masks(name: str) -> None:
    net, x = nets.make(name), nets.image(name)
    heatmap = explain(
        nets.loaded(name), x.numpy(), target="one", method="rise", masks=40, cells=4, fill="zero", centred=False, seed=5
    )
    sampler = masks(tuple(x.shape[2:]), 4, 0.5, np.random.default_rng(5))
    drawn = torch.from_numpy(np.stack([next(sampler) for _ in range(40)]))
    with torch.no_grad():  # eclique/RISE, explanations.py: sal = p.T @ masks / N / p1
        p = net(drawn[:, None] * x)
    expected = (p.T @ drawn.flatten(1)).reshape(3, *x.shape[2:]) / 40 / 0.5
    close(heatmap.values, expected[0].numpy())


def test_centred_rise_is_the_covariance_of_score_and_mask() -> None:
    net, x = nets.make("plain"), nets.image("plain")
    heatmap = explain(nets.loaded("plain"), x.numpy(), target="three", method="rise", masks=60, fill="zero", seed=2)
    sampler = masks((32, 32), 7, 0.5, np.random.default_rng(2))
    drawn = np.stack([next(sampler) for _ in range(60)]).astype(np.float64)
    with torch.no_grad():
        scores = net(torch.from_numpy(drawn).float()[:, None] * x)[:, 2].numpy().astype(np.float64)
    expected = np.tensordot(scores - scores.mean(), drawn - drawn.mean(axis=0), axes=1) / 60 / 0.25
    close(heatmap.values, expected, 1e-3)


def test_rise_masks_keep_the_share_that_was_asked_for() -> None:
    sampler = masks((30, 40), 7, 0.3, np.random.default_rng(0))
    drawn = np.stack([next(sampler) for _ in range(400)])
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert abs(drawn.mean() - 0.3) < 0.01


def test_kernel_shap_is_that_of_the_shap_package_where_all_coalitions_are_seen() -> None:
    shap = reference("shap")
    net, x = nets.make("flatten"), nets.image("flatten")
    labels = superpixels(x.numpy(), 8, 0.1)
    count = int(labels.max()) + 1
    assert 4 <= count <= 11

    def scores(coalitions: np.ndarray) -> np.ndarray:
        keep = torch.from_numpy(coalitions.astype(bool)[:, labels])[:, None]
        with torch.no_grad():
            return net(torch.where(keep, x, torch.zeros(1))).numpy()

    explainer = shap.KernelExplainer(scores, np.zeros((1, count)))
    expected = np.asarray(explainer.shap_values(np.ones((1, count)), nsamples=4096, l1_reg=False, silent=True))[0]
    for number, target in enumerate(("one", "two", "three")):
        heatmap = explain(
            nets.loaded("flatten"),
            x.numpy(),
            target=target,
            method="kernel-shap",
            segments=8,
            samples=4096,
            fill="zero",
        )
        sums = np.bincount(labels.ravel(), heatmap.values.ravel())
        close(sums, expected[:, number], 1e-3)


def test_kernel_shap_values_sum_to_the_difference_even_when_coalitions_are_sampled() -> None:
    model, x = nets.loaded("plain"), nets.image("plain").numpy()
    heatmap = explain(model, x, target="one", method="kernel-shap", segments=40, samples=200, fill="zero")
    gain = float(model.logits(x)[0, 0] - model.logits(np.zeros_like(x))[0, 0])
    assert heatmap.values.sum() == pytest.approx(gain, abs=1e-4 * abs(gain) + 1e-6)


@pytest.mark.parametrize("samples", [1, 2, 30])
def test_kernel_shap_refuses_fewer_samples_than_tell_the_segments_apart(samples: int) -> None:
    model, x = nets.loaded("plain"), nets.image("plain").numpy()
    with pytest.raises(ConfigError, match=f"{samples} samples don't tell .* segments apart"):
        explain(model, x, target="one", method="kernel-shap", segments=40, samples=samples, fill="zero")


def test_kernel_shap_gives_the_whole_difference_to_an_only_segment() -> None:
    no_coalition = np.zeros((0, 1), bool)
    coalitions, weights = sample_coalitions(1, 10, np.random.default_rng(0))
    assert coalitions.shape == no_coalition.shape
    empty, whole = np.array([1.0, -2.0]), np.array([4.0, 0.5])
    values = shapley_values(coalitions, weights, np.zeros((0, 2)), empty, whole)
    np.testing.assert_allclose(values, (whole - empty)[:, None])


def test_lime_is_the_weighted_ridge_of_scikit_learn_on_the_same_samples() -> None:
    net, x = nets.make("flatten"), nets.image("flatten")
    labels = superpixels(x.numpy(), 20, 0.1)
    shown = np.random.default_rng(3).random((120, int(labels.max()) + 1)) < 0.5
    shown[0] = True
    keep = torch.from_numpy(shown[:, labels])[:, None]
    with torch.no_grad():
        scores = net(torch.where(keep, x, torch.zeros(1)))[:, 1].numpy()
    # The authors' package: cosine distance to the whole image, sqrt(exp(-d^2 / width^2)) as weight, Ridge(alpha=1).
    distance = 1 - shown.sum(axis=1) / np.sqrt(shown.sum(axis=1) * shown.shape[1])
    weights = np.sqrt(np.exp(-(distance**2) / 0.25**2))
    ridge = Ridge(alpha=1.0).fit(shown.astype(float), scores, sample_weight=weights)
    heatmap = explain(
        nets.loaded("flatten"), x.numpy(), target="two", method="lime", segments=20, samples=120, seed=3, fill="zero"
    )
    close(heatmap.values, ridge.coef_[labels])
    assert heatmap.evidence["fit"] == pytest.approx(ridge.score(shown.astype(float), scores, weights), abs=1e-4)


@pytest.mark.parametrize("method", ["lime", "kernel-shap", "rise", "occlusion"])
def test_where_hiding_changes_nothing_the_map_is_zero_and_no_rounding(method: str) -> None:
    """An image of one grey value shows the same with anything hidden: what sums of equal numbers leave is no map."""
    model = nets.loaded("plain")
    x = np.full(model.network.input_shape, 0.3, np.float32)
    heatmap = explain(model, x, target="one", method=method, **({"masks": 64} if method == "rise" else {}))
    assert not heatmap.values.any()
    assert "fit" not in heatmap.evidence, "LIME's was 1: of nothing, all was explained"
    assert assess(model, x, heatmap).grade is Grade.RED


def test_lime_explains_nothing_where_answers_are_all_the_same() -> None:
    shown = np.random.default_rng(0).random((200, 30)) < 0.5
    same = np.full((200, 1), np.float32(-1.2345678), np.float64)
    weights = np.random.default_rng(1).random(200)
    coefficients, fit = weighted_ridge(shown.astype(np.float64), same, weights, 1.0)
    assert not coefficients.any()
    assert np.isnan(fit).all()
