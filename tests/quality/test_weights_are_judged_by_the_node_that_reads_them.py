"""What a network's weights are said to have learned is asked of the matrices that it multiplies by, of nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from planted import planted_package
from whyray.inference import RuntimeOptions, load_package
from whyray.quality import Grade
from whyray.quality.learned_weights import apart_from_chance, weights_that_learned
from whyray.quality.weight_matrices import weight_matrices

LEAST = 1 << 15
CHANCE = 5.0
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
INPUTS, HIDDEN = 200, 256


def matrix(rows: int, columns: int, seed: int, learned: bool) -> np.ndarray:
    """(rows, columns), drawn; where learned, with a tenth of its energy in one direction, as learning leaves it."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((rows, columns))
    if learned:
        weights += np.sqrt(0.1) * np.outer(rng.standard_normal(rows), rng.standard_normal(columns))
    return weights.astype(np.float32)


def recurrent_package(folder: Path, op_type: str, *learned: bool) -> Path:
    """The planted detector, whose answer a recurrent node adds a trifle to, of a direction each that learned or not."""
    path = planted_package(folder, shape=(16, 16))
    model = onnx.load(path / "model.onnx")
    model.graph.node[-1].output[0] = "planted"
    rows = GATES[op_type] * HIDDEN
    held = {
        "rw": np.stack([matrix(rows, INPUTS, seed, each) for seed, each in enumerate(learned)]),
        "rr": np.stack([matrix(rows, HIDDEN, 9 + seed, each) for seed, each in enumerate(learned)]),
        "steps": np.array([1, 1, INPUTS], np.int64),
        "ends": np.array([0, 2], np.int64),
        "column": np.array([-1, 1], np.int64),
        "trifle": np.array(1e-6, np.float32),
    }
    direction = "bidirectional" if len(learned) == 2 else "forward"
    model.graph.node.extend(
        [
            helper.make_node("Expand", ["planted", "steps"], ["x"]),
            helper.make_node(op_type, ["x", "rw", "rr"], ["", "h"], hidden_size=HIDDEN, direction=direction),
            helper.make_node("ReduceMean", ["h", "ends"], ["mean"], keepdims=0),
            helper.make_node("Reshape", ["mean", "column"], ["added"]),
            helper.make_node("Mul", ["added", "trifle"], ["little"]),
            helper.make_node("Add", ["planted", "little"], ["logits"]),
        ]
    )
    model.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in held.items())
    onnx.save(model, path / "model.onnx")
    return path


@pytest.mark.parametrize("op_type", list(GATES))
@pytest.mark.parametrize(
    ("learned", "share", "grade"),
    [
        ((True, True), 0.0, Grade.GREEN),
        ((False, False), 1.0, Grade.RED),
        ((True, False), 0.5, Grade.AMBER),
        ((True,), 0.0, Grade.GREEN),
        ((False,), 1.0, Grade.RED),
    ],
)
def test_each_direction_of_a_recurrent_node_is_judged(
    op_type: str, learned: tuple[bool, ...], share: float, grade: Grade, tmp_path: Path
) -> None:
    model = load_package(recurrent_package(tmp_path, op_type, *learned), options=RuntimeOptions(device="cpu"))
    (measured,) = weights_that_learned(model)
    assert (measured.value, measured.grade) == (share, grade)


def graph(nodes: list[Any], **held: np.ndarray) -> Any:
    return helper.make_graph(
        nodes, "g", [], [], [numpy_helper.from_array(values, name) for name, values in held.items()]
    )


def found(nodes: list[Any], **held: np.ndarray) -> list[np.ndarray]:
    return list(weight_matrices(graph(nodes, **held), "y", LEAST))


def node(op_type: str, *inputs: str, output: str = "y", **attributes: Any) -> Any:
    return helper.make_node(op_type, list(inputs), [output], **attributes)


def test_each_matrix_of_a_stack_of_heads_is_judged() -> None:
    heads = np.stack([matrix(200, 256, seed, seed != 2) for seed in range(4)])
    apart = [apart_from_chance(weights) for weights in found([node("MatMul", "x", "w")], w=heads)]
    assert [each is not None and abs(each) < CHANCE for each in apart] == [False, False, True, False]


def test_heads_that_are_too_small_to_be_told_are_not_taken_for_one_matrix() -> None:
    assert found([node("MatMul", "x", "w")], w=np.zeros((64, 32, 32), np.float32)) == []


@pytest.mark.parametrize("op_type", ["Conv", "ConvTranspose"])
def test_a_kernel_is_a_matrix_of_one_row_a_filter(op_type: str) -> None:
    (weights,) = found([node(op_type, "x", "w")], w=np.zeros((64, 128, 3, 3), np.float32))
    assert weights.shape == (64, 1152)


@pytest.mark.parametrize("op_type", ["Gather", "Add", "Einsum", "ScatterND", "Mul"])
def test_what_is_multiplied_by_in_no_known_way_is_not_judged(op_type: str) -> None:
    inputs = ("w", "x") if op_type == "Gather" else ("x", "w")
    assert found([node(op_type, *inputs)], w=np.zeros((256, 256), np.float32)) == []


@pytest.mark.parametrize(
    ("op_type", "place"),
    [("QLinearConv", 3), ("ConvInteger", 1), ("QLinearMatMul", 3), ("QGemm", 3), ("MatMulInteger", 1), ("Gemm", 0)],
)
def test_quantised_forms_are_judged_as_they_are_stored(op_type: str, place: int) -> None:
    inputs = ["x", "x_scale", "x_zero", "other"]
    inputs[place] = "w"
    (weights,) = found([node(op_type, *inputs)], w=np.zeros((256, 256), np.int8))
    assert weights.dtype == np.int8


def test_weights_are_found_behind_what_casts_scales_and_turns_them() -> None:
    nodes = [
        node("Cast", "w", output="a", to=TensorProto.FLOAT16),
        node("DequantizeLinear", "a", "scale", output="b"),
        node("Transpose", "b", output="c", perm=[1, 0, 2]),
        node("Identity", "c", output="d"),
        node("MatMul", "x", "d"),
    ]
    stack = np.arange(200 * 2 * 256).reshape(200, 2, 256).astype(np.int32)
    first, second = found(nodes, w=stack, scale=np.ones((), np.float32))
    assert np.array_equal(first, stack[:, 0])
    assert np.array_equal(second, stack[:, 1])


def test_weights_that_two_nodes_read_count_once() -> None:
    nodes = [node("MatMul", "x", "w", output="a"), node("MatMul", "a", "w")]
    assert len(found(nodes, w=np.zeros((256, 256), np.float32))) == 1


def test_weights_of_a_branch_are_judged_too() -> None:
    inside = [node("MatMul", "x", "outer", output="a"), node("MatMul", "a", "inner", output="b")]
    branch = graph(inside, inner=np.zeros((256, 512), np.float32))
    branch.output.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, None))
    nodes = [node("If", "asked", then_branch=branch, else_branch=branch)]
    shapes = [weights.shape for weights in found(nodes, outer=np.zeros((200, 256), np.float32))]
    assert shapes == [(200, 256), (256, 512)]
