from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from inference import nets
from whyray.base.errors import ModelOutputError, PackageError, TierMissing
from whyray.explain import explain
from whyray.inference import RuntimeOptions, load_package

CPU = RuntimeOptions(device="cpu", intra_op_threads=1)


@pytest.mark.parametrize("name", list(nets.KINDS))
def test_logits_are_those_of_the_net_that_was_exported(name: str) -> None:
    x = nets.image(name)
    with torch.no_grad():
        expected = nets.make(name)(x).numpy()
    assert np.allclose(nets.loaded(name).logits(x.numpy()), expected, atol=1e-5)


def test_probabilities_are_the_sigmoid_of_logits_and_calibrated_where_the_manifest_says(tmp_path: Path) -> None:
    targets = [{"name": "one", "calibration": [2.0, -1.0]}, {"name": "two"}, {"name": "three"}]
    model = load_package(nets.pack(tmp_path, "plain", targets=targets), options=CPU)
    x = nets.image("plain").numpy()
    logits, answer = model.logits(x)[0], model.predict(x)[0]
    assert answer[1] == pytest.approx(1 / (1 + np.exp(-logits[1])))
    assert answer[0] == pytest.approx(1 / (1 + np.exp(1 - 2 * logits[0])))


def test_a_model_at_another_prevalence_moves_answers_and_thresholds_and_no_logit(tmp_path: Path) -> None:
    targets = [{"name": "one", "calibration": [2.0, -1.0], "prevalence": 0.2}, {"name": "two"}, {"name": "three"}]
    model = load_package(nets.pack(tmp_path, "plain", targets=targets), options=CPU)
    rare = model.at_prevalence({"one": 0.02})
    x = nets.image("plain").numpy()
    assert np.array_equal(rare.logits(x), model.logits(x))
    before, after = model.predict(x)[0], rare.predict(x)[0]
    odds = (after[0] / (1 - after[0])) / (before[0] / (1 - before[0]))
    assert odds == pytest.approx((0.02 / 0.98) / (0.2 / 0.8), rel=1e-4)
    assert np.array_equal(after[1:], before[1:])
    assert rare.manifest.targets[0].threshold == pytest.approx((0.02 / 0.98 * 4) / (1 + 0.02 / 0.98 * 4))
    assert rare is model.at_prevalence({"one": 0.02}), "made once, with the session of the model"
    assert rare.session is model.session
    assert (rare.as_stated, model.at_prevalence({})) == (model, model)


@pytest.mark.parametrize(("name", "error"), [("two", PackageError), ("four", ModelOutputError)])
def test_a_prevalence_that_the_package_does_not_state_is_not_moved(
    tmp_path: Path, name: str, error: type[Exception]
) -> None:
    targets = [{"name": "one", "calibration": [2.0, -1.0], "prevalence": 0.2}, {"name": "two"}, {"name": "three"}]
    model = load_package(nets.pack(tmp_path, "plain", targets=targets), options=CPU)
    with pytest.raises(error, match=name):
        model.at_prevalence({name: 0.02})


def test_what_is_explained_lies_before_the_graphs_own_activation(tmp_path: Path) -> None:
    net = torch.nn.Sequential(nets.make("plain"), torch.nn.Sigmoid()).eval()
    model = load_package(
        nets.pack(tmp_path, "plain", net, output={"name": "logits", "activation": "none"}), options=CPU
    )
    x = nets.image("plain")
    with torch.no_grad():
        assert np.allclose(model.logits(x.numpy()), net[0](x).numpy(), atol=1e-5)
        assert np.allclose(model.predict(x.numpy()), net(x).numpy(), atol=1e-5)


def test_a_graph_with_a_fixed_batch_answers_several_items_one_by_one(tmp_path: Path) -> None:
    model = load_package(nets.pack(tmp_path, "plain", dynamic=False), options=CPU)
    items = np.concatenate([nets.image("plain", seed).numpy() for seed in range(3)])
    together = model.logits(items)
    assert not model.session.batchable(items)
    assert np.allclose(together, np.concatenate([model.logits(image[None]) for image in items]), atol=1e-6)


def test_a_graph_whose_items_touch_each_other_is_found_out_and_run_one_by_one(tmp_path: Path) -> None:
    class Mixing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nets.make("plain")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x) - self.net(x).mean(dim=0, keepdim=True)

    model = load_package(nets.pack(tmp_path, "plain", Mixing().eval()), options=CPU)
    items = np.concatenate([nets.image("plain", seed).numpy() for seed in range(3)])
    assert np.allclose(model.logits(items), 0, atol=1e-6)
    assert not model.session.batchable(items)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_input_that_is_not_finite_is_refused(bad: float) -> None:
    x = nets.image("plain").numpy()
    x[0, 0, 0, 0] = bad
    with pytest.raises(ModelOutputError, match="NaN or infinite"):
        nets.loaded("plain").predict(x)


def test_an_input_of_another_shape_is_refused_with_both_shapes() -> None:
    with pytest.raises(ModelOutputError, match=r"\(N, 1, 32, 32\), found \(1, 1, 31, 32\)"):
        nets.loaded("plain").predict(np.zeros((1, 1, 31, 32), np.float32))


def _graph(
    tmp_path: Path, nodes: list[onnx.NodeProto], *, size: tuple[object, ...] = ("n", 4, 4, 1), **changes: object
):
    folder = nets.write_manifest(tmp_path / "plain" / "1.0.0", nets.manifest("plain", **changes))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, size)],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ("n", 3))],
        [
            helper.make_tensor("w", onnx.TensorProto.FLOAT, (3, 1, 1, 1), [1.0, -2.0, 3.0]),
            helper.make_tensor("axes", onnx.TensorProto.INT64, (2,), [2, 3]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.save(model, folder / "model.onnx")
    return load_package(folder, options=CPU)


def test_an_output_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["maps"]),
        helper.make_node("Log", ["maps"], ["broken"]),
        helper.make_node("ReduceMean", ["broken", "axes"], ["logits"], keepdims=0),
    ]
    model = _graph(tmp_path, nodes, size=("n", 1, 4, 4), input__shape=[4, 4])
    with pytest.raises(ModelOutputError, match="'logits' has NaN or infinite"):
        model.predict(np.ones((1, 1, 4, 4), np.float32))


def test_a_channels_last_package_takes_its_own_layout_and_is_explained_on_the_same_grid(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["first", "w"], ["maps"]),
        helper.make_node("ReduceMean", ["maps", "axes"], ["logits"], keepdims=0),
    ]
    model = _graph(tmp_path, nodes, size=("n", 4, 6, 1), input__shape=[4, 6], input__layout="NHWC")
    x = np.arange(24, dtype=np.float32).reshape(1, 4, 6, 1)
    assert model.network.input_shape == (1, 4, 6, 1)
    assert np.allclose(model.logits(x)[0], x.mean() * np.array([1, -2, 3]))
    heatmap = explain(model, x, target="three", method="occlusion", window=1, stride=1, fill="zero")
    assert np.allclose(heatmap.values, 3 * x[0, :, :, 0] / 24, atol=1e-5)
    heatmap = explain(model, x, target="three", method="integrated-gradients")
    assert np.allclose(heatmap.values, 3 * x[0, :, :, 0] / 24, atol=1e-5)
    first = model.network.checked_input(x)
    assert first.shape == (1, 1, 4, 6)
    assert model.network.graph.shapes["x"] == first.shape
    for engine in (model.gradients.twin("gradient"), model.gradients.compiled()):
        gradients, logits = engine.gradients(first, [2])
        assert np.allclose(gradients, 3 / 24, atol=1e-6)
        assert np.allclose(logits, model.logits(x), atol=1e-5)


def test_an_input_that_the_graph_does_not_have_is_named(tmp_path: Path) -> None:
    folder = nets.pack(tmp_path, "plain", input={**nets.manifest("plain")["input"], "name": "image"})
    with pytest.raises(PackageError, match=r"input\.name says 'image', but the graph's inputs are \['x'\]"):
        load_package(folder).predict(nets.image("plain").numpy())


def test_a_gpu_that_was_asked_for_and_is_not_there_fails_loudly() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has CUDA")
    model = load_package(nets.packed("plain"), options=RuntimeOptions(device="cuda"))
    with pytest.raises(PackageError, match="device 'cuda' was asked for"):
        model.predict(nets.image("plain").numpy())


@pytest.mark.parametrize(
    ("name", "kind"),
    [("plain", "pooled"), ("residual", "pooled"), ("dense", "pooled"), ("unet-3d", "pointwise"), ("flatten", None)],
)
def test_heads_are_recognised_from_the_graph(name: str, kind: str | None) -> None:
    head = nets.loaded(name).network.head
    assert (None if head is None else head.kind) == kind


def test_a_model_without_feature_maps_says_which_method_it_can_not_give(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32 * 32, 3)).eval()
    model = load_package(nets.pack(tmp_path, "plain", net), options=CPU)
    with pytest.raises(TierMissing, match=r"grad-cam needs feature maps \(T1\)"):
        explain(model, nets.image("plain").numpy(), target="one", method="grad-cam")
    assert explain(model, nets.image("plain").numpy(), target="one", method="gradient").values.any()
