"""Looking into an ONNX graph: loading it safely, its constants and shapes, and cutting it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from whyray.base.errors import PackageError
from whyray.inference.computed_sizes import constant_value, inferred_sizes
from whyray.inference.input_layout import with_channels_first_input
from whyray.inference.input_type import with_float_input
from whyray.inference.inputs import with_constants
from whyray.packages import InputSpec, put_in_order, reads, tensors, with_dense_constants


def opset_of(proto: Any) -> int:
    """The version of ONNX's own operators that a model imports; 0 where it imports none."""
    return next((imported.version for imported in proto.opset_import if imported.domain in ("", "ai.onnx")), 0)


class Graph:
    """One ONNX graph with its constants, shapes and connections at hand; never changed in place.

    `shapes` maps tensor names to shapes for a batch of one (from shape inference; a name may be missing, and a size
    that inference can't tell is None), `types` to ONNX element types. All inputs but the image are constants already,
    and the image is taken channels-first, whatever the layout of the manifest.
    """

    def __init__(self, proto: Any, spec: InputSpec, where: str, stands_for: Mapping[str, str] | None = None) -> None:
        self.proto = proto
        self.stands_for = dict(stands_for or {})
        """Tensors of which another one, channels-first, is used instead (see `feature_layout`)."""
        self.where = where
        self.constants: dict[str, Any] = {initializer.name: initializer for initializer in proto.graph.initializer}
        for node in proto.graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = node
        self.producer = {output: node for node in proto.graph.node for output in node.output if output}
        self.consumers: dict[str, list[Any]] = {}
        for node in proto.graph.node:
            for tensor in reads(node):
                self.consumers.setdefault(tensor, []).append(node)
        self.input = spec.name
        self._sizes = inferred_sizes(proto, spec)
        self.shapes, self.types = self._sizes.shapes, self._sizes.types

    @property
    def outputs(self) -> list[str]:
        """Names of the graph's outputs."""
        return [output.name for output in self.proto.graph.output]

    @property
    def dynamic_batch(self) -> bool:
        """Whether the graph declares that it takes any batch size; no proof that it does, see `NetworkSession`."""
        value = next(graph_input for graph_input in self.proto.graph.input if graph_input.name == self.input)
        sizes = value.type.tensor_type.shape.dim
        return not sizes or sizes[0].dim_value < 1  # absent, named, or -1 as some exporters write it

    def constant(self, name: str) -> NDArray[Any] | None:
        """The value of a constant tensor, or None where `name` is computed."""
        holder = self.constants.get(name)
        return None if holder is None else constant_value(holder)

    def number(self, name: str) -> NDArray[Any] | None:
        """The value of a constant, or of what is computed from sizes alone, for a batch of one; None of others."""
        settled = self._sizes.numbers.get(name)
        return self.constant(name) if settled is None else settled

    def between(self, start: str, end: str) -> list[Any] | None:
        """Nodes from tensor `start` to tensor `end` in graph order; None where ways from the input pass it by."""
        wanted, needed = {end}, []
        for node in reversed(self.proto.graph.node):
            if not wanted.intersection(node.output):
                continue
            if start in node.output:
                continue
            needed.append(node)
            wanted.update(tensor for tensor in reads(node) if tensor != start)
        if self.input in wanted and start != self.input:
            return None
        return [node for node in reversed(needed) if node.op_type != "Constant"]

    def cut(self, start: str, end: str) -> Any:
        """The model from `start` (its only input) to `end` (its only output), with a batch of any size."""
        import onnx

        nodes = self.between(start, end)
        if nodes is None:
            raise PackageError(
                f"{self.where}: {end!r} depends on the input by ways that don't pass {start!r}",
                advice=f"Name a tensor through which all ways from the image to {end!r} go.",
            )
        names = {tensor for node in nodes for tensor in reads(node)}
        constants = [node for node in self.proto.graph.node if node.op_type == "Constant" and node.output[0] in names]
        shape = self.shapes.get(start)
        symbolic = None if shape is None else ["N", *shape[1:]]
        graph = onnx.helper.make_graph(
            [*constants, *nodes],
            "head",
            [onnx.helper.make_tensor_value_info(start, self.types.get(start, onnx.TensorProto.FLOAT), symbolic)],
            [onnx.helper.make_tensor_value_info(end, self.types.get(end, onnx.TensorProto.FLOAT), None)],
            [initializer for initializer in self.proto.graph.initializer if initializer.name in names],
        )
        head = onnx.helper.make_model(graph, opset_imports=self.proto.opset_import, functions=self.proto.functions)
        head.ir_version = self.proto.ir_version
        return head

    def with_outputs(self, names: list[str]) -> bytes:
        """The serialised graph with exactly these tensors as outputs, inner ones included."""
        return bytes(self.giving(names).SerializeToString())

    def giving(self, names: list[str]) -> Any:
        """A copy of the graph with exactly these tensors as outputs; PackageError where there is no such tensor."""
        import onnx

        copy = onnx.ModelProto()
        copy.CopyFrom(self.proto)
        declared = {
            value_info.name: value_info for value_info in (*self.proto.graph.output, *self.proto.graph.value_info)
        }
        del copy.graph.output[:]
        for name in names:
            if name not in self.producer:
                raise PackageError(
                    f"{self.where}: the graph has no tensor {name!r}",
                    advice=f"Name one that it has, e.g. {', '.join(list(self.producer)[-5:])}.",
                )
            known = declared.get(name)
            copy.graph.output.append(onnx.ValueInfoProto(name=name) if known is None else known)
        return copy


def item_shape(spec: InputSpec) -> tuple[int, ...]:
    """The shape of one item in the layout of the manifest, without the batch."""
    return (*spec.shape, spec.channels) if spec.layout == "NHWC" else (spec.channels, *spec.shape)


def read_graph(path: Path, spec: InputSpec) -> Graph:
    """Load an ONNX file with its external data, which must lie inside the file's folder.

    Raises PackageError where the file is no ONNX graph or of a newer format than is known here, or where external data
    is missing or lies elsewhere.
    """
    import onnx.inliner
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    root = path.parent.resolve()
    try:
        proto = onnx.load(path, load_external_data=False)
        for tensor in tensors(proto):
            if uses_external_data(tensor):
                location = ExternalDataInfo(tensor).location
                if not (root / location).resolve().is_relative_to(root):
                    raise PackageError(
                        f"{path}: weights of {tensor.name!r} lie at {location!r}, outside the package folder",
                        advice="Save the model with its external data beside it, in the package folder.",
                    )
        onnx.load_external_data_for_model(proto, str(root))
        put_in_order(proto)
        _refuse_newer_format(proto, path)
        onnx.checker.check_model(proto)
        if proto.functions:  # what happens within functions of the model's own shall be seen
            proto = onnx.inliner.inline_local_functions(proto)
        proto = with_dense_constants(proto)  # one form of constants from here on
    except PackageError:
        raise
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError, RuntimeError) as error:
        raise PackageError(
            f"{path}: not a readable ONNX graph: {error}", advice="Export the model again, and copy all its files."
        ) from error
    alone = with_constants(proto, spec, str(path))
    return Graph(with_channels_first_input(with_float_input(alone, spec, str(path)), spec), spec, str(path))


def _refuse_newer_format(proto: Any, path: Path) -> None:
    import onnx

    if proto.ir_version > onnx.IR_VERSION:
        raise PackageError(
            f"{path}: expected ONNX's format (IR version) {onnx.IR_VERSION} or older, found {proto.ir_version}",
            advice="Export the model with an older onnx, or install newer onnx and onnxruntime. Where it uses nothing "
            f"new, loading it with onnx, setting ir_version to {onnx.IR_VERSION} and saving it again is enough.",
        )
