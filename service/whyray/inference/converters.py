"""Converters from ONNX to torch, each behind the same call. Whether one is right is not decided here: parity decides.

onnx2fx was right on every kind of network tried, but it is young; onnx2torch is older and fails on most graphs that
torch's present exporter writes. So the first comes first, and the second gets its turn where the first fails.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from whyray.base.errors import TierMissing
from whyray.inference.precision import as_float32


@dataclass(frozen=True)
class Converter:
    """One way from an ONNX model to a torch module in eval mode.

    Attributes
    ----------
    name
        The distribution's name.
    by_operator
        Whether its modules are graphs of functions, one an operator, which rules can replace (DeepLIFT, LRP, guided
        backpropagation). Other modules give plain gradients only.
    convert
        Takes an ONNX ModelProto; raises whatever the converter's operators raise.
    """

    name: str
    by_operator: bool
    convert: Callable[[Any], Any]


def _onnx2fx(proto: Any) -> Any:
    import onnx2fx

    return onnx2fx.convert(proto)


def _onnx2torch(proto: Any) -> Any:
    """Optional: its distribution asks for torchvision, which does not fit every build of torch, so nothing pulls it in.

    Two of its operators (non-maximum suppression, region-of-interest alignment) are all that torchvision is needed
    for. Without torchvision those two are left out, and a graph that has them is refused as one with operators unknown.
    """
    if importlib.util.find_spec("onnx2torch") is None:
        raise TierMissing("it is not installed", advice="pip install --no-deps onnx2torch")
    if importlib.util.find_spec("torchvision") is None:
        for each in ("nms", "roialign"):
            name = f"onnx2torch.node_converters.{each}"
            sys.modules.setdefault(name, ModuleType(name))
    import onnx2torch

    return onnx2torch.convert(proto)


CONVERTERS = (Converter("onnx2fx", True, _onnx2fx), Converter("onnx2torch", False, _onnx2torch))
"""In the order in which they are tried."""


def converter_named(name: str) -> Converter:
    """The converter of that name; the first where there is none (any more)."""
    return next((each for each in CONVERTERS if each.name == name), CONVERTERS[0])


def to_torch(proto: Any, converter: Converter = CONVERTERS[0]) -> Any:
    """A torch module in eval mode, float32, its weights fixed, from an ONNX model with one input and one output."""
    return converter.convert(as_float32(proto)).eval().requires_grad_(False)
