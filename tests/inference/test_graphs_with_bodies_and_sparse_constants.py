"""Bodies of If, Loop and Scan read tensors from around them; constants may be sparse. Both run and are explained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from inference import nets
from whyray.base.errors import PackageError, TierMissing
from whyray.explain import explain, method_named, why_not
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.onboarding import check_package
from whyray.quality.randomisation import randomised

CPU = RuntimeOptions(device="cpu", intra_op_threads=1, cache=None)
RANDOM = np.random.default_rng(0)
KERNEL = RANDOM.normal(size=(6, 1, 3, 3)).astype(np.float32)
LINEAR = RANDOM.normal(size=(6, 3)).astype(np.float32) * (RANDOM.uniform(size=(6, 3)) < 0.5)
SIZES = np.array([0, -1], np.int64)


def value(name: str, kind: int = TensorProto.FLOAT, shape: object = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def head(features: str, end: str) -> list[onnx.NodeProto]:
    """Pooling and a linear layer, whose weights lie in the outer graph."""
    return [
        helper.make_node("GlobalAveragePool", [features], [f"{end}_pooled"]),
        helper.make_node("Reshape", [f"{end}_pooled", "sizes"], [f"{end}_flat"]),
        helper.make_node("MatMul", [f"{end}_flat", "linear"], [end]),
    ]


def conditional(features: str) -> list[onnx.NodeProto]:
    """If, whose branches read features and weights from around them."""
    zero = [*head(features, "other"), helper.make_node("Sub", ["other", "other"], ["nothing"])]
    return [
        helper.make_node(
            "If",
            ["yes"],
            ["logits"],
            then_branch=helper.make_graph(head(features, "then"), "then", [], [value("then")]),
            else_branch=helper.make_graph(zero, "else", [], [value("nothing")]),
        )
    ]


def loop(features: str) -> list[onnx.NodeProto]:
    """Loop of one round: its carried value starts at zero, and the features come from around it."""
    body = [
        *head(features, "round"),
        helper.make_node("Add", ["carried", "round"], ["sum"]),
        helper.make_node("Identity", ["go"], ["going"]),
    ]
    inputs = [value("count", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("carried")]
    outputs = [value("going", TensorProto.BOOL, []), value("sum")]
    return [
        helper.make_node(
            "Loop", ["one", "yes", "start"], ["logits"], body=helper.make_graph(body, "body", inputs, outputs)
        )
    ]


def scan(features: str) -> list[onnx.NodeProto]:
    """Scan over a sequence of one zero, added to what the features around it give."""
    body = [*head(features, "round"), helper.make_node("Add", ["element", "round"], ["sum"])]
    made = helper.make_graph(body, "body", [value("element", shape=[3])], [value("sum")])
    return [
        helper.make_node("Scan", ["sequence"], ["stacked"], body=made, num_scan_inputs=1),
        helper.make_node("Squeeze", ["stacked", "first"], ["logits"]),
    ]


def packed(tmp_path: Path, nodes: list[onnx.NodeProto], sparse: object = None) -> Path:
    constants = {
        "kernel": KERNEL,
        "linear": LINEAR,
        "sizes": SIZES,
        "yes": np.array(True),
        "one": np.array(1, np.int64),
        "start": np.zeros((1, 3), np.float32),
        "sequence": np.zeros((1, 3), np.float32),
        "first": np.array([0], np.int64),
    }
    if sparse is not None:
        del constants["linear"]
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["maps"], pads=[1] * 4),
        helper.make_node("Relu", ["maps"], ["features"]),
        *nodes,
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", shape=["N", 1, 32, 32])],
        [value("logits", shape=["N", 3])],
        [numpy_helper.from_array(constant, name) for name, constant in constants.items()],
    )
    if isinstance(sparse, onnx.SparseTensorProto):
        graph.sparse_initializer.append(sparse)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder = nets.write_manifest(tmp_path / "plain" / "1.0.0", nets.manifest("plain"))
    onnx.save(proto, folder / "model.onnx")
    return folder


def errors(folder: Path) -> list[str]:
    return [finding.message for finding in check_package(folder, CPU) if finding.severity == "error"]


def as_flat(tmp_path: Path) -> Model:
    return load_package(packed(tmp_path / "flat", head("features", "logits")), options=CPU)


BODIES = {"If": conditional, "Loop": loop, "Scan": scan}


@pytest.mark.parametrize("kind", BODIES)
def test_a_graph_whose_head_lies_in_a_body_is_in_order_and_answers_as_without(tmp_path: Path, kind: str) -> None:
    folder = packed(tmp_path, BODIES[kind]("features"))
    assert errors(folder) == []
    model, x = load_package(folder, options=CPU), nets.image("plain").numpy()
    expected = as_flat(tmp_path).logits(x)
    assert np.allclose(model.logits(x), expected, atol=1e-5)
    assert model.network.features_name == "features", "the body reads them, though its node does not name them"
    assert model.network.head is None, "what happens in a body is not known to be affine"
    assert np.allclose(model.network.head_run(model.session.run(x).features), expected, atol=1e-5)
    assert np.abs(explain(model, x, target="one", method="ablation-cam").values).any()
    assert np.abs(explain(model, x, target="one", method="occlusion", window=8, stride=8).values).any()


@pytest.mark.parametrize("kind", BODIES)
def test_a_head_in_a_body_gives_the_grad_cam_of_the_one_without_or_a_refusal_by_name(tmp_path: Path, kind: str) -> None:
    model, x = load_package(packed(tmp_path, BODIES[kind]("features")), options=CPU), nets.image("plain").numpy()
    if why_not(method_named("grad-cam"), model) is None:
        expected = explain(as_flat(tmp_path), x, target="one", method="grad-cam").values
        assert np.allclose(explain(model, x, target="one", method="grad-cam").values, expected, atol=1e-5)
        return
    with pytest.raises(TierMissing, match="the head does not convert"):
        explain(model, x, target="one", method="grad-cam")
    assert model.gradients.measured_tier() == "T1"


@pytest.mark.parametrize("kind", BODIES)
def test_a_way_through_a_body_that_passes_the_features_by_is_seen(tmp_path: Path, kind: str) -> None:
    nodes = BODIES[kind]("features")
    nodes[-1].output[0] = "half"
    branch = helper.make_graph([helper.make_node("Add", ["half", "mean"], ["whole"])], "both", [], [value("whole")])
    nodes += [
        helper.make_node("ReduceMean", ["maps"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("If", ["yes"], ["logits"], then_branch=branch, else_branch=branch),
    ]
    model = load_package(packed(tmp_path, nodes), options=CPU)
    assert model.logits(nets.image("plain").numpy()).shape == (1, 3)
    assert model.network.graph.between("features", "logits") is None
    assert model.network.features_name == "maps"


def test_weights_that_only_a_body_reads_are_shuffled_for_the_randomisation_check(tmp_path: Path) -> None:
    model, x = load_package(packed(tmp_path, conditional("features")), options=CPU), nets.image("plain").numpy()
    (_, last), *_ = list(randomised(model, np.random.default_rng(1)))
    assert not np.allclose(last.logits(x), model.logits(x))


def sparse(form: str) -> onnx.SparseTensorProto:
    rows, columns = np.nonzero(LINEAR)
    linear = np.flatnonzero(LINEAR)
    places = linear if form == "linear" else np.stack([rows, columns], axis=1)
    return helper.make_sparse_tensor(
        numpy_helper.from_array(LINEAR[rows, columns], "linear"),
        numpy_helper.from_array(places.astype(np.int64), "places"),
        LINEAR.shape,
    )


@pytest.mark.parametrize("form", ["linear", "by axis"])
@pytest.mark.parametrize("holder", ["initialiser", "constant", "initialiser that a body reads"])
def test_sparse_constants_are_those_of_the_dense_graph(tmp_path: Path, form: str, holder: str) -> None:
    nodes = conditional("features") if "body" in holder else head("features", "logits")
    held = sparse(form)
    if holder == "constant":
        held.values.name = ""
        nodes = [helper.make_node("Constant", [], ["linear"], sparse_value=held), *nodes]
    folder = packed(tmp_path, nodes, held if holder != "constant" else "in a node")
    assert errors(folder) == []
    model, flat, x = load_package(folder, options=CPU), as_flat(tmp_path), nets.image("plain").numpy()
    assert np.allclose(model.logits(x), flat.logits(x), atol=1e-5)
    if "body" not in holder:
        for method in ("grad-cam", "gradient", "ablation-cam"):
            expected = explain(flat, x, target="two", method=method).values
            assert np.allclose(explain(model, x, target="two", method=method).values, expected, atol=1e-4)


def test_a_sparse_tensor_too_large_to_be_dense_is_refused_by_name(tmp_path: Path) -> None:
    held = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(1, np.float32), "linear"),
        numpy_helper.from_array(np.zeros(1, np.int64), "places"),
        [1 << 20, 1 << 20],
    )
    folder = packed(tmp_path, head("features", "logits"), held)
    with pytest.raises(PackageError, match=r"sparse tensor 'linear' .* larger than 2 GiB"):
        load_package(folder, options=CPU).predict(nets.image("plain").numpy())


@pytest.mark.parametrize("location", ["../../weights.bin", "/etc/hostname"])
def test_weights_of_a_body_outside_the_packages_folder_are_refused(tmp_path: Path, location: str) -> None:
    nodes = conditional("features")
    folder = packed(tmp_path, nodes)
    proto = onnx.load(folder / "model.onnx")
    branch = proto.graph.node[-1].attribute[0].g
    held = numpy_helper.from_array(np.ones(3, np.float32), "inner")
    held.ClearField("raw_data")
    held.data_location = TensorProto.EXTERNAL
    held.external_data.add(key="location", value=location)
    branch.initializer.append(held)
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(PackageError, match="outside the package folder"):
        load_package(folder, options=CPU).predict(nets.image("plain").numpy())
