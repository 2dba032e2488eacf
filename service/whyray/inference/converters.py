"""Converters from ONNX to torch behind one interface. Whether one is right is not decided here: parity decides.

onnx2fx was right on every kind of network tried, but it is young; onnx2torch is older and knows operators up to opset
17 only, so that it gets graphs in that form. The first comes first, the second gets its turn where the first fails.
What the second covers: plain gradients, and with them all that needs no operator to be replaced.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol, TypeVar

from whyray.base.errors import TierMissing
from whyray.base.failures import raise_retriable
from whyray.inference.graph import opset_of
from whyray.inference.precision import as_float32

T = TypeVar("T")
_ONNX2TORCH_OPSET = 17
"""Newest opset whose operators onnx2torch knows; of 18, it lacks ReduceMean and others."""


class TwinConverter(Protocol):
    """One way from an ONNX model to a torch module that computes the same."""

    @property
    def name(self) -> str:
        """The distribution's name."""

    @property
    def by_operator(self) -> bool:
        """Whether its modules are graphs of functions, one an operator, which rules can replace (see `rules`).

        Other modules give plain gradients only: no DeepLIFT, LRP or guided backpropagation.
        """

    def convert(self, proto: Any) -> Any:
        """A torch module of an ONNX ModelProto; raises whatever the converter's operators raise."""


class Onnx2Fx:
    """The first choice."""

    name = "onnx2fx"
    by_operator = True

    def convert(self, proto: Any) -> Any:
        """A torch.fx.GraphModule whose nodes call one function an operator."""
        import onnx2fx

        return onnx2fx.convert(proto)


class Onnx2Torch:
    """The second, where it is installed: it asks for torchvision, which does not fit every build of torch.

    Two of its operators (non-maximum suppression, region-of-interest alignment) are all that torchvision is needed
    for. Without torchvision those two are left out, and a graph that has them is refused as one with operators unknown.
    """

    name = "onnx2torch"
    by_operator = False

    def convert(self, proto: Any) -> Any:
        """A module of the graph (an ONNX ModelProto) in the newest opset that it knows.

        Raises TierMissing where it is not installed, and whatever its operators raise.
        """
        if importlib.util.find_spec("onnx2torch") is None:
            raise TierMissing("it is not installed", advice="pip install --no-deps onnx2torch")
        if importlib.util.find_spec("torchvision") is None:
            for operator in ("nms", "roialign"):
                name = f"onnx2torch.node_converters.{operator}"
                sys.modules.setdefault(name, ModuleType(name))
        import onnx.version_converter
        import onnx2torch

        if opset_of(proto) > _ONNX2TORCH_OPSET:
            proto = onnx.version_converter.convert_version(proto, _ONNX2TORCH_OPSET)
        return onnx2torch.convert(proto)


CONVERTERS: tuple[TwinConverter, ...] = (Onnx2Fx(), Onnx2Torch())
"""In the order in which they are tried."""


def converter_named(name: str) -> TwinConverter:
    """The converter of that name; the first where there is none (any more)."""
    return next((converter for converter in CONVERTERS if converter.name == name), CONVERTERS[0])


def first_right(make: Callable[[TwinConverter], T]) -> tuple[T | None, str]:
    """What `make` gives of the first converter with which it raises nothing; else None, and what it raised of each."""
    reasons = []
    for converter in CONVERTERS:
        try:
            return make(converter), ""
        except MemoryError:
            raise
        except Exception as error:  # a converter raises whatever its operator functions raise
            raise_retriable(error)
            reasons.append(f"{converter.name}: {type(error).__name__}: {error}")
    return None, "; ".join(reasons)


def to_torch(proto: Any, converter: TwinConverter | None = None) -> Any:
    """A torch module in eval mode, float32, its weights fixed, from an ONNX model with one input and one output.

    `proto`: an ONNX ModelProto of any float precision. By the first of `CONVERTERS` where none is named. Raises
    whatever its operators raise, and TierMissing where it is not installed.
    """
    chosen = CONVERTERS[0] if converter is None else converter
    return chosen.convert(as_float32(proto)).eval().requires_grad_(False)
