"""A gradient engine is believed where finite differences of ONNX Runtime's answers prove it, not by its answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from inference import nets
from whyray.base.errors import TierMissing
from whyray.explain import explain, method_named, why_not
from whyray.explain.concepts import layer_to_logits
from whyray.inference import Model, RuntimeOptions, compiled, converters, gradient, load_package
from whyray.inference.converters import CONVERTERS
from whyray.inference.gradient_proof import unproven
from whyray.onboarding import onboard

CPU = RuntimeOptions(device="cpu", intra_op_threads=1, cache=None)
FIRST = CONVERTERS[0]


class Calibration(CalibrationDataReader):
    def __init__(self) -> None:
        self._left = [{"x": nets.image("plain", seed).numpy()} for seed in range(4)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self._left.pop() if self._left else None


def _static(given: Path, made: Path, form: QuantFormat) -> None:
    quantize_static(given, made, Calibration(), quant_format=form, weight_type=QuantType.QInt8, per_channel=False)


QUANTISED: dict[str, Callable[[Path, Path], None]] = {
    "dynamic": lambda given, made: quantize_dynamic(given, made, weight_type=QuantType.QUInt8),
    "static, pairs": lambda given, made: _static(given, made, QuantFormat.QDQ),
    "static, operators": lambda given, made: _static(given, made, QuantFormat.QOperator),
}


def quantised(tmp_path: Path, name: str, kind: str) -> Model:
    folder = nets.write_manifest(tmp_path / name / "1.0.0", nets.manifest(name))
    given = tmp_path / "float.onnx"
    nets.export(given, name, nets.make(name), modern=False)
    QUANTISED[kind](given, folder / "model.onnx")
    return load_package(folder, options=CPU)


@pytest.mark.parametrize("kind", QUANTISED)
def test_a_quantised_net_has_no_gradients_and_says_that_it_rounds(tmp_path: Path, kind: str) -> None:
    model, x = quantised(tmp_path, "plain", kind), nets.image("plain").numpy()
    assert np.abs(model.logits(x) - nets.loaded("plain").logits(x)).max() < 0.1
    assert model.gradients.measured_tier() == "T1"
    for method in ("integrated-gradients", "gradient", "lrp", "smooth-grad"):
        with pytest.raises(TierMissing, match=rf"{method} needs gradients \(T2\)"):
            explain(model, x, target="one", method=method)
        assert why_not(method_named(method), model) is not None
    assert "the graph rounds (" in model.gradients.tier_reason
    assert explain(model, x, target="one", method="occlusion", window=8, stride=8).values.any()


def test_a_head_that_rounds_gives_no_class_activation_map_by_gradients_but_others(tmp_path: Path) -> None:
    model, x = quantised(tmp_path, "plain", "dynamic"), nets.image("plain").numpy()
    for method in ("grad-cam", "layer-cam", "hi-res-cam", "grad-cam-plus-plus"):
        refusal = why_not(method_named(method), model)
        assert refusal is not None
        assert "rounds (" in refusal.message
        with pytest.raises(TierMissing):
            explain(model, x, target="one", method=method)
    for method in ("score-cam", "ablation-cam", "eigen-cam"):
        assert why_not(method_named(method), model) is None
        assert explain(model, x, target="one", method=method).values.any()


def test_a_float_head_behind_quantised_features_is_explained_by_its_closed_form(tmp_path: Path) -> None:
    model, x = behind_rounding(tmp_path), nets.image("plain").numpy()
    assert model.gradients.measured_tier() == "T1"
    assert why_not(method_named("grad-cam"), model) is None
    assert explain(model, x, target="one", method="grad-cam").values.any()
    with pytest.raises(TierMissing, match="QuantizeLinear"):
        explain(model, x, target="one", method="integrated-gradients")


def behind_rounding(tmp_path: Path) -> Model:
    """QuantizeLinear and back on image and features, then pooling and a linear layer in float."""
    random = np.random.default_rng(0)
    weights = {
        "kernel": random.normal(size=(6, 1, 3, 3)).astype(np.float32),
        "linear": random.normal(size=(3, 6)).astype(np.float32),
        "scale": np.float32(0.05),
        "zero": np.uint8(64),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node("Conv", ["d", "kernel"], ["c"], pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "scale", "zero"], ["rq"]),
        helper.make_node("DequantizeLinear", ["rq", "scale", "zero"], ["features"]),
        helper.make_node("GlobalAveragePool", ["features"], ["g"]),
        helper.make_node("Flatten", ["g"], ["v"]),
        helper.make_node("Gemm", ["v", "linear"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder = nets.write_manifest(tmp_path / "plain" / "1.0.0", nets.manifest("plain"))
    onnx.save(proto, folder / "model.onnx")
    return load_package(folder, options=CPU)


class Altered(torch.nn.Module):
    """Answers as the net does, with another gradient."""

    def __init__(self, proto: object, alter: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.right, self.alter = FIRST.convert(proto), alter

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.right(self.alter(x))


def _zero(x: torch.Tensor) -> torch.Tensor:
    return x.detach() + 0 * x


def _a_fifth_more(x: torch.Tensor) -> torch.Tensor:
    return 1.2 * x - 0.2 * x.detach()


def _without_a_border(x: torch.Tensor) -> torch.Tensor:
    inner = torch.zeros_like(x)
    inner[..., 4:-4, 4:-4] = 1
    return x * inner + x.detach() * (1 - inner)


def _shifted(x: torch.Tensor) -> torch.Tensor:
    moved = torch.roll(x, 1, -1)
    return x.detach() + moved - moved.detach()


@pytest.mark.parametrize("alter", [_zero, _a_fifth_more, _without_a_border, _shifted, torch.detach])
def test_a_twin_with_the_right_answers_and_other_gradients_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, alter: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    class Wrong:
        name, by_operator = "wrong", True

        def convert(self, proto: Any) -> Any:
            return Altered(proto, alter)

    monkeypatch.setattr(converters, "CONVERTERS", (Wrong(),))
    for name in ("plain", "residual", "unet-3d"):
        model = load_package(nets.packed(name), options=CPU)
        assert model.gradients.measured_tier() == "T1"
        assert "its gradients are not those of ONNX Runtime's answers" in model.gradients.tier_reason
    with pytest.raises(TierMissing, match="its gradients are not those"):
        explain(load_package(nets.packed("flatten"), options=CPU), nets.image("flatten").numpy(), method="grad-cam")


@pytest.mark.parametrize("name", nets.KINDS)
def test_the_gradients_of_float_nets_are_proven_also_on_an_image_with_a_black_half(name: str) -> None:
    model, x = load_package(nets.packed(name), options=CPU), nets.image(name).numpy()
    x[..., : x.shape[-1] // 2] = 0
    model.gradients.prove_on(x)
    assert model.gradients.measured_tier() == "T2", model.gradients.tier_reason


def test_gradients_of_a_net_whose_rectifiers_all_turn_at_a_black_image_are_proven_there() -> None:
    weight = np.random.default_rng(0).normal(size=(8, 1, 12, 12)).astype(np.float32)
    linear = torch.from_numpy(weight.reshape(8, -1))

    def net(x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x.flatten(1) @ linear.T).sum(1, keepdim=True)

    def pullback(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return gradient.pulled_back(net, x, weights, "cpu")

    black = np.zeros((1, 1, 12, 12), np.float32)
    assert unproven(lambda x: net(torch.from_numpy(x)).numpy(), pullback, [black]) == ""


def test_answers_that_never_move_prove_nothing() -> None:
    reason = unproven(lambda x: np.ones((1, 3), np.float32), lambda x, _: np.zeros_like(x), [np.ones((1, 1, 8, 8))])
    assert "do not change" in reason


def test_onboarding_proves_gradients_on_its_own_image_and_writes_the_tier_of_that(tmp_path: Path) -> None:
    model = quantised(tmp_path, "plain", "dynamic")
    report = onboard(model, [nets.image("plain").numpy()], only=["integrated-gradients", "grad-cam", "eigen-cam"])
    assert report["tier"] == "T1"
    assert "finite differences" in report["why not higher"]
    assert set(report["methods"]["integrated-gradients"]) >= {"refused"}
    assert "refused" in report["methods"]["grad-cam"]
    assert report["methods"]["eigen-cam"]["grades"]
    assert load_package(model.package.folder, options=CPU).tier == "T1"


def test_a_compiled_gradient_is_proven_when_it_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_package(nets.packed("flatten"), options=CPU)
    assert model.gradients.compiled(prove=True)
    assert model.gradients.compiled_head(prove=True)
    original = compiled.CompiledGradient.__call__

    def halved(self: object, x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answer, gradients = original(self, x, weights)  # type: ignore[arg-type]
        return answer, gradients / 2

    monkeypatch.setattr(compiled.CompiledGradient, "__call__", halved)
    model = load_package(nets.packed("flatten"), options=CPU)  # what a model has proven once, it proves no more
    for compile_again in (model.gradients.compiled, model.gradients.compiled_head):
        with pytest.raises(ValueError, match="its gradients are not those"):
            compile_again(prove=True)


def test_a_proof_is_kept_with_what_was_compiled_and_not_made_twice(tmp_path: Path) -> None:
    options = RuntimeOptions(device="cpu", intra_op_threads=1, cache=tmp_path)
    passes = []
    for _ in range(2):
        model = load_package(nets.packed("plain"), options=options)
        assert model.gradients.measured_tier() == "T2"
        passes.append(model.session.forwards)
    assert passes[1] == 3 < passes[0]


def test_slopes_behind_a_layer_are_proven_too(tmp_path: Path) -> None:
    rounding = quantised(tmp_path, "plain", "dynamic")
    assert rounding.network.features_name is not None
    with pytest.raises(TierMissing, match=r"the graph behind .* rounds \("):
        layer_to_logits(rounding, rounding.network.features_name)
    model, x = load_package(nets.packed("flatten"), options=CPU), nets.image("flatten").numpy()
    features = model.session.run(x).features
    assert features is not None
    assert model.network.features_name is not None
    assert layer_to_logits(model, model.network.features_name).slopes(features, [0, 1])[0].any()


class GeneralisedMean(nets.PlainCnn):
    """Pooling by a root of a mean of powers, which has no answer to features below 0 (Radenović et al. 2019, eq. 3)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        powers = self.last(self.body(x)).clamp(min=1e-6).pow(3.0)
        return self.linear(powers.mean(dim=(2, 3)).pow(1 / 3))


class Steep(nets.FlattenCnn):
    """A head with an exponential, which magnifies rounding and leaves the range of floats where features are large."""

    def __init__(self, steepness: float) -> None:
        super().__init__()
        self.steepness = steepness

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.behind(self.last(x))

    def behind(self, features: torch.Tensor) -> torch.Tensor:
        flatten, first, _, second = self.linear
        return second(torch.exp(self.steepness * first(flatten(features))))


@pytest.mark.parametrize(("half", "steepness"), [(True, 1.0), (True, 2.0), (False, 60.0)])
def test_a_head_that_grows_steeply_is_proven_where_it_has_an_answer(
    tmp_path: Path, half: bool, steepness: float
) -> None:
    torch.manual_seed(0)
    net, x = Steep(steepness).eval(), nets.image("flatten").numpy()
    folder = nets.half_precision(tmp_path, "flatten", net) if half else nets.pack(tmp_path, "flatten", net)
    model = load_package(folder, options=CPU)
    features = model.session.run(x).features
    assert features is not None
    assert why_not(method_named("grad-cam"), model) is None
    taken = torch.from_numpy(features).requires_grad_(True)
    net.behind(taken)[0, 1].backward()
    slopes = model.gradients.head(features, model.logits(x), [1])[0]
    np.testing.assert_allclose(slopes[0], taken.grad[0].numpy(), atol=5e-3 * float(taken.grad.abs().max()))


@pytest.mark.parametrize("method", ["grad-cam", "hi-res-cam", "layer-cam", "grad-cam-plus-plus"])
def test_a_head_that_has_no_answer_to_negative_features_is_proven_on_others(tmp_path: Path, method: str) -> None:
    torch.manual_seed(0)
    net = GeneralisedMean().eval()
    model, x = load_package(nets.pack(tmp_path, "plain", net), options=CPU), nets.image("plain").numpy()
    features = model.session.run(x).features
    assert features is not None
    assert not np.isfinite(model.network.head_run(-features)).all()
    assert why_not(method_named(method), model) is None
    assert explain(model, x, target="one", method=method).values.shape == (32, 32)
    powers = torch.from_numpy(features).requires_grad_(True)
    net.linear(powers.mean(dim=(2, 3)).pow(1 / 3))[0, 1].backward()
    slopes = model.gradients.head(features, model.logits(x), [1])[0]
    np.testing.assert_allclose(slopes[0], powers.grad[0].numpy(), rtol=1e-4, atol=1e-7)
