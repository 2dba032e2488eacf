"""Grad-CAM compiled into the model's own graph: maps of all targets come out of the run that gives the answer.

Where the head is affine in the feature maps, Grad-CAM's weights are constants of the graph (Selvaraju et al. 2017,
section 3.1; Zhou et al. 2016), and a map is a matrix product, a ReLU and an interpolation: five nodes more, run by ONNX
Runtime on whatever device the model is on. Which targets is an input at run time; without it the nodes are not run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.inference.graph import Graph, opset_of
from whyray.inference.head import AffineHead
from whyray.inference.map_placement import MapPlacement, axis_weights

TARGETS = "whyray.targets"
"""Input: int64 (T,), numbers of targets; none where it is not fed."""
MAPS = "whyray.grad_cam"
"""Output: float32 (1, T, *spatial), for the first item of the batch."""
_OLDEST_OPSET = 13
_MOST_BYTES = 1 << 26


@dataclass(frozen=True)
class ClassMaps:
    """What Grad-CAM of a model is made of.

    Attributes
    ----------
    features
        Name of the feature maps, (N, channels, *grid).
    grid, spatial
        Shape of the feature maps and of the maps that come out: the input's, of as many axes.
    weight
        (all targets, channels): the mean over positions of d logit / d feature.
    targets
        Numbers of the targets whose maps are wanted.
    placement
        Where the feature maps lie on the image.
    """

    features: str
    grid: tuple[int, ...]
    spatial: tuple[int, ...]
    weight: NDArray[np.float32]
    targets: tuple[int, ...]
    placement: MapPlacement


def class_maps(
    graph: Graph,
    features: str,
    head: AffineHead | None,
    targets: Sequence[int],
    spatial: Sequence[int],
    placement: MapPlacement,
) -> ClassMaps | None:
    """None where the head has no closed form, the grid is not known, or the maps would take more than 64 MiB."""
    grid = graph.shapes.get(features, ())[2:]
    if head is None or not targets or not grid or None in grid or 4 * len(targets) * prod(spatial) > _MOST_BYTES:
        return None
    sizes = tuple(int(size or 0) for size in grid)
    return ClassMaps(features, sizes, tuple(spatial), head.weight / np.float32(prod(sizes)), tuple(targets), placement)


def add_grad_cam(proto: Any, maps: ClassMaps) -> bool:
    """Add input TARGETS and output MAPS to a graph (in place); False, and nothing added, where its opset is too old.

    Interpolation is that of `whyray.explain.grid.upsample`.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    if opset_of(proto) < _OLDEST_OPSET:
        return False
    constants = {
        "weight": maps.weight,
        "first": np.array(0, np.int64),
        "columns": np.array([maps.weight.shape[1], -1], np.int64),
        "one": np.array([1], np.int64),
        "grid": np.array(maps.grid, np.int64),
        "spatial": np.array(maps.spatial, np.int64),
        "none": np.array(0, np.int64),
    }
    graph = proto.graph
    graph.initializer.extend(numpy_helper.from_array(value, _own(name)) for name, value in constants.items())
    graph.initializer.append(numpy_helper.from_array(np.zeros(0, np.int64), TARGETS))
    graph.input.append(helper.make_tensor_value_info(TARGETS, TensorProto.INT64, ["whyray.T"]))

    def node(kind: str, given: Sequence[str], gives: str, **attributes: Any) -> Any:
        named = [tensor if not tensor or tensor in (maps.features, TARGETS) else _own(tensor) for tensor in given]
        return helper.make_node(kind, named, [_own(gives)], **attributes)

    made = [
        node("Gather", [maps.features, "first"], "item"),
        node("Cast", ["item"], "item32", to=TensorProto.FLOAT),
        node("Reshape", ["item32", "columns"], "flat"),
        node("Gather", ["weight", TARGETS], "rows"),
        node("MatMul", ["rows", "flat"], "signed"),
        node("Relu", ["signed"], "positive"),
        node("Concat", ["one", "count", "grid"], "low_shape", axis=0),
        node("Reshape", ["positive", "low_shape"], "low"),
        node("Concat", ["one", "count", "spatial"], "full_shape", axis=0),
    ]
    if maps.placement.edge_to_edge:
        made.append(node("Resize", ["low", "", "", "full_shape"], "then", mode="linear"))
    else:
        last = "low"
        for axis, (cells, size) in enumerate(zip(maps.grid, maps.spatial, strict=True)):
            # an axis at a time: (everything before, cells, everything behind) under the weights of its places
            behind = prod(maps.grid[axis + 1 :])
            tables = {
                f"split{axis}": np.array([-1, cells, behind], np.int64),
                f"weights{axis}": axis_weights(cells, size, maps.placement.axes[axis]),
            }
            graph.initializer.extend(numpy_helper.from_array(value, _own(name)) for name, value in tables.items())
            made.append(node("Reshape", [last, f"split{axis}"], f"split_low{axis}"))
            made.append(node("MatMul", [f"weights{axis}", f"split_low{axis}"], f"placed{axis}"))
            last = f"placed{axis}"
        made.append(node("Reshape", [last, "full_shape"], "then"))
    empty = numpy_helper.from_array(np.zeros((1, 0, *maps.spatial), np.float32))
    nothing = [node("Constant", [], "else", value=empty)]
    graph.node.extend([node("Shape", [TARGETS], "count"), node("Size", [TARGETS], "size")])
    graph.node.append(node("Greater", ["size", "none"], "asked"))
    graph.node.append(
        helper.make_node(
            "If",
            [_own("asked")],
            [MAPS],
            then_branch=helper.make_graph(made, "maps", [], [_value(_own("then"))]),
            else_branch=helper.make_graph(nothing, "no maps", [], [_value(_own("else"))]),
        )
    )
    graph.output.append(onnx.ValueInfoProto(name=MAPS))
    return True


def _own(name: str) -> str:
    return f"whyray.grad_cam.{name}"


def _value(name: str) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
