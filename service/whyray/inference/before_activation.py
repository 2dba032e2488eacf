"""The logits of a graph that gives probabilities: what lies before its sigmoid or softmax, moved as these were.

`sigmoid → Squeeze`, `cat([1 - sigmoid, sigmoid])` or `softmax[:, 1]` have logits, though no tensor of the graph holds
them: the operators behind the activation are laid once more over what goes into it. Whether the activation of that
gives what the graph gives is then proved by numbers: the end of the graph is run on random values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.errors import ModelOutputError, PackageError
from whyray.inference.graph import Graph
from whyray.inference.output_range import EXTREMES, MOVES, attribute, clip_limits, is_constant
from whyray.inference.session import RuntimeOptions, open_session, run_session, runtime_errors
from whyray.packages import reads

Link = Literal["sigmoid", "softmax"]
_TOLERANCE = 1e-3
_CLIPPED = 1e-4
"""Probabilities that are clipped no further than this off 0 and 1 are those of the activation."""
_DRAWS = 3
_RAISED = 20.0
_ALL_BUT_ONE = 0.75
"""Two targets out of one softmax can't both be above a half."""
_DEEPEST = 40
_WAYS: tuple[tuple[Link, bool], ...] = (("softmax", False), ("sigmoid", False), ("softmax", True), ("sigmoid", True))
_AS_IT_IS = frozenset({"Identity", "Dropout", "Cast"})


@dataclass(frozen=True)
class Reading:
    """The output is `link` of the tensor `logits`, or its logarithm, in a graph that is longer by `nodes`.

    `by` is the operator that makes the probabilities; `leaves` are the tensors that go into it.
    """

    logits: str
    link: Link
    logarithm: bool
    by: str
    leaves: tuple[str, ...]
    nodes: tuple[Any, ...]
    constants: tuple[Any, ...]


def readings(graph: Graph, output: str) -> list[Reading]:
    """All ways in which the operators at the end may be a sigmoid or a softmax, or a logarithm of one; unproved."""
    possible = []
    for link, logarithm in _WAYS:
        way = _Way(graph, link)
        logits = way.before(output, logarithm=logarithm)
        if logits is not None:
            leaves = tuple(dict.fromkeys(way.leaves))
            possible.append(
                Reading(logits, way.link, logarithm, way.by, leaves, tuple(way.nodes), tuple(way.constants))
            )
    return possible


def proved(
    graph: Graph, output: str, reading: Reading, shaped: Callable[[FloatArray], FloatArray], options: RuntimeOptions
) -> bool:
    """Whether the reading's activation of its logits is what the graph gives, on random values before the activation.

    `shaped` brings a raw output to (1, targets, ...). Where a shape is not known nothing can be drawn: then only a
    sigmoid or softmax whose output is the graph's own, in no other place, is believed.
    """
    end = _End(graph, output, reading, shaped)
    if not end.known:
        return not reading.nodes
    try:
        end.open(options)
        random = np.random.default_rng(0)
        for _ in range(_DRAWS):
            answer, logits = end.run({leaf: 2 * random.normal(size=size) for leaf, size in end.sizes.items()})
            expected = _softmax(logits) if reading.link == "softmax" else 0.5 * (1 + np.tanh(0.5 * logits))
            if not np.allclose(np.exp(answer) if reading.logarithm else answer, expected, atol=_TOLERANCE):
                return False
    except (PackageError, ModelOutputError):
        return False
    except runtime_errors():
        return False  # what does not run alone, or gives other targets, proves nothing; the model's own run tells why
    return True


def independent(
    graph: Graph, output: str, reading: Reading, shaped: Callable[[FloatArray], FloatArray], options: RuntimeOptions
) -> bool:
    """Whether each target of a softmax reading has a softmax of its own, so that all can be near 1 at once.

    That is tried: what goes into the softmax is raised where the targets take it from, which is where its moved copy,
    the reading's logits, says. Targets out of one softmax then share out 1 among them. Where it can't be run: False.
    """
    end = _End(graph, output, reading, shaped)
    if not end.known:
        return False
    total, before = sum(int(np.prod(size)) for size in end.sizes.values()), 0
    feeds: dict[str, NDArray[Any]] = {}
    for leaf, size in end.sizes.items():  # no value twice, so that each tells its place
        count = int(np.prod(size))
        feeds[leaf] = (np.arange(before, before + count).reshape(size) + 0.5) * (4 / total) - 2
        before += count
    try:
        end.open(options)
        _, logits = end.run(feeds)
        taken = logits.reshape(logits.shape[1], -1)[:, 0]  # of a map one place
        raised = {
            leaf: np.where(np.isin(end.as_given(leaf, values), taken), _RAISED, values)
            for leaf, values in feeds.items()
        }
        answer, _ = end.run(raised)
    except (PackageError, ModelOutputError):
        return False
    except runtime_errors():
        return False
    answers = answer.reshape(answer.shape[1], -1)[:, 0]
    return bool((np.exp(answers) if reading.logarithm else answers).min() > _ALL_BUT_ONE)


class _End:
    """The end of a graph, from what goes into the activation to the output and the reading's logits, to be run."""

    def __init__(self, graph: Graph, output: str, reading: Reading, shaped: Callable[[FloatArray], FloatArray]) -> None:
        self._graph, self._output, self._reading, self._shaped = graph, output, reading, shaped
        self._wanted = [tensor for tensor in (output, reading.logits) if tensor not in reading.leaves]
        shapes = {leaf: graph.shapes.get(leaf) for leaf in reading.leaves}
        self.known = all(shape is not None and None not in shape for shape in shapes.values())
        self.sizes = {leaf: [int(dim or 1) for dim in shape or ()] for leaf, shape in shapes.items()}

    def open(self, options: RuntimeOptions) -> None:
        """Make it ready to be run; raises what a session of the whole graph would."""
        proto = _end_of(self._graph, self._wanted, self._reading).SerializeToString()
        self._session = open_session(proto, options, name=self._graph.where)
        self._inputs = {argument.name: argument for argument in self._session.get_inputs()}

    def as_given(self, leaf: str, values: NDArray[Any]) -> FloatArray:
        """Values as the tensor's own precision holds them."""
        kind = self._inputs[leaf].type if leaf in self._inputs else ""
        return np.asarray(values.astype(_NUMBERS.get(kind, np.float32)), np.float32)

    def run(self, leaves: Mapping[str, NDArray[Any]]) -> tuple[FloatArray, FloatArray]:
        """Output and logits, (1, targets, ...) each; other inputs are 0."""
        feeds: dict[str, NDArray[Any]] = {}
        for name, given in self._inputs.items():
            size = [int(dim or 1) for dim in self._graph.shapes[name]]
            drawn = leaves[name] if name in leaves else np.zeros(size)
            feeds[name] = drawn.astype(_NUMBERS.get(given.type, np.float32))
        values: dict[str, NDArray[Any]] = feeds | dict(
            zip(self._wanted, run_session(self._session, self._wanted, feeds), strict=True)
        )
        answer, logits = (
            self._shaped(np.asarray(values[tensor], np.float32)) for tensor in (self._output, self._reading.logits)
        )
        return answer, logits


_NUMBERS = {"tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(int64)": np.int64}


def _softmax(logits: FloatArray) -> FloatArray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def with_logits(graph: Graph, reading: Reading) -> Any:
    """The graph's proto with the reading's nodes at its end."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(graph.proto)
    copy.graph.node.extend(reading.nodes)
    copy.graph.initializer.extend(reading.constants)
    return copy


def _end_of(graph: Graph, wanted: Sequence[str], reading: Reading) -> Any:
    """From what goes into the activation to the tensors wanted, as a graph of its own."""
    import onnx

    whole = with_logits(graph, reading)
    needed, kept = set(wanted), []
    for node in reversed(whole.graph.node):
        if needed.intersection(node.output) - set(reading.leaves):
            kept.append(node)
            needed.update(reads(node))
    start = dict.fromkeys(reading.leaves)
    if graph.input in needed:
        start[graph.input] = None
    given = [
        onnx.helper.make_tensor_value_info(
            tensor, graph.types.get(tensor, onnx.TensorProto.FLOAT), graph.shapes[tensor]
        )
        for tensor in start
    ]
    asked = [onnx.ValueInfoProto(name=tensor) for tensor in wanted]
    constants = [initializer for initializer in whole.graph.initializer if initializer.name in needed]
    inner = onnx.helper.make_graph(kept[::-1], "end", given, asked, constants)
    made = onnx.helper.make_model(inner, opset_imports=whole.opset_import, functions=whole.functions)
    made.ir_version = whole.ir_version
    return made


class _Way:
    """From an output back to before its activation; collects the nodes that lay the way once more."""

    def __init__(self, graph: Graph, link: Link) -> None:
        self._graph = graph
        self.link = link
        self.by = ""
        self.leaves: list[str] = []
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._made: dict[tuple[str, bool], str | None] = {}

    def before(self, tensor: str, *, logarithm: bool, depth: int = 0) -> str | None:
        """The tensor whose activation (or its logarithm) `tensor` is; None where that is not what it is."""
        key = (tensor, logarithm)
        if key not in self._made:
            self._made[key] = self._before(tensor, logarithm, depth) if depth <= _DEEPEST else None
        return self._made[key]

    def _before(self, tensor: str, logarithm: bool, depth: int) -> str | None:
        node = self._graph.producer.get(tensor)
        if node is None or node.domain not in ("", "ai.onnx"):
            return None
        ended = self._activation(node, logarithm)
        if ended is not None:
            return ended
        kind, deeper = node.op_type, depth + 1
        if kind == "Log" and logarithm:
            return self.before(node.input[0], logarithm=False, depth=deeper)
        if kind == "Exp" and not logarithm:
            return self.before(node.input[0], logarithm=True, depth=deeper)
        if kind in _AS_IT_IS:
            return None if _to_whole_numbers(node) else self.before(node.input[0], logarithm=logarithm, depth=deeper)
        if kind == "Clip" and not logarithm:
            low, high = clip_limits(self._graph, node)
            if low > _CLIPPED or high < 1 - _CLIPPED:
                return None
            return self.before(node.input[0], logarithm=False, depth=deeper)
        complement = _complement(self._graph, node) if self.link == "sigmoid" and not logarithm else None
        if complement is not None:
            inner = self.before(complement, logarithm=False, depth=deeper)  # 1 - sigmoid(z) = sigmoid(-z)
            return None if inner is None else self._lay("Neg", [inner], f"{tensor}__logits")
        together = kind == "Concat" or (self.link == "sigmoid" and kind in {"Max", "Min"})
        alone = kind in MOVES or (kind == "Resize" and attribute(node, "mode", b"nearest") == b"nearest")
        if self.link == "sigmoid" and kind in EXTREMES:
            alone = True
        if not together and not alone:
            return None
        moved = [
            self.before(operand, logarithm=logarithm, depth=deeper)
            for operand in (node.input if together else node.input[:1])
        ]
        if any(name is None for name in moved):
            return None
        return self._again(node, [str(name) for name in moved], tensor)

    def _activation(self, node: Any, logarithm: bool) -> str | None:
        """What goes into a node that is the activation wanted, in one operator or in several."""
        kind, graph = node.op_type, self._graph
        source, by = None, kind
        if self.link == "sigmoid":
            source = node.input[0] if kind == "Sigmoid" and not logarithm else None
            if source is None and not logarithm:
                source, by = _logistic(graph, node), "1 / (1 + exp(-z))"
            if source is None and logarithm and kind == "Neg":  # log sigmoid(z) = -softplus(-z)
                soft = graph.producer.get(node.input[0])
                inner = None if soft is None or soft.op_type != "Softplus" else graph.producer.get(soft.input[0])
                source, by = (inner.input[0] if inner is not None and inner.op_type == "Neg" else None), "-softplus(-z)"
            if source is None and kind == "Softmax" and not logarithm:
                return self._of_two(node)
        elif kind == ("LogSoftmax" if logarithm else "Softmax"):
            source = node.input[0]
        elif kind == "Div" and not logarithm:
            source, by = _normalised(graph, node), "exp(z) / sum(exp(z))"
        if source is None:
            return None
        self.by = by
        self.leaves.append(source)
        return str(source)

    def _of_two(self, node: Any) -> str | None:
        """Of two classes softmax(z) is sigmoid(z - z the other way round), class by class."""
        from onnx import numpy_helper

        source = node.input[0]
        shape = self._graph.shapes.get(source)
        if shape is None:
            return None
        axis = attribute(node, "axis", 1 if len(shape) == 2 else -1)
        if shape[axis] != 2:
            return None
        self.by = "Softmax"
        self.leaves.append(source)
        name = f"{node.output[0]}__other"
        self.constants.append(numpy_helper.from_array(np.array([1, 0], np.int64), f"{name}_way"))
        self._lay("Gather", [source, f"{name}_way"], name, axis=axis)
        return self._lay("Sub", [source, name], f"{node.output[0]}__logits")

    def _again(self, node: Any, moved: list[str], tensor: str) -> str:
        import onnx

        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for place, name in enumerate(moved):
            copy.input[place] = name
        for place, name in enumerate(node.output):
            copy.output[place] = f"{name}__logits" if name == tensor else f"{name}__logits_of_{tensor}" if name else ""
        copy.name = f"{node.name or tensor}__logits"
        self.nodes.append(copy)
        return f"{tensor}__logits"

    def _lay(self, kind: str, given: list[str], gives: str, **attributes: Any) -> str:
        import onnx

        self.nodes.append(onnx.helper.make_node(kind, given, [gives], name=f"{gives}_{kind}", **attributes))
        return gives


def _complement(graph: Graph, node: Any) -> str | None:
    """p of 1 - p, also where it is written as 1 + (-p)."""
    if node.op_type == "Sub" and is_constant(graph, node.input[0], 1.0):
        return str(node.input[1])
    if node.op_type != "Add":
        return None
    other = [operand for operand in node.input if not is_constant(graph, operand, 1.0)]
    negative = graph.producer.get(other[0]) if len(other) == 1 else None
    return str(negative.input[0]) if negative is not None and negative.op_type == "Neg" else None


def _to_whole_numbers(node: Any) -> bool:
    import onnx

    if node.op_type != "Cast":
        return False
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE, onnx.TensorProto.BFLOAT16)
    return attribute(node, "to") not in kinds


def _logistic(graph: Graph, node: Any) -> str | None:
    """z of 1 / (1 + exp(-z)), written out."""
    if node.op_type == "Reciprocal":
        below = graph.producer.get(node.input[0])
    elif node.op_type == "Div" and is_constant(graph, node.input[0], 1.0):
        below = graph.producer.get(node.input[1])
    else:
        return None
    if below is None or below.op_type != "Add":
        return None
    ones = [operand for operand in below.input if is_constant(graph, operand, 1.0)]
    power = graph.producer.get(next((operand for operand in below.input if operand not in ones), ""))
    if not ones or power is None or power.op_type != "Exp":
        return None
    negative = graph.producer.get(power.input[0])
    return str(negative.input[0]) if negative is not None and negative.op_type == "Neg" else None


def _normalised(graph: Graph, node: Any) -> str | None:
    """z of exp(z) / sum(exp(z)), written out."""
    above, below = graph.producer.get(node.input[0]), graph.producer.get(node.input[1])
    if above is None or below is None or above.op_type != "Exp" or below.op_type != "ReduceSum":
        return None
    return str(above.input[0]) if below.input[0] == node.input[0] else None
