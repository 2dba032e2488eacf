"""What a graph does to places is told by its operators, and measured where they don't tell: straight graphs pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import whyray.inference.feature_place as feature_place
from whyray.inference import RuntimeOptions
from whyray.inference.feature_place import why_misplaced
from whyray.inference.graph import Graph, read_graph
from whyray.inference.graph_place import places_in
from whyray.inference.map_placement import placement
from whyray.packages import InputSpec

OPTIONS = RuntimeOptions(device="cpu", intra_op_threads=1, cache=None)
Layers = tuple[list[Any], dict[str, Any]]
node = helper.make_node


def _spec(size: int, layout: str) -> InputSpec:
    intensity = {"source": "voi", "mean": [0.5], "std": [0.25]}
    given = {"name": "x", "kind": "planar", "shape": (size, size), "layout": layout, "modalities": ("DX",)}
    return InputSpec.model_validate({**given, "channels": 1, "intensity": intensity})


def _graph(folder: Path, layers: Layers, size: int, layout: str = "NCHW", opset: int = 18) -> tuple[Graph, InputSpec]:
    nodes, weights = layers
    shape = [1, size, size, 1] if layout == "NHWC" else [1, 1, size, size]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("f", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(onnx.shape_inference.infer_shapes(model, data_prop=True), folder / "model.onnx")
    spec = _spec(size, layout)
    return read_graph(folder / "model.onnx", spec), spec


def _why(folder: Path, layers: Layers, size: int, *, layout: str = "NCHW", segments: bool = False) -> str | None:
    graph, spec = _graph(folder, layers, size, layout)
    return why_misplaced(graph, "f", spec, OPTIONS, roughly=segments)


def _weights(seed: int, *shape: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=shape)
    return np.asarray(values * np.sqrt(2 / np.prod(shape[1:])), np.float32)


def _straight(
    depth: int, *, dilation: int = 1, gated: bool = False, residual: bool = False, padded: bool = False
) -> Layers:
    """Five stages of stride 2, as 224 → 7; before them two Transposes that cancel, as tf2onnx leaves them."""
    nodes, weights, at, channels = [], {}, "x", 1
    if padded:
        nodes.append(node("Pad", ["x", "by"], ["x_padded"]))
        weights["by"], at = np.array([0, 0, 3, 3, 0, 0, 3, 3]), "x_padded"
    nodes += [node("Transpose", [at], ["t0"], perm=[0, 2, 3, 1]), node("Transpose", ["t0"], ["t1"], perm=[0, 3, 1, 2])]
    at = "t1"
    for stage, wide in enumerate((8, 16, 32, 64, 64)):
        for layer in range(depth):
            key, first = f"{stage}_{layer}", layer == 0
            kernel = 7 if padded and first and stage == 0 else 3
            pads = 0 if kernel == 7 else 1 if first else dilation
            weights[f"w{key}"] = _weights(len(weights), wide, channels, kernel, kernel)
            options = {"strides": [2, 2] if first else [1, 1], "dilations": [1 if first else dilation] * 2}
            nodes.append(node("Conv", [at, f"w{key}"], [f"c{key}"], pads=[pads] * 4, **options))
            if residual and not first:
                nodes.append(node("Add", [f"c{key}", at], [f"s{key}"]))
            nodes.append(node("Relu", [f"s{key}" if residual and not first else f"c{key}"], [f"r{key}"]))
            at, channels = f"r{key}", wide
        if gated:
            nodes += [node("GlobalAveragePool", [at], [f"g{stage}"]), node("Sigmoid", [f"g{stage}"], [f"q{stage}"])]
            nodes.append(node("Mul", [at, f"q{stage}"], [f"m{stage}"]))
            at = f"m{stage}"
    return [*nodes, node("Identity", [at], ["f"])], weights


STRAIGHT = {
    "25 convolutions": _straight(5),
    "dilated": _straight(4, dilation=4),
    "gated": _straight(3, gated=True),
    "residual": _straight(4, residual=True),
    "padded by an operator": _straight(2, padded=True),
}


@pytest.mark.parametrize("kind", STRAIGHT)
@pytest.mark.parametrize("told", [True, False], ids=["told", "measured"])
def test_a_straight_graph_is_never_refused(
    kind: str, told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not told:
        monkeypatch.setattr(feature_place, "places_in", lambda *_: None)
    assert _why(tmp_path, STRAIGHT[kind], 224) is None


def test_transposes_that_cancel_are_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_place, "open_session", lambda *_, **__: pytest.fail("measured"))
    assert _why(tmp_path, STRAIGHT["gated"], 224) is None
    nodes = [node("Transpose", ["x"], ["m"], perm=[0, 3, 1, 2]), node("Conv", ["m", "w"], ["f"], pads=[1] * 4)]
    assert _why(tmp_path, (nodes, {"w": _weights(0, 4, 1, 3, 3)}), 64, layout="NHWC") is None


def _pooled(before: list[Any], weights: dict[str, Any], cell: int) -> Layers:
    nodes = [*before, node("Conv", ["m", "w"], ["c"], pads=[1] * 4), node("Relu", ["c"], ["r"])]
    pool = node("AveragePool", ["r"], ["f"], kernel_shape=[cell] * 2, strides=[cell] * 2)
    return [*nodes, pool], {**weights, "w": _weights(0, 8, 1, 3, 3)}


def _crop(first: int, last: int) -> tuple[list[Any], dict[str, Any]]:
    weights = {"starts": np.array([first, first]), "ends": np.array([last, last]), "axes": np.array([2, 3])}
    return [node("Slice", ["x", "starts", "ends", "axes"], ["m"])], weights


@pytest.mark.parametrize("cell", [1, 8, 16, 32])
def test_a_crop_before_the_layers_is_refused_at_any_cell(cell: int, tmp_path: Path) -> None:
    reason = _why(tmp_path, _pooled(*_crop(16, 240), cell), 256)
    assert reason == "axis 1 of the image is 256 long, and they lie over what is from 16 to 240 on it"


@pytest.mark.parametrize("cell", [1, 8, 16])
def test_a_padding_of_an_eighth_is_refused(cell: int, tmp_path: Path) -> None:
    pads = {"by": np.array([0, 0, 32, 32, 0, 0, 32, 32])}
    assert "from -32 to 288" in str(_why(tmp_path, _pooled([node("Pad", ["x", "by"], ["m"])], pads, cell), 256))


@pytest.mark.parametrize("cell", [1, 8])
def test_a_crop_that_is_made_larger_again_is_refused(cell: int, tmp_path: Path) -> None:
    nodes, weights = _crop(16, 240)
    nodes = [node("Slice", nodes[0].input, ["cut"]), node("Resize", ["cut", "", "", "size"], ["m"], mode="linear")]
    weights["size"] = np.array([1, 1, 256, 256])
    assert "from 16 to 240" in str(_why(tmp_path, _pooled(nodes, weights, cell), 256))


def test_segments_of_a_crop_made_larger_again_are_refused(tmp_path: Path) -> None:
    nodes, weights = _crop(32, 224)
    nodes += [
        node("Conv", ["m", "w"], ["c"], pads=[1] * 4),
        node("Resize", ["c", "", "", "size"], ["f"], mode="linear"),
    ]
    layers = nodes, {**weights, "w": _weights(0, 3, 1, 3, 3), "size": np.array([1, 3, 256, 256])}
    assert "from 32 to 224" in str(_why(tmp_path, layers, 256, segments=True))


def test_segments_that_were_moved_by_rows_are_refused(tmp_path: Path) -> None:
    nodes = [node("Slice", ["x", "starts", "ends", "axes"], ["cut"]), node("Pad", ["cut", "by"], ["m"])]
    nodes.append(node("Conv", ["m", "w"], ["f"], pads=[1] * 4))
    weights = {"starts": np.array([40]), "ends": np.array([256]), "axes": np.array([2]), "w": _weights(0, 3, 1, 3, 3)}
    layers = nodes, {**weights, "by": np.array([0, 0, 0, 0, 0, 0, 40, 0])}
    assert "from 40 to 296" in str(_why(tmp_path, layers, 256, segments=True))


def test_segments_that_were_cut_and_filled_again_in_place_are_not(tmp_path: Path) -> None:
    nodes, weights = _crop(32, 224)
    nodes += [node("Conv", ["m", "w"], ["c"], pads=[1] * 4), node("Pad", ["c", "by"], ["f"])]
    layers = nodes, {**weights, "w": _weights(0, 3, 1, 3, 3), "by": np.array([0, 0, 32, 32, 0, 0, 32, 32])}
    assert _why(tmp_path, layers, 256, segments=True) is None


@pytest.mark.parametrize("told", [True, False], ids=["told", "measured"])
def test_mirrored_segments_without_an_axis_of_channels_are_refused(
    told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not told:
        monkeypatch.setattr(feature_place, "places_in", lambda *_: None)
    nodes = [node("Gather", ["x", "back"], ["m"], axis=3), node("Conv", ["m", "w"], ["c"], pads=[1] * 4)]
    nodes.append(node("Squeeze", ["c", "axis"], ["f"]))
    weights = {"back": np.arange(63, -1, -1), "w": _weights(0, 1, 1, 3, 3), "axis": np.array([1])}
    assert "mirrored" in str(_why(tmp_path, (nodes, weights), 64, segments=True))


def test_segments_that_answer_to_nothing_and_may_be_mirrored_can_not_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_place, "places_in", lambda *_: None)
    nodes = [
        node("Gather", ["x", "back"], ["m"], axis=3),
        node("Sub", ["m", "most"], ["d"]),
        node("Relu", ["d"], ["f"]),
    ]
    weights = {"back": np.arange(63, -1, -1), "most": np.array(50, np.float32)}
    assert "can't be told" in str(_why(tmp_path, (nodes, weights), 64, segments=True))


def test_what_was_measured_is_kept_by_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_place, "places_in", lambda *_: None)
    graph, spec = _graph(tmp_path, _pooled(*_crop(64, 256), 1), 256)
    options = RuntimeOptions(device="cpu", intra_op_threads=1, cache=tmp_path / "cache")
    reason = why_misplaced(graph, "f", spec, options)
    assert reason is not None
    monkeypatch.setattr(feature_place, "open_session", lambda *_, **__: pytest.fail("measured again"))
    assert why_misplaced(graph, "f", spec, options) == reason


def test_memory_that_runs_out_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_place, "places_in", lambda *_: None)
    words = "Failed to allocate memory for requested buffer of size 1073741824"

    def full(*_: object) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr(feature_place, "run_session", full)
    with pytest.raises(RuntimeError, match=words):
        _why(tmp_path, _pooled(*_crop(16, 240), 1), 256)
    words = "Non-zero status code returned while running Reshape node"
    assert _why(tmp_path, _pooled(*_crop(16, 240), 1), 256) is None


@pytest.mark.parametrize(("first", "last"), [(8, 248), (16, 240), (0, 240), (16, 256), (8, 256)])
@pytest.mark.parametrize("cell", [1, 4])
def test_a_slight_crop_that_has_to_be_measured_is_refused_where_cells_look_at_little(
    first: int, last: int, cell: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_place, "places_in", lambda *_: None)
    assert "they seem to lie from" in str(_why(tmp_path, _pooled(*_crop(first, last), cell), 256))


@pytest.mark.parametrize("cell", [1, 4, 8, 16])
def test_what_has_to_be_measured_and_is_in_place_is_not(
    cell: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_place, "places_in", lambda *_: None)
    monkeypatch.setattr(feature_place, "_may_move", lambda *_: True)
    assert _why(tmp_path, _pooled([node("Identity", ["x"], ["m"])], {}, cell), 256) is None


def _computed_crop(share: int) -> Layers:
    """A crop by `size // share` at each side, written as exporters write `x[:, :, h // share : -(h // share)]`."""
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "two"], ["h"], axis=0),
        node("Div", ["h", "share"], ["cut"]),
        node("Neg", ["cut"], ["back"]),
        node("Unsqueeze", ["cut", "zero"], ["starts"]),
        node("Unsqueeze", ["back", "zero"], ["ends"]),
        node("Slice", ["x", "starts", "ends", "axes"], ["m"]),
        node("Conv", ["m", "w"], ["c"], pads=[1] * 4),
        node("AveragePool", ["c"], ["f"], kernel_shape=[4, 4], strides=[4, 4]),
    ]
    weights = {"two": np.array(2), "share": np.array(share), "zero": np.array([0]), "axes": np.array([2])}
    return nodes, {**weights, "w": _weights(0, 8, 1, 3, 3)}


def test_numbers_that_are_computed_from_the_size_of_the_image_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_place, "open_session", lambda *_, **__: pytest.fail("measured"))
    reason = _why(tmp_path, _computed_crop(16), 256)
    assert reason == "axis 1 of the image is 256 long, and they lie over what is from 16 to 240 on it"
    assert _why(tmp_path, _computed_crop(64), 256) is None


@pytest.mark.parametrize(
    ("options", "first", "step"),
    [
        ({"mode": "linear"}, 0.0, 2.0),
        ({"mode": "linear", "coordinate_transformation_mode": "align_corners"}, 0.5 - 0.5 * 63 / 31, 63 / 31),
        ({"mode": "linear", "coordinate_transformation_mode": "asymmetric"}, -0.5, 2.0),
        ({"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, -0.5, 2.0),
        ({"mode": "nearest"}, -0.5, 2.0),
    ],
)
def test_a_resize_puts_its_cells_where_its_rule_says(
    options: dict[str, str], first: float, step: float, tmp_path: Path
) -> None:
    nodes, weights = [node("Resize", ["x", "", "", "size"], ["f"], **options)], {"size": np.array([1, 1, 32, 32])}
    graph, spec = _graph(tmp_path, (nodes, weights), 64)
    placed = places_in(graph, spec, "f")
    assert placed is not None
    for place in placed.places:
        assert place is not None
        assert (place.first, place.step) == pytest.approx((first, step))


RULES: list[tuple[int, str, dict[str, str]]] = [
    *((9, "Upsample", {"mode": mode}) for mode in ("nearest", "linear")),
    *((10, "Resize", {"mode": mode}) for mode in ("nearest", "linear")),
    *(
        (opset, "Resize", {"mode": "linear", "coordinate_transformation_mode": rule})
        for opset, rule in [
            *((opset, rule) for opset in (11, 13, 18) for rule in ("half_pixel", "pytorch_half_pixel")),
            *((opset, rule) for opset in (11, 13, 18) for rule in ("align_corners", "asymmetric")),
            (19, "half_pixel_symmetric"),
        ]
    ),
    *(
        (13, "Resize", {"mode": "nearest", "coordinate_transformation_mode": rule, "nearest_mode": rounding})
        for rule in ("half_pixel", "asymmetric", "align_corners")
        for rounding in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
    ),
    (11, "Resize", {"mode": "nearest"}),
    (11, "Resize", {"mode": "linear"}),
]
KNOWN = {2, 3, 4, 0.5, 0.25}
"""Scales at which nearest cells repeat."""


RESIZES = [
    (*rule, by_sizes, scale)
    for rule in RULES
    for by_sizes in ([False, True] if rule[0] > 10 else [False])
    for scale in (2, 3, 4, 0.5, 0.25, 0.3, 1.37)
    if scale > 1 or rule[1] == "Resize"
]


@pytest.mark.parametrize(("opset", "kind", "options", "by_sizes", "scale"), RESIZES)
def test_a_resize_looks_where_onnx_runtime_does(
    opset: int, kind: str, options: dict[str, str], by_sizes: bool, scale: float, tmp_path: Path
) -> None:
    length, modern = 48, opset > 10
    weights: dict[str, Any] = {"s": np.array([1, 1, scale, scale], np.float32)}
    given = ["x", "s"]
    if by_sizes:
        weights, given = {"s": np.array([1, 1, *[int(length * scale)] * 2])}, ["x", "none", "none", "s"]
    elif modern:
        given = ["x", "none", "s"]
    if modern:
        weights["none"] = np.zeros(0, np.float32)
    nodes = [node(kind, given, ["f"], **options)]
    graph, spec = _graph(tmp_path, (nodes, weights), length, opset=opset)
    placed = places_in(graph, spec, "f")
    if options["mode"] == "nearest" and placed is None:
        assert scale not in KNOWN or options.get("coordinate_transformation_mode") == "align_corners"
        return
    assert placed is not None
    ramp = np.broadcast_to(np.arange(length, dtype=np.float32) + 0.5, (1, 1, length, length))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    looked = session.run(["f"], {"x": np.ascontiguousarray(ramp)})[0][0, 0, 0]
    place, cells = placed.places[1], len(looked)
    assert place is not None
    told = place.first + (np.arange(cells) + 0.5) * place.step
    inner = (told > 2 * place.step + 1) & (told < length - 2 * place.step - 1)
    off = (told - looked)[inner]
    if options["mode"] == "linear":
        assert np.abs(off).max() < 1e-3
    else:  # whole cells are taken: in the mean of those that are repeated
        off = off[: len(off) // int(max(scale, 1)) * int(max(scale, 1))]
        assert abs(off.mean()) < 1e-3


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 2, 1), (1, 2, 0, 3)])
def test_slices_of_every_second_pixel_together_lie_edge_to_edge(order: tuple[int, ...], tmp_path: Path) -> None:
    corners = [(row, column) for row in (0, 1) for column in (0, 1)]
    nodes = [node("Slice", ["x", f"from{at}", "to", "axes", "steps"], [f"p{at}"]) for at in range(4)]
    nodes.append(node("Concat", [f"p{at}" for at in order], ["f"], axis=1))
    weights = {f"from{at}": np.array(corner) for at, corner in enumerate(corners)}
    weights |= {"to": np.array([64, 64]), "axes": np.array([2, 3]), "steps": np.array([2, 2])}
    graph, spec = _graph(tmp_path, (nodes, weights), 64)
    lies = placement(places_in(graph, spec, "f"), spec.shape)
    assert (lies.axes, lies.known, lies.apart) == ((None, None), True, 0.0)


def test_ways_that_lay_a_map_apart_are_told(tmp_path: Path) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"], strides=[8, 8], pads=[3, 3, 3, 3]),
        node("AveragePool", ["x"], ["b"], kernel_shape=[8, 8], strides=[8, 8]),
        node("Mul", ["a", "b"], ["f"]),
    ]
    graph, spec = _graph(tmp_path, (nodes, {"w": _weights(0, 1, 1, 7, 7)}), 64)
    assert placement(places_in(graph, spec, "f"), spec.shape).apart == pytest.approx(3.5 / 8)


def test_a_map_is_told_only_where_each_of_its_axes_is(tmp_path: Path) -> None:
    rows = [node("ReduceMean", ["x", "axis"], ["m"], keepdims=1), node("Expand", ["m", "shape"], ["f"])]
    for shape, known in (([1, 1, 64, 64], False), ([1, 1, 64, 1], True)):
        weights = {"axis": np.array([3]), "shape": np.array(shape)}
        graph, spec = _graph(tmp_path, (rows, weights), 64)
        assert placement(places_in(graph, spec, "f"), spec.shape).known == known
