"""Inputs that are no float32: cast on the way in, whole numbers rounded; or refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from inference import nets
from whyray.base.errors import PackageError
from whyray.explain import explain
from whyray.inference import RuntimeOptions, load_package
from whyray.onboarding import check_package

CPU = RuntimeOptions(device="cpu", intra_op_threads=1, cache=None)
RANDOM = np.random.default_rng(0)
KERNEL = RANDOM.normal(size=(6, 1, 3, 3)) / 100
LINEAR = RANDOM.normal(size=(6, 3))
TO_255 = {"source": "voi", "std": [1 / 255]}
INTEGERS = ("UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64")


def packed(
    tmp_path: Path,
    kind: str,
    shape: tuple[object, ...] = ("N", 1, 32, 32),
    *,
    inside: str = "FLOAT",
    pointwise: bool = False,
    others: tuple[str, ...] = (),
    intensity: object = TO_255,
) -> Path:
    """A net whose input is of `kind`, and which computes in `inside`; ONNX Runtime convolves in no double precision."""
    array = helper.tensor_dtype_to_np_dtype(getattr(TensorProto, inside))
    given = "x"
    nodes = []
    if kind != inside:
        nodes = [helper.make_node("Cast", ["x"], ["image"], to=getattr(TensorProto, inside))]
        given = "image"
    first = [helper.make_node("Conv", [given, "kernel"], ["maps"], pads=[1] * 4)]
    if pointwise:
        first = [helper.make_node("Mul", [given, "weights"], ["maps"])]
    nodes += [
        *first,
        helper.make_node("Relu", ["maps"], ["features"]),
        helper.make_node("ReduceMean", ["features"], ["flat"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["flat", "linear"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", getattr(TensorProto, kind), shape)]
        + [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in others],
        [helper.make_tensor_value_info("logits", getattr(TensorProto, inside), ["N", 3])],
        [
            numpy_helper.from_array(KERNEL.astype(array), "kernel"),
            numpy_helper.from_array(KERNEL[None, :, 0, :1, :1].astype(array), "weights"),
            numpy_helper.from_array(LINEAR.astype(array), "linear"),
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder = nets.write_manifest(
        tmp_path / kind / "plain" / "1.0.0", nets.manifest("plain", input__intensity=intensity)
    )
    onnx.save(proto, folder / "model.onnx")
    return folder


def image() -> np.ndarray:
    x = nets.image("plain").numpy()
    return ((x - x.min()) / (x.max() - x.min()) * 100).round().astype(np.float32)


@pytest.mark.parametrize("kind", [*INTEGERS, "DOUBLE", "BFLOAT16", "FLOAT16"])
def test_an_image_reaches_an_input_of_any_number_type_as_it_is(tmp_path: Path, kind: str) -> None:
    intensity = {"source": "voi", "std": [1 / 100]}
    expected = load_package(packed(tmp_path, "FLOAT", intensity=intensity), options=CPU).logits(image())
    logits = load_package(packed(tmp_path, kind, intensity=intensity), options=CPU).logits(image())
    assert np.allclose(logits, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", [*INTEGERS, "DOUBLE", "BFLOAT16"])
def test_a_cast_on_the_way_in_is_said_by_the_check(tmp_path: Path, kind: str) -> None:
    findings = check_package(packed(tmp_path, kind, intensity={"source": "voi", "std": [1 / 100]}), CPU)
    name = {"DOUBLE": "float64"}.get(kind, kind.lower())
    (said,) = [finding for finding in findings if f"input 'x' takes {name}" in finding.message]
    assert said.severity == "warning"
    assert ("whole numbers" in said.message) == (kind in INTEGERS)
    assert not [finding for finding in findings if finding.severity == "error"]


def test_values_between_and_beyond_whole_numbers_are_rounded_and_kept_within_the_range(tmp_path: Path) -> None:
    model = load_package(packed(tmp_path, "UINT8"), options=CPU)
    rough, x = image() + 0.4, image()
    assert np.allclose(model.logits(rough), model.logits(x))
    rough[0, 0, 0, :3] = -20, 300, 254.7
    x[0, 0, 0, :3] = 0, 255, 255
    assert np.allclose(model.logits(rough), model.logits(x))


@pytest.mark.parametrize("kind", ["INT32", "INT64"])
def test_values_beyond_single_precision_stay_within_the_type(tmp_path: Path, kind: str) -> None:
    model = load_package(packed(tmp_path, kind), options=CPU)
    x = np.full((1, 1, 32, 32), 1e30, np.float32)
    large = model.session.run(x).logits
    assert np.isfinite(large).all()
    assert np.abs(large).max() > 1e6, "an overflow would have turned the sign"
    assert np.array_equal(np.sign(large), np.sign(model.session.run(np.full_like(x, 1e6)).logits))


@pytest.mark.parametrize("method", ["occlusion", "rise", "lime", "ablation-cam", "grad-cam", "score-cam"])
def test_an_integer_input_is_explained_as_the_same_net_in_float(tmp_path: Path, method: str) -> None:
    parameters = {"occlusion": {"window": 8, "stride": 8}, "rise": {"masks": 64}, "lime": {"samples": 64}}
    maps = []
    for kind in ("FLOAT", "UINT8"):
        model = load_package(packed(tmp_path, kind), options=CPU)
        maps.append(explain(model, image(), target="one", method=method, **parameters.get(method, {})).values)
    assert np.abs(maps[0] - maps[1]).max() <= 0.05 * np.abs(maps[0]).max()


def test_gradients_end_where_whole_numbers_begin_and_do_not_where_double_precision_does(tmp_path: Path) -> None:
    rounding = load_package(packed(tmp_path, "UINT8"), options=CPU)
    assert rounding.gradients.measured_tier() == "T1"
    assert "rounds (Floor" in rounding.gradients.tier_reason
    double = load_package(packed(tmp_path, "DOUBLE", inside="DOUBLE", pointwise=True), options=CPU)
    assert double.gradients.measured_tier() == "T2", double.gradients.tier_reason
    single = load_package(packed(tmp_path, "FLOAT", pointwise=True), options=CPU)
    assert np.allclose(double.logits(image()), single.logits(image()), rtol=1e-4)
    for method in ("gradient", "grad-cam", "ablation-cam"):
        expected = explain(single, image(), target="two", method=method).values
        values = explain(double, image(), target="two", method=method).values
        assert np.abs(values - expected).max() <= 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("kind", "intensity", "words"),
    [
        ("UINT8", {"source": "voi"}, "from 0 to 1"),
        ("UINT8", {"source": "voi", "mean": [0.5], "std": [1 / 255]}, "from -127.5 to 127.5"),
        ("INT8", TO_255, "from 0 to 255"),
        ("INT64", {"source": "voi", "mean": [0.5], "std": [0.5]}, "from -1 to 1"),
    ],
)
def test_intensities_that_whole_numbers_can_not_hold_are_refused(
    tmp_path: Path, kind: str, intensity: object, words: str
) -> None:
    folder = packed(tmp_path, kind, intensity=intensity)
    (error,) = [finding for finding in check_package(folder, CPU) if finding.severity == "error"]
    assert f"takes {kind.lower()}" in error.message
    assert words in error.message
    with pytest.raises(PackageError, match="whole numbers"):
        load_package(folder, options=CPU).predict(image())


@pytest.mark.parametrize("kind", ["BOOL", "STRING", "COMPLEX64"])
def test_what_holds_no_numbers_is_refused_by_its_type(tmp_path: Path, kind: str) -> None:
    folder = packed(tmp_path, "FLOAT")
    proto = onnx.load(folder / "model.onnx")
    proto.graph.input[0].type.tensor_type.elem_type = getattr(TensorProto, kind)
    proto.graph.node.insert(0, helper.make_node("Cast", ["x"], ["cast"], to=TensorProto.FLOAT))
    proto.graph.node[1].input[0] = "cast"
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(PackageError, match=f"(found {kind.lower()}|not a readable ONNX graph)"):
        load_package(folder, options=CPU).predict(image())


@pytest.mark.parametrize(
    "shape", [(4, 1, 32, 32), ("N", 3, 32, 32), ("N", 1, 64, 64), ("N", 32, 32), (1, 1, 1, 32, 32)]
)
def test_another_shape_than_the_manifests_is_refused_with_both(tmp_path: Path, shape: tuple[object, ...]) -> None:
    with pytest.raises(PackageError, match=r"takes the shape \(.*\), and model\.yaml gives \(1, 1, 32, 32\)"):
        load_package(packed(tmp_path, "FLOAT", shape), options=CPU).predict(image())


@pytest.mark.parametrize("shape", [("N", "C", "H", "W"), (None, 1, None, None), (1, 1, 32, 32), ("N", 1, 32, "W")])
def test_sizes_that_the_graph_leaves_open_are_the_manifests(tmp_path: Path, shape: tuple[object, ...]) -> None:
    model = load_package(packed(tmp_path, "FLOAT", shape), options=CPU)
    assert model.logits(image()).shape == (1, 3)
    assert model.session.run(image()).features.shape == (1, 6, 32, 32)
    assert explain(model, image(), target="one", method="grad-cam").values.shape == (32, 32)


def test_a_second_input_without_a_value_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="the graph takes age, sex beside 'x'"):
        load_package(packed(tmp_path, "UINT8", others=("age", "sex")), options=CPU).predict(image())
