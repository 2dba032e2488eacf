"""Gradients that are written from the graph are torch's, operator by operator and net by net, and need no torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from explain.references import close
from inference import nets
from planted_counterfactuals import linear_pair
from whyray.inference import Autoencoder, Model, RuntimeOptions, Twin, load_package, open_session, to_torch
from whyray.inference.differentiated import DifferentiatedEngine
from whyray.inference.differentiation import differentiated
from whyray.inference.gradient_session import GradientSession
from whyray.inference.way_back import DifferentiationError

OPTIONS = RuntimeOptions(device="cpu", intra_op_threads=1)
TARGETS = [0, 1, 2]


def fresh(name: str) -> Model:
    return load_package(nets.packed(name), options=OPTIONS)


@pytest.mark.parametrize("name", sorted(nets.KINDS))
def test_every_kind_of_net_has_the_gradient_of_its_twin(name: str) -> None:
    model, x = fresh(name), np.concatenate([nets.image(name).numpy(), nets.image(name, 2).numpy()])
    regions = None
    if model.task == "segmentation":
        regions = np.random.default_rng(0).random((3, *x.shape[2:])).astype(np.float32)
    engine = model.gradients.for_descent("test")
    assert isinstance(engine, DifferentiatedEngine)
    expected, logits = model.gradients.twin("test").gradients(x, TARGETS, regions)
    gradients, answer = engine.gradients(x, TARGETS, regions)
    close(gradients, expected)
    close(answer, logits)
    close(engine.answers(x), model.session.logits(x))
    weights = np.random.default_rng(1).normal(size=answer[:1].shape).astype(np.float32)
    close(engine.pullback(x[:1], weights), model.gradients.twin("test").pullback(x[:1], weights))


def test_of_a_graph_in_half_precision_it_is_the_gradient_in_single(tmp_path: Path) -> None:
    model, x = load_package(nets.half_precision(tmp_path, "plain"), options=OPTIONS), nets.image("plain").numpy()
    engine = model.gradients.for_descent("test")
    assert isinstance(engine, DifferentiatedEngine)
    close(engine.gradients(x, TARGETS)[0], model.gradients.twin("test").gradients(x, TARGETS)[0])


def conv(kind: str, weight: tuple[int, ...], shape: tuple[int, ...], **settings: object) -> tuple[object, ...]:
    random = np.random.default_rng(len(kind))
    return kind, [random.normal(size=weight).astype(np.float32)], shape, settings


OPERATORS: dict[str, tuple[object, ...]] = {
    "conv": conv("Conv", (4, 3, 3, 3), (3, 9, 8), pads=[1, 1, 1, 1]),
    "conv, uneven padding": conv("Conv", (4, 3, 3, 3), (3, 9, 8), pads=[0, 2, 1, 0]),
    "conv, padded beyond its kernel": conv("Conv", (4, 3, 2, 2), (3, 9, 8), pads=[2, 2, 2, 2]),
    "conv, groups": conv("Conv", (6, 2, 3, 3), (4, 9, 8), group=2),
    "conv, each channel": conv("Conv", (4, 1, 5, 5), (4, 9, 9), group=4, pads=[2, 2, 2, 2]),
    "conv, gaps": conv("Conv", (4, 3, 3, 3), (3, 9, 8), dilations=[2, 1], pads=[2, 0, 2, 0]),
    "conv, strides": conv("Conv", (4, 3, 3, 3), (3, 9, 8), strides=[2, 3], pads=[1, 0, 1, 1]),
    "conv, strides and groups": conv("Conv", (6, 2, 3, 3), (4, 10, 8), group=2, strides=[2, 2]),
    "conv, same": conv("Conv", (4, 3, 4, 3), (3, 9, 8), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv, same, before": conv("Conv", (4, 3, 4, 3), (3, 9, 8), auto_pad="SAME_LOWER"),
    "conv of volumes": conv("Conv", (4, 3, 3, 2, 3), (3, 5, 6, 7), strides=[1, 2, 1], pads=[1, 0, 1, 1, 0, 1]),
    "conv transposed": conv("ConvTranspose", (3, 4, 3, 3), (3, 5, 6), strides=[2, 2], pads=[1, 1, 1, 1]),
    "conv transposed, more": conv("ConvTranspose", (3, 4, 2, 2), (3, 5, 6), strides=[2, 2], output_padding=[1, 1]),
    "conv transposed, groups": conv("ConvTranspose", (4, 2, 3, 3), (4, 5, 6), group=2),
    "average": ("AveragePool", [], (3, 9, 8), {"kernel_shape": [3, 2], "strides": [2, 2]}),
    "average, padded": ("AveragePool", [], (3, 9, 8), {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2]}),
    "average, padding counts": (
        "AveragePool",
        [],
        (3, 9, 8),
        {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1},
    ),
    "largest": ("MaxPool", [], (3, 8, 8), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "largest, overlapping": (
        "MaxPool",
        [],
        (3, 9, 8),
        {"kernel_shape": [3, 3], "strides": [2, 1], "pads": [1, 1, 1, 1]},
    ),
    "mean of all": ("GlobalAveragePool", [], (3, 9, 8), {}),
    "larger": ("Resize", ["", np.array([1, 1, 2, 3], np.float32)], (3, 5, 6), {"mode": "linear"}),
    "nearest": ("Resize", ["", np.array([1, 1, 2, 2], np.float32)], (3, 5, 6), {"mode": "nearest"}),
    "to a size": ("Resize", ["", "", np.array([1, 3, 7, 9])], (3, 5, 6), {"mode": "linear"}),
    "depth to space": ("DepthToSpace", [], (8, 3, 4), {"blocksize": 2, "mode": "DCR"}),
    "depth to space, columns first": ("DepthToSpace", [], (8, 3, 4), {"blocksize": 2, "mode": "CRD"}),
    "sum": ("ReduceSum", [np.array([2])], (3, 9, 8), {"keepdims": 0}),
    "mean": ("ReduceMean", [np.array([2, 3])], (3, 9, 8), {"keepdims": 1}),
    "largest of all": ("ReduceMax", [np.array([1])], (3, 9, 8), {"keepdims": 0}),
    "softmax": ("Softmax", [], (5, 4, 3), {"axis": 1}),
    "turned": ("Transpose", [], (3, 4, 5), {"perm": [0, 3, 1, 2]}),
    "a part": ("Slice", [np.array([1]), np.array([7]), np.array([2])], (3, 9, 8), {}),
    "every second, from the end": (
        "Slice",
        [np.array([-1, 1]), np.array([-9, 7]), np.array([3, 2]), np.array([-2, 3])],
        (3, 9, 8),
        {},
    ),
    "clip": ("Clip", [np.array(-0.5, np.float32), np.array(0.7, np.float32)], (3, 9, 8), {}),
    "clip below": ("Clip", [np.array(-0.5, np.float32)], (3, 9, 8), {}),
    "leaky": ("LeakyRelu", [], (3, 9, 8), {"alpha": 0.2}),
    "sigmoid": ("Sigmoid", [], (3, 4, 4), {}),
    "tanh": ("Tanh", [], (3, 4, 4), {}),
    "erf": ("Erf", [], (3, 4, 4), {}),
    "gelu": ("Gelu", [], (3, 4, 4), {}),
    "exp": ("Exp", [], (3, 4, 4), {}),
    "abs": ("Abs", [], (3, 4, 4), {}),
    "power": ("Pow", [np.array(3, np.float32)], (3, 4, 4), {}),
    "square": ("Pow", [np.array(2, np.float32)], (3, 4, 4), {}),
    "product": ("MatMul", [np.random.default_rng(3).normal(size=(4, 6)).astype(np.float32)], (3, 5, 4), {}),
    "spread": ("Expand", [np.array([1, 3, 4, 4])], (1, 4, 4), {}),
    "picked": ("Gather", [np.array([2, 0, 2])], (3, 4, 4), {"axis": 1}),
    "norm of layers": (
        "LayerNormalization",
        [np.random.default_rng(4).normal(size=6).astype(np.float32), np.zeros(6, np.float32)],
        (3, 5, 6),
        {"axis": -1},
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_has_the_gradient_that_torch_gives_it(name: str) -> None:
    kind, constants, shape, settings = OPERATORS[name]
    assert isinstance(kind, str) and isinstance(constants, list) and isinstance(shape, tuple)  # noqa: PT018
    assert isinstance(settings, dict)
    given = [constant if isinstance(constant, str) else f"c{number}" for number, constant in enumerate(constants)]
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["image", "two"], ["twice"]),
            helper.make_node(kind, ["twice", *given], ["y"], **settings),
            helper.make_node("Mul", ["y", "y"], ["z"]),
        ],
        "operator",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, *shape])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.array(2, np.float32), "two"),
            *(
                numpy_helper.from_array(constant, f"c{n}")
                for n, constant in enumerate(constants)
                if not isinstance(constant, str)
            ),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 9
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value_info.name: tuple(dim.dim_value for dim in value_info.type.tensor_type.shape.dim)
        for value_info in (*inferred.value_info, *inferred.input, *inferred.output)
    }
    session = open_session(differentiated(model, shapes).SerializeToString(), OPTIONS, name="test")
    x = np.random.default_rng(7).normal(size=(1, *shape)).astype(np.float32)
    weights = np.random.default_rng(8).normal(size=shapes["z"]).astype(np.float32)
    _, gradients = session.run(None, {"x": x, "weights": weights})
    leaf = torch.from_numpy(x).requires_grad_(True)
    answer = to_torch(model)(leaf)
    answer = answer[0] if isinstance(answer, (tuple, list)) else answer
    (expected,) = torch.autograd.grad((answer * torch.from_numpy(weights)).sum(), leaf)
    assert np.abs(gradients).max() > 0
    np.testing.assert_allclose(gradients, expected.numpy(), atol=1e-4 * float(np.abs(gradients).max()))


def test_a_graph_with_an_operator_without_a_rule_is_left_to_torch(tmp_path: Path) -> None:
    folder = nets.pack(tmp_path, "plain")
    proto = onnx.load(folder / "model.onnx")
    for node in proto.graph.node:
        if node.op_type == "Relu":
            node.op_type = "Celu"
    onnx.save(proto, folder / "model.onnx")
    model = load_package(folder, options=OPTIONS)
    assert model.gradients.differentiated is None
    assert isinstance(model.gradients.for_descent("test"), Twin)


def test_before_an_opset_whose_forms_are_known_nothing_is_written() -> None:
    proto = onnx.load(nets.packed("plain") / "model.onnx")
    del proto.opset_import[:]
    proto.opset_import.append(helper.make_opsetid("", 11))
    with pytest.raises(DifferentiationError, match="opset 11"):
        differentiated(proto, {})


def test_a_wrong_gradient_is_not_believed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    right = GradientSession.__call__

    def halved(self: GradientSession, x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        answer, gradients = right(self, x, weights)
        return answer, gradients / 2

    monkeypatch.setattr(GradientSession, "__call__", halved)
    options = RuntimeOptions(device="cpu", intra_op_threads=1, cache=None)
    model = load_package(nets.packed("plain"), options=options)
    assert isinstance(model.gradients.for_descent("test"), Twin)
    assert "its gradients are not those" in caplog.text


@pytest.mark.parametrize("means", [(0.0, 1.0), (0.3, 0.5)])
def test_a_decoders_gradient_is_that_of_its_twin(tmp_path: Path, means: tuple[float, float]) -> None:
    folder = linear_pair(tmp_path).folder.parents[1] / "planted-autoencoder" / "1.0.0"
    text = (folder / "model.yaml").read_text()
    mean, std = means
    intensity = f"input:\n  intensity: {{source: voi, mean: [{mean}], std: [{std}]}}"
    (folder / "model.yaml").write_text(text.replace("input:", intensity, 1))
    autoencoder = Autoencoder(load_package(folder, options=OPTIONS))
    latents = np.random.default_rng(1).normal(size=(2, 6)).astype(np.float32)
    weights = np.random.default_rng(2).normal(size=(2, 16, 16)).astype(np.float32)
    leaf = torch.from_numpy(latents).requires_grad_(True)
    (autoencoder.decode_torch(leaf) * torch.from_numpy(weights)).sum().backward()
    assert leaf.grad is not None
    close(autoencoder.pullback(latents, weights), leaf.grad.numpy())


def test_the_chest_decoders_gradient_is_that_of_its_twin() -> None:
    autoencoder = Autoencoder(load_package("cxr-autoencoder@1", options=OPTIONS))
    latents = autoencoder.encode(np.random.default_rng(1).random((1, 128, 128)).astype(np.float32))
    weights = np.random.default_rng(2).normal(size=(1, 128, 128)).astype(np.float32)
    leaf = torch.from_numpy(latents).requires_grad_(True)
    (autoencoder.decode_torch(leaf) * torch.from_numpy(weights)).sum().backward()
    assert leaf.grad is not None
    close(autoencoder.pullback(latents, weights), leaf.grad.numpy())


def test_a_counterfactual_is_made_without_torch(tmp_path: Path) -> None:
    """Where the tier is known, as it is after onboarding: torch takes 240 MiB, and seconds to load."""
    code = """
import sys
import numpy as np
from whyray.explain import Case, method_named
from whyray.inference import RuntimeOptions, load_package
model = load_package("cxr-findings@1.0.0", options=RuntimeOptions(device="cpu", intra_op_threads=1))
x = np.random.default_rng(0).random((1, 1, 224, 224)).astype(np.float32)
method = method_named("latent-shift")
(told,) = method.explain_case(Case(model, x, [4]), method.Parameters(refine=1))
assert told.frames.any()
assert "torch" not in sys.modules
"""
    given = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
