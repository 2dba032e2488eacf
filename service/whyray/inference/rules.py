"""Running a twin with some of its operators replaced: what DeepLIFT, LRP and guided backpropagation need.

Twins are graphs of functions, so rules act on operators by name, not on modules; an operator that a rule does not know
runs as it is, and the method's self-check (completeness, conservation) tells whether that was right.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_NAMES = {
    "_conv": "conv",
    "_conv_transpose": "conv_transpose",
    "_gemm": "gemm",
    "_batch_norm": "batch_norm",
    "_max_pool": "max_pool",
    "_layer_norm_single": "layer_norm",
    "_softmax": "softmax",
    "_onnx_div": "div",
    "_clip": "clip",
    "clamp": "clip",
    "relu6": "clip",
    "_instance_norm": "instance_norm",
    "_group_norm": "group_norm",
    "_leaky_relu": "leaky_relu",
    "_hardswish": "hardswish",
    "hard_swish": "hardswish",
    "hard_sigmoid": "hardsigmoid",
    "_silu": "silu",
    "_mish": "mish",
}
ELEMENTWISE = frozenset(
    [
        "relu",
        "clip",
        "sigmoid",
        "tanh",
        "gelu",
        "softplus",
        "elu",
        "leaky_relu",
        "silu",
        "hardswish",
        "hardsigmoid",
        "mish",
        "selu",
        "celu",
        "exp",
        "erf",
        "sqrt",
        "log",
        "prelu",
        "abs",
    ]
)
"""Operators of one moving input that act on each element alone and are not linear."""


@dataclass(frozen=True)
class Operator:
    """One operator as it is about to run: `name` in lower case, the torch function and its arguments."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]

    def __call__(self, *changed: Any) -> Any:
        """Run it, the first arguments replaced by `changed`."""
        return self.function(*changed, *self.arguments[len(changed) :], **self.keywords)


Rule = Callable[[Operator], Any]
"""Returns the operator's output, or None to let it run as it is."""


def operator_name(function: Callable[..., Any]) -> str:
    """The name by which rules know a function of the converter."""
    name = getattr(function, "__name__", str(function))
    return _NAMES.get(name, name)


def run_with_rule(module: Any, x: Any, rule: Rule) -> Any:
    """The module's output for `x`, each operator first offered to `rule`."""
    import torch

    class Ruled(torch.fx.Interpreter):  # type: ignore[misc]
        def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            ruled = rule(Operator(operator_name(target), target, args, kwargs))
            return super().call_function(target, args, kwargs) if ruled is None else ruled

    interpreter = Ruled(module)
    interpreter.extra_traceback = False  # or else torch appends the node to the words of every error
    return interpreter.run(x)


def fold_batch_norms(module: Any) -> Any:
    """A copy whose batch norms that follow a convolution alone are folded into it (zennit's canonical form)."""
    import torch

    folded = copy.deepcopy(module)
    for node in list(folded.graph.nodes):
        if node.op != "call_function" or operator_name(node.target) != "batch_norm":
            continue
        before = node.args[0]
        if before.op != "call_function" or operator_name(before.target) != "conv" or len(before.users) > 1:
            continue
        if any(getattr(argument, "op", None) != "get_attr" for argument in (*before.args[1:2], *node.args[1:5])):
            continue
        weight = getattr(folded, before.args[1].target)
        bias = getattr(folded, before.args[2].target) if before.args[2] is not None else torch.zeros(len(weight))
        scale, shift, mean, variance = (getattr(folded, argument.target) for argument in node.args[1:5])
        factor = scale / torch.sqrt(variance + node.args[5])
        names = [f"{before.name}_folded_{part}" for part in ("weight", "bias")]
        folded.register_buffer(names[0], weight * factor.reshape(-1, *[1] * (weight.ndim - 1)))
        folded.register_buffer(names[1], (bias.to(factor) - mean) * factor + shift)
        with folded.graph.inserting_before(before):
            attributes = [folded.graph.get_attr(name) for name in names]
        before.args = (before.args[0], *attributes, *before.args[3:])
        node.replace_all_uses_with(before)
        folded.graph.erase_node(node)
    folded.recompile()
    return folded


def moving(arguments: Sequence[Any]) -> list[Any]:
    """The tensors among arguments that depend on the image (those that carry a gradient)."""
    import torch

    flat = [value for given in arguments for value in (given if isinstance(given, (list, tuple)) else [given])]
    return [value for value in flat if isinstance(value, torch.Tensor) and value.requires_grad]
