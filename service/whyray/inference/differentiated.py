"""Gradients of the graph as it is written back by `differentiation`: proven as all are, and made without torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from whyray.base.errors import EngineFailed, PackageError, WhyRayError
from whyray.base.failures import typed_error
from whyray.inference.differentiation import BY, UNKNOWN_FORM, differentiated
from whyray.inference.gradient import PARITY, parity_gap, probes
from whyray.inference.gradient_proof import UndecidedProof, surely_unproven
from whyray.inference.gradient_session import GradientGraphEngine, GradientSession
from whyray.inference.network import Network
from whyray.inference.network_session import NetworkSession
from whyray.inference.package_cache import PackageCache
from whyray.inference.precision import as_float32
from whyray.inference.session import graph_refusals
from whyray.inference.way_back import DifferentiationError
from whyray.packages import InputSpec

_REFUSED_BY_FORM = ("TypeInferenceError", "ShapeInferenceError", "Type Error:")
"""Refusals of a graph that ONNX Runtime files under a class that it has for failures of a device too."""
_AT_EVERY_TRY = (
    "Look at this machine's devices and memory, and try again. Where it fails at every try, on other machines too, "
    "ONNX Runtime can't compute this package's gradients: leave latent-shift out of its routes, and its answers and "
    "other explanations come as before."
)
_PARITY_MARGIN = 2.0
"""Answers of the same graph differ by rounding, which on another machine may be twice as much."""


class DifferentiatedEngine(GradientGraphEngine):
    """The whole model's gradient. Raises as `judged_by_the_graph`, and DifferentiationError where it is not proven."""

    def __init__(self, network: Network, session: NetworkSession, cache: PackageCache) -> None:
        graph = network.graph
        with judged_by_the_graph(graph.where):
            model = differentiated(_cut(network, graph.input), graph.shapes)
            run = GradientSession(model.SerializeToString(), network.options, graph.where)
        super().__init__(network, session, run, singles=True)

        def prove() -> str:
            answers = session.in_single_precision.logits
            gap = max(parity_gap(self.answers(x), answers(x)) for x in probes(network))
            if PARITY / _PARITY_MARGIN < gap < PARITY * _PARITY_MARGIN:
                raise UndecidedProof(
                    f"{graph.where}: the answers of the differentiated graph differ by {gap:.2g} of the largest, too "
                    f"near {PARITY} to say on every machine the same"
                )
            if not gap <= PARITY:
                return f"its answers differ from the graph's by {gap:.2g} of the largest, over {PARITY}"
            return surely_unproven(answers, self.pullback, probes(network), graph.where)

        with judged_by_the_graph(graph.where):
            reason = cache.proof("differentiated input gradient", BY, session.providers, prove)
        if reason:
            raise DifferentiationError(reason)


@contextmanager
def judged_by_the_graph(where: str) -> Iterator[None]:
    """Within it, whatever hangs on the graph alone is a DifferentiationError, and nothing else is.

    Which engine gives a gradient must not hang on what befell one machine at one time: torch's last bits are others,
    and so would be the results of the same job. A graph that ONNX Runtime refuses, it refuses everywhere, and Python
    stumbles over it everywhere. Any other failure is raised for a job to be tried again: EngineFailed, or what says
    that memory ran out.
    """
    try:
        yield
    except (DifferentiationError, WhyRayError, MemoryError) as error:
        if isinstance(error, PackageError) and error.__cause__ is not None:
            raise _judged(error.__cause__, where) from error
        raise
    except Exception as error:
        raise _judged(error, where) from error


def _judged(error: BaseException, where: str) -> Exception:
    if isinstance(error, (*graph_refusals(), *UNKNOWN_FORM)) or any(words in str(error) for words in _REFUSED_BY_FORM):
        return DifferentiationError(f"{type(error).__name__}: {error}")
    typed = typed_error(error)
    if typed.retriable:
        return typed
    return EngineFailed(f"{where}: ONNX Runtime failed while it computed gradients: {error}", advice=_AT_EVERY_TRY)


def _cut(network: Network, start: str) -> Any:
    """The graph from `start` to the logits in single precision."""
    try:
        return as_float32(network.graph.cut(start, network.logits_name))
    except PackageError as error:
        raise DifferentiationError(error.message) from error


def differentiated_decoder(network: Network, latents: str, latent_shape: Sequence[int]) -> GradientSession:
    """(latents (1, *latent_shape), weights (1, *spatial)) → (picture in 0..1 as displayed, gradient).

    Raises DifferentiationError as `differentiated` does, and where pictures hang on more than the latents.
    """
    graph, spec = network.graph, network.manifest.input
    cut = _cut(network, latents)
    shapes = {**graph.shapes, latents: (1, *latent_shape)}
    shown = _shown(cut, spec, shapes)
    model = differentiated(shown, shapes)
    return GradientSession(model.SerializeToString(), network.options, graph.where)


def _shown(cut: Any, spec: InputSpec, shapes: dict[str, tuple[int | None, ...]]) -> Any:
    """The graph with its output as it is displayed (see `displayed`); `shapes` gets those of the new tensors."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(cut)
    last, axis = copy.graph.output[0].name, -1 if spec.layout == "NHWC" else 1
    per_axis = [1, *([1] * len(spec.shape)), -1] if axis == -1 else [1, -1, *[1] * len(spec.shape)]
    given = (1, *spec.shape, spec.channels) if axis == -1 else (1, spec.channels, *spec.shape)
    name = "whyray/shown/"
    mean = np.broadcast_to(np.asarray(spec.intensity.mean, np.float32), spec.channels).reshape(per_axis)
    std = np.broadcast_to(np.asarray(spec.intensity.std, np.float32), spec.channels).reshape(per_axis)
    constants = {
        "std": std / spec.channels,
        "mean": mean / spec.channels,
        "axis": np.array([len(given) - 1 if axis == -1 else 1], np.int64),
        "lowest": np.array(0, np.float32),
        "highest": np.array(1, np.float32),
    }
    steps = [
        ("Mul", [last, f"{name}std"], "scaled", given),
        ("Add", [f"{name}scaled", f"{name}mean"], "moved", given),
        ("ReduceSum", [f"{name}moved", f"{name}axis"], "grey", (1, *spec.shape)),
        ("Clip", [f"{name}grey", f"{name}lowest", f"{name}highest"], "picture", (1, *spec.shape)),
    ]
    for operator, inputs, output, shape in steps:
        settings = {"keepdims": 0} if operator == "ReduceSum" else {}
        copy.graph.node.append(onnx.helper.make_node(operator, inputs, [f"{name}{output}"], **settings))
        shapes[f"{name}{output}"] = shape
    for constant, value in constants.items():
        copy.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), f"{name}{constant}"))
    del copy.graph.output[:]
    copy.graph.output.append(onnx.helper.make_tensor_value_info(f"{name}picture", onnx.TensorProto.FLOAT, None))
    shapes.setdefault(last, given)
    return copy
