"""Writing a gradient as an ONNX graph: the way back through the network, traced once and run by ONNX Runtime."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from whyray.packages import reads

INPUT, WEIGHTS, LOGITS, GRADIENT = "x", "weights", "logits", "gradient"
COMPILER = 1
"""Raised when what is written here changes, so that what was cached before is not taken for it."""


def export_gradient(module: Any, item: Sequence[int]) -> bytes:
    """A serialised ONNX graph of (x, weights) → (logits, d sum(logits · weights) / d x), for batches of any size.

    `module` is a torch module of one input (N, *item) and one output (N, ...); weights have the output's shape, so one
    graph serves every target, region or mixture of them. Raises whatever torch's tracer or exporter raises where an
    operator has no way back in ONNX. Seconds to a minute.
    """
    import torch
    from torch._decomp import core_aten_decompositions
    from torch.fx.experimental.proxy_tensor import make_fx

    def gradient(x: Any, weights: Any) -> tuple[Any, Any]:
        leaf = x.detach().requires_grad_(True)
        answer = module(leaf)
        logits = answer[0] if isinstance(answer, (tuple, list)) else answer
        (input_gradient,) = torch.autograd.grad((logits * weights).sum(), leaf)
        return logits.detach(), input_gradient

    x = torch.from_numpy(np.random.default_rng(0).normal(size=(1, *item)).astype(np.float32))
    with torch.no_grad():
        answer = module(x)
        shape = (answer[0] if isinstance(answer, (tuple, list)) else answer).shape[1:]
    # A size that occurs nowhere else: the tracer takes equal sizes for the same one, and would fix the batch.
    batch = next(prime for prime in (7, 11, 13, 17, 19, 23) if prime not in {*item, *shape})
    example = (x.repeat(batch, *[1] * len(item)), torch.ones(batch, *shape))
    with _quiet():
        traced = make_fx(
            gradient,
            decomposition_table={**core_aten_decompositions(), **_ways_back()},
            tracing_mode="symbolic",
            _allow_non_fake_inputs=True,
        )(*example)
        size = torch.export.Dim("batch")
        program = torch.onnx.export(
            traced,
            example,
            dynamo=True,
            dynamic_shapes=({0: size}, {0: size}),
            input_names=[INPUT, WEIGHTS],
            output_names=[LOGITS, GRADIENT],
            verbose=False,
        )
        if program is None:
            raise ValueError("torch's exporter gave no graph")
        return bytes(program.model_proto.SerializeToString())


def fixed_reshapes(proto: Any, shapes: dict[str, tuple[int | None, ...]]) -> Any:
    """A copy whose Reshapes have constant shapes where they are known and keep the batch first.

    Graphs of torch's older exporter compute such shapes from other tensors, which a tracer can't follow. `shapes` are
    those of a batch of one. Where the batch is moved elsewhere all the same, the caller's comparison finds out.
    """
    import onnx
    from onnx import numpy_helper

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for number, node in enumerate(copy.graph.node):
        given, wanted = (shapes.get(tensor) for tensor in (node.input[0] if node.input else "", node.output[0]))
        if node.op_type != "Reshape" or not given or not wanted or given[0] != 1 or wanted[0] != 1:
            continue
        if None in wanted[1:] or any(attribute.name == "allowzero" and attribute.i for attribute in node.attribute):
            continue
        name = f"{node.output[0]}__shape{number}"
        sizes = np.array([-1, *(size or 1 for size in wanted[1:])], np.int64)
        copy.graph.initializer.append(numpy_helper.from_array(sizes, name))
        node.input[1] = name
    return _without_unused(copy)


def _without_unused(model: Any) -> Any:
    """The same graph without nodes that nothing uses any more."""
    used = {output.name for output in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if used.intersection(node.output):
            kept.append(node)
            used.update(reads(node))
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    return model


def _ways_back() -> dict[Any, Any]:
    """Backward operators that have no ONNX form, by means of operators that have one."""
    import torch

    aten = torch.ops.aten

    def convolution(
        arriving: Any,
        given: Any,
        weight: Any,
        bias_sizes: Any,  # noqa: ARG001
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        transposed: bool,
        output_padding: Sequence[int],  # noqa: ARG001
        groups: int,
        mask: Sequence[bool],
    ) -> tuple[Any, None, None]:
        if not mask[0]:
            return None, None, None
        none = [0] * (weight.ndim - 2)
        if transposed:
            back = aten.convolution(arriving, weight, None, stride, padding, dilation, False, none, groups)
            return back, None, None
        left = [
            given.shape[2 + axis]
            - (arriving.shape[2 + axis] - 1) * stride[axis]
            + 2 * padding[axis]
            - dilation[axis] * (weight.shape[2 + axis] - 1)
            - 1
            for axis in range(weight.ndim - 2)
        ]
        back = aten.convolution(arriving, weight, None, stride, padding, dilation, True, left, groups)
        return back, None, None

    def max_pool_3d(
        arriving: Any,
        given: Any,
        kernel: Any,  # noqa: ARG001
        stride: Any,  # noqa: ARG001
        padding: Any,  # noqa: ARG001
        dilation: Any,  # noqa: ARG001
        ceil: Any,  # noqa: ARG001
        winners: Any,
    ) -> Any:
        empty = torch.zeros_like(given).flatten(2)
        return empty.scatter_add(2, winners.flatten(2), arriving.flatten(2)).reshape(given.shape)

    def average_pool(
        arriving: Any,
        given: Any,
        kernel: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        ceil: bool,
        with_padding: bool,
        divisor: int | None,
    ) -> Any:
        """As a transposed convolution of each channel with equal weights, where no window is cut at the border."""
        stride = stride or kernel
        if ceil or (any(padding) and not with_padding):
            raise NotImplementedError("average pooling with windows cut at the border has no way back here")
        size = 1
        for extent in kernel:
            size *= extent
        channels = given.shape[1]
        weight = torch.full((channels, 1, *kernel), 1.0 / (divisor or size))
        left = [
            given.shape[2 + axis] - (arriving.shape[2 + axis] - 1) * stride[axis] + 2 * padding[axis] - kernel[axis]
            for axis in range(len(kernel))
        ]
        return aten.convolution(arriving, weight, None, stride, padding, [1] * len(kernel), True, left, channels)

    return {
        aten.convolution_backward.default: convolution,
        aten.max_pool3d_with_indices_backward.default: max_pool_3d,
        aten.avg_pool2d_backward.default: average_pool,
        aten.avg_pool3d_backward.default: average_pool,
    }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks about torchvision and its own future."""
    loud = [logging.getLogger(name) for name in ("torch.onnx._internal.exporter._registration", "onnxscript")]
    levels = [logger.level for logger in loud]
    for logger in loud:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loud, levels, strict=True):
            logger.setLevel(level)
