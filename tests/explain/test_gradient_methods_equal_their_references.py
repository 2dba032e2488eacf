"""Gradient methods against captum 0.9.0 and zennit 0.5.1, run on the net that was exported; tolerance as stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import DeepLift, GuidedBackprop, InputXGradient, IntegratedGradients, Saliency
from torch import nn

from explain.references import close, reference
from inference import nets
from whyray.explain import explain
from whyray.inference import load_package

TARGETS = ("one", "two", "three")
CLASSES = ["plain", "rgb", "plain-3d", "pool", "flatten", "residual", "residual-3d", "dense", "vit", "swin"]


@pytest.mark.parametrize("name", CLASSES)
def test_gradient_and_input_x_gradient_are_those_of_captum(name: str) -> None:
    net, x, model = nets.make(name), nets.image(name), nets.loaded(name)
    for number in range(3):
        heatmap = explain(model, x.numpy(), target=TARGETS[number], method="gradient")
        close(heatmap.values, Saliency(net).attribute(x, target=number)[0].amax(dim=0).numpy())
        heatmap = explain(model, x.numpy(), target=TARGETS[number], method="input-x-gradient")
        close(heatmap.values, InputXGradient(net).attribute(x, target=number)[0].sum(dim=0).detach().numpy())


@pytest.mark.parametrize("name", ["plain", "rgb", "plain-3d", "pool", "residual", "dense", "vit", "swin"])
def test_integrated_gradients_are_those_of_captum_at_the_same_steps(name: str) -> None:
    net, x = nets.make(name), nets.image(name)
    heatmap = explain(
        nets.loaded(name), x.numpy(), target="two", method="integrated-gradients", steps=16, most_steps=16, tolerance=9
    )
    expected = IntegratedGradients(net).attribute(x, target=1, n_steps=16, method="gausslegendre")
    close(heatmap.values, expected[0].sum(dim=0).detach().numpy())


@pytest.mark.parametrize("name", ["unet", "unet-3d"])
def test_gradients_of_a_segments_mean_logit_are_those_of_captum(name: str) -> None:
    net, x, model = nets.make(name), nets.image(name), nets.loaded(name)
    with torch.no_grad():
        winner = net(x)[0].argmax(dim=0)
    for number, target in enumerate(TARGETS):
        segment = (winner == number).float()
        if not segment.any():
            continue

        def score(images: torch.Tensor, segment: torch.Tensor = segment, number: int = number) -> torch.Tensor:
            return (net(images)[:, number] * segment).flatten(1).sum(dim=1) / segment.sum()

        heatmap = explain(model, x.numpy(), target=target, method="gradient")
        close(heatmap.values, Saliency(score).attribute(x)[0].amax(dim=0).numpy())
        heatmap = explain(model, x.numpy(), target=target, method="input-x-gradient")
        close(heatmap.values, InputXGradient(score).attribute(x)[0].sum(dim=0).detach().numpy())
        heatmap = explain(
            model, x.numpy(), target=target, method="integrated-gradients", steps=8, most_steps=8, tolerance=9
        )
        expected = IntegratedGradients(score).attribute(x, n_steps=8, method="gausslegendre")
        close(heatmap.values, expected[0].sum(dim=0).detach().numpy())


def test_methods_with_gradients_explain_the_bundled_segmentation_of_a_volume() -> None:
    from whyray.inference import RuntimeOptions, load_package

    model = load_package("head-ct-tissue", options=RuntimeOptions(device="cpu", intra_op_threads=1))
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in model.spatial_shape), indexing="ij")
    radius = np.sqrt(axes[1] ** 2 + axes[2] ** 2)
    x = np.where(radius < 0.75, 0.4, np.where(radius < 0.85, 1.0, 0.0)).astype(np.float32)[None, None]
    names = [heatmap.target for heatmap in explain(model, x, target="all", method="seg-grad-cam")]
    assert names
    for method in ("gradient", "input-x-gradient", "deep-lift", "lrp"):
        heatmap = explain(model, x, target=names[0], method=method)
        assert heatmap.values.shape == model.spatial_shape
        assert heatmap.values.any()
        assert heatmap.evidence["engine_parity"] < 1e-3
        assert heatmap.evidence.get("completeness_gap", 0) < 0.05
        assert heatmap.evidence.get("conservation_gap", 0) < 0.05


def test_integrated_gradients_double_their_steps_until_complete_or_fail_by_name() -> None:
    from whyray.base.errors import ExplanationError

    model, x = nets.loaded("flatten"), 4 * nets.image("flatten").numpy()
    loose = explain(model, x, target="one", method="integrated-gradients", steps=2, tolerance=0.02, most_steps=1024)
    assert loose.evidence["steps"] > 2
    assert loose.evidence["completeness_gap"] <= 0.02
    with pytest.raises(ExplanationError, match=r"integrated-gradients of .* after 2 steps"):
        explain(model, x, target="all", method="integrated-gradients", steps=2, most_steps=2, tolerance=1e-6)


@pytest.mark.parametrize("name", ["plain", "rgb", "plain-3d", "flatten"])
def test_deep_lift_is_that_of_captum(name: str) -> None:
    net, x, model = nets.make(name), nets.image(name), nets.loaded(name)
    _own_modules(net)
    for number in range(3):
        heatmap = explain(model, x.numpy(), target=TARGETS[number], method="deep-lift")
        expected = DeepLift(net).attribute(x, baselines=torch.zeros_like(x), target=number)
        close(heatmap.values, expected[0].sum(dim=0).detach().numpy(), 1e-3)


@pytest.mark.parametrize("name", ["pool", "residual", "residual-3d", "dense", "unet", "unet-3d"])
def test_deep_lift_sums_to_the_difference_where_captum_does_not(name: str) -> None:
    for heatmap in explain(nets.loaded(name), nets.image(name).numpy(), target="all", method="deep-lift"):
        assert heatmap.evidence["completeness_gap"] < 1e-3


@pytest.mark.parametrize("name", ["flatten", "residual"])
def test_deep_lift_of_a_graph_that_takes_one_image_at_a_time_is_the_same(name: str, tmp_path: Path) -> None:
    x = nets.image(name).numpy()
    fixed = load_package(nets.pack(tmp_path, name, dynamic=False))
    assert not fixed.network.graph.dynamic_batch
    values, expected = (
        explain(model, x, target="two", method="deep-lift").values for model in (fixed, nets.loaded(name))
    )
    close(values, expected, 1e-4)


def test_captum_is_not_the_measure_of_deep_lift_through_max_pooling() -> None:
    net, x = nets.make("pool"), nets.image("pool")
    _, gap = DeepLift(net).attribute(x, torch.zeros_like(x), target=0, return_convergence_delta=True)
    difference = net(x)[0, 0] - net(torch.zeros_like(x))[0, 0]
    assert abs(gap.item()) > 0.1 * abs(difference.item()), "captum is complete now: compare with it again"


def test_deep_lift_refuses_attention_by_its_own_completeness_check() -> None:
    from whyray.base.errors import ExplanationError

    with pytest.raises(ExplanationError, match="deep-lift of"):
        explain(nets.loaded("vit"), nets.image("vit").numpy(), target="all", method="deep-lift")


@pytest.mark.parametrize("name", ["plain", "rgb", "pool", "flatten"])
def test_guided_backpropagation_is_that_of_captum_and_differs_from_the_gradient(name: str) -> None:
    net, x, model = nets.make(name), nets.image(name), nets.loaded(name)
    heatmap = explain(model, x.numpy(), target="one", method="guided-backprop")
    expected = GuidedBackprop(net).attribute(x, target=0)[0].sum(dim=0).detach().numpy()
    close(heatmap.values, expected)
    plain = Saliency(net).attribute(x, target=0, abs=False)[0].sum(dim=0).numpy()
    assert np.abs(heatmap.values - plain).max() > 0.1 * np.abs(plain).max()


@pytest.mark.parametrize("name", ["plain", "rgb", "flatten", "pool"])
@pytest.mark.parametrize("composite", ["epsilon-plus-flat", "gamma"])
def test_lrp_is_that_of_zennit_when_biases_absorb_as_they_do_there(name: str, composite: str) -> None:
    net, x = nets.make(name), nets.image(name).requires_grad_(True)
    _own_modules(net)
    expected = _zennit(net, x, composite)
    heatmap = explain(nets.loaded(name), x.detach().numpy(), target="two", method="lrp", composite=composite, bias=True)
    close(heatmap.values, expected, 2e-3)


@pytest.mark.parametrize("name", ["plain", "plain-3d", "residual", "residual-3d", "dense", "pool", "flatten"])
@pytest.mark.parametrize("composite", ["epsilon-plus-flat", "gamma"])
def test_lrp_conserves_the_score_through_residual_sums_and_concatenations(name: str, composite: str) -> None:
    model, x = nets.loaded(name), nets.image(name).numpy()
    for heatmap in explain(model, x, target="all", method="lrp", composite=composite):
        score = model.logits(x)[0, model.target_index(heatmap.target)]
        assert heatmap.values.sum() == pytest.approx(score, rel=0.02)


@pytest.mark.parametrize("composite", ["epsilon-plus-flat", "gamma"])
def test_lrp_conserves_the_score_through_a_normalisation_inside_the_graph(tmp_path, composite: str) -> None:
    from whyray.inference import RuntimeOptions, load_package

    class Prepared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nets.PlainCnn(channels=3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net((x.expand(-1, 3, -1, -1) - 0.3) / 0.4)

    torch.manual_seed(2)
    folder = nets.pack(tmp_path, "plain", Prepared().eval())
    model = load_package(folder, options=RuntimeOptions(device="cpu", intra_op_threads=1))
    x = nets.image("plain").numpy()
    for heatmap in explain(model, x, target="all", method="lrp", composite=composite):
        score = model.logits(x)[0, model.target_index(heatmap.target)]
        assert heatmap.values.sum() == pytest.approx(score, rel=0.02)


@pytest.mark.parametrize("composite", ["epsilon-plus-flat", "gamma"])
def test_lrp_is_that_of_zennit_through_linear_bottlenecks_whose_outputs_are_negative_too(
    tmp_path, composite: str
) -> None:
    from whyray.inference import RuntimeOptions, load_package

    torch.manual_seed(3)
    net = nn.Sequential(
        *(nn.Conv2d(1, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 1)),
        *(nn.Conv2d(4, 12, 1), nn.ReLU(), nn.Conv2d(12, 12, 3, stride=4, padding=1, groups=12), nn.ReLU()),
        *(nn.Conv2d(12, 4, 1), nn.Flatten(), nn.Linear(64, 3)),
    ).eval()
    model = load_package(nets.pack(tmp_path, "plain", net), options=RuntimeOptions(device="cpu", intra_op_threads=1))
    x = nets.image("plain").requires_grad_(True)
    expected = _zennit(net, x, composite)
    heatmap = explain(model, x.detach().numpy(), target="two", method="lrp", composite=composite, bias=True)
    close(heatmap.values, expected, 2e-3)


def test_lrp_says_so_where_a_network_concludes_from_what_is_absent(tmp_path) -> None:
    from whyray.inference import RuntimeOptions, load_package

    class Absence(nn.Module):
        """Fires where its features do not: zeros carry no relevance."""

        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU())
            self.linear = nn.Linear(6, 3, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(torch.relu(0.5 - self.stem(x)).flatten(2).mean(dim=2))

    torch.manual_seed(0)
    folder = nets.pack(tmp_path, "plain", Absence().eval())
    model = load_package(folder, options=RuntimeOptions(device="cpu", intra_op_threads=1))
    for bias in (False, True):
        for heatmap in explain(model, nets.image("plain").numpy(), target="all", method="lrp", bias=bias):
            assert heatmap.evidence["kept_by_biases"] > 0.2
            assert heatmap.evidence["conservation_gap"] < 1e-3


@pytest.mark.parametrize("composite", ["epsilon-plus-flat", "gamma"])
@pytest.mark.parametrize("bias", [False, True])
def test_lrp_accounts_for_all_of_the_score_on_a_trained_net_of_depthwise_convolutions(
    composite: str, bias: bool
) -> None:
    from whyray.inference import RuntimeOptions, load_package

    model = load_package("cxr-findings@1", options=RuntimeOptions(device="cpu", intra_op_threads=1))
    rows, columns = np.mgrid[0:224, 0:224] / 224
    x = (0.2 + 0.6 * np.exp(-(((rows - 0.5) / 0.3) ** 2 + ((columns - 0.3) / 0.15) ** 2)))[None, None]
    for heatmap in explain(model, x, target=["Cardiomegaly", "Effusion"], method="lrp", composite=composite, bias=bias):
        assert heatmap.evidence["conservation_gap"] < 0.01
        assert 0 <= heatmap.evidence["kept_by_biases"] <= 1


def test_lrp_refuses_where_a_rule_loses_relevance_that_it_does_not_own_up_to(monkeypatch) -> None:
    from whyray.base.errors import ExplanationError
    from whyray.explain import lrp

    right = lrp._Rules._linear

    def leaky(self: lrp._Rules, operator: lrp.Operator) -> torch.Tensor:
        answer = right(self, operator)
        if answer.requires_grad and operator.name == "gemm":
            answer.register_hook(lambda gradient: 0.8 * gradient)
        return answer

    monkeypatch.setattr(lrp._Rules, "_linear", leaky)
    with pytest.raises(ExplanationError, match="20% of the score's relevance is missing, beyond what biases keep"):
        explain(nets.loaded("plain"), nets.image("plain").numpy(), target="one", method="lrp")


@pytest.mark.parametrize("composite", ["epsilon-plus-flat", "gamma"])
def test_lrp_counts_what_passes_the_first_layer_by(tmp_path, composite: str) -> None:
    from whyray.inference import RuntimeOptions, load_package

    class WithSkip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(nn.Conv2d(1, 5, 3, padding=1), nn.ReLU())
            self.last = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU())
            self.linear = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(self.last(torch.cat([self.first(x), x], dim=1)).flatten(2).mean(dim=2))

    torch.manual_seed(1)
    folder = nets.pack(tmp_path, "plain", WithSkip().eval())
    model = load_package(folder, options=RuntimeOptions(device="cpu", intra_op_threads=1))
    for heatmap in explain(model, nets.image("plain").numpy(), target="all", method="lrp", composite=composite):
        assert heatmap.evidence["conservation_gap"] < 1e-3


def test_lrp_refuses_attention_by_name() -> None:
    from whyray.base.errors import ExplanationError

    with pytest.raises(ExplanationError, match=r"^lrp has no rule for \w+ of activations$"):
        explain(nets.loaded("vit"), nets.image("vit").numpy(), target="one", method="lrp")


def test_smooth_grad_is_the_mean_gradient_over_the_same_noise() -> None:
    net, x = nets.make("rgb"), nets.image("rgb")
    heatmap = explain(nets.loaded("rgb"), x.numpy(), target="two", method="smooth-grad", samples=10, noise=0.2, seed=4)
    rng = np.random.default_rng(4)
    noise = np.concatenate([rng.standard_normal((n, *x.shape[1:])).astype(np.float32) for n in (8, 2)])
    noisy = (x + 0.2 * (x.max() - x.min()) * torch.from_numpy(noise)).requires_grad_(True)
    (gradient,) = torch.autograd.grad(net(noisy)[:, 1].sum(), noisy)
    close(heatmap.values, gradient.mean(dim=0).abs().amax(dim=0).numpy(), 1e-3)


def test_expected_gradients_with_one_reference_are_integrated_gradients_from_it(tmp_path) -> None:
    from whyray.inference import RuntimeOptions, load_package

    reference_image = nets.image("plain", 7).numpy()
    folder = nets.pack(tmp_path, "plain", artefacts={"references": "references.npy"})
    np.save(folder / "references.npy", reference_image)
    model = load_package(folder, options=RuntimeOptions(device="cpu", intra_op_threads=1))
    net, x = nets.make("plain"), nets.image("plain")
    heatmap = explain(model, x.numpy(), target="one", method="expected-gradients", samples=400)
    expected = IntegratedGradients(net).attribute(x, baselines=torch.from_numpy(reference_image), target=0, n_steps=200)
    close(heatmap.values, expected[0, 0].detach().numpy(), 0.02)
    assert heatmap.evidence["completeness_gap"] < 0.02


def _zennit(net: nn.Module, x: torch.Tensor, composite: str) -> np.ndarray:
    """Relevance of the second target, summed over channels."""
    zennit = reference("zennit")
    composites, rules, types = (reference(f"{zennit.__name__}.{module}") for module in ("composites", "rules", "types"))
    canonizers = [reference("zennit.canonizers").SequentialMergeBatchNorm()]
    rule_set = {
        "epsilon-plus-flat": lambda: composites.EpsilonPlusFlat(canonizers=canonizers),
        "gamma": lambda: composites.LayerMapComposite(
            [
                (types.Activation, rules.Pass()),
                (types.AvgPool, rules.Norm()),
                (types.Convolution, rules.Gamma(gamma=0.25)),
                (types.Linear, rules.Epsilon()),
            ],
            canonizers=canonizers,
        ),
    }[composite]()
    with rule_set.context(net) as changed:
        logits = changed(x)
        seed = torch.zeros_like(logits)
        seed[0, 1] = logits[0, 1].detach()
        (relevance,) = torch.autograd.grad(logits, x, seed)
    return relevance[0].sum(dim=0).numpy()


def _own_modules(net: nn.Module) -> None:
    """References hook modules: each activation must be one of its own, which the exported nets compared here have."""
    activations = [module for module in net.modules() if isinstance(module, nn.ReLU)]
    assert activations
    for activation in activations:
        activation.inplace = False
