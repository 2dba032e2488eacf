"""The published implementations that maps are compared with, made importable without torchvision.

pytorch-grad-cam, zennit and quantus import torchvision for what is not used here (image transforms, model zoos), and
 torchvision's wheels don't fit the CPU build of torch. Empty modules stand in for those imports; what is
compared runs unchanged.
"""

from __future__ import annotations

import functools
import importlib
import importlib.machinery
import importlib.util
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn


def _stand_in(name: str) -> ModuleType:
    class Empty(ModuleType):
        def __getattr__(self, attribute: str) -> Any:
            if attribute.startswith("__"):
                raise AttributeError(attribute)
            return type(attribute, (), {})

    module = Empty(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
    module.__path__ = []
    return module


def reference(name: str) -> ModuleType:
    """Import a reference implementation, torchvision stood in for where it is missing."""
    if importlib.util.find_spec("torchvision") is None:
        for suffix in (
            "",
            ".transforms",
            ".transforms.functional",
            ".models",
            ".models.vgg",
            ".models.resnet",
            ".ops",
            ".models.densenet",
            ".datasets",
        ):
            sys.modules.setdefault(f"torchvision{suffix}", _stand_in(f"torchvision{suffix}"))
    root = name.partition(".")[0]
    if importlib.util.find_spec(root) is None:
        pytest.skip(f"the reference implementation {root} is not installed (pyproject.toml, dev, says how)")
    return importlib.import_module(name)


def upsampled(values: np.ndarray, shape: tuple[int, ...], first: float = 0.0, step: float | None = None) -> np.ndarray:
    """One (*grid) map on `shape`: by torch's linear interpolation; or cells of `step` pixels each, from `first` on."""
    if step is not None:
        for axis, size in enumerate(shape):
            middles = first + (np.arange(values.shape[axis]) + 0.5) * step
            along = functools.partial(np.interp, np.arange(size) + 0.5, middles)
            values = np.apply_along_axis(along, axis, values)
        return values
    mode = "bilinear" if len(shape) == 2 else "trilinear"
    grid = torch.as_tensor(np.asarray(values))[None, None].float()
    return nn.functional.interpolate(grid, size=shape, mode=mode, align_corners=False)[0, 0].numpy()


def close(actual: np.ndarray, expected: np.ndarray, relative: float = 1e-4) -> None:
    """Equal to `relative` of the largest expected value; fails with both extremes in its message."""
    scale = float(np.abs(expected).max())
    assert scale > 0, "the reference map is zero: nothing is compared"
    worst = float(np.abs(actual - expected).max())
    assert worst <= relative * scale, f"differs by {worst:.3g} where the largest value is {scale:.3g}"


def positive_target(net: nn.Module, x: Tensor) -> int:
    """The target with the largest logit."""
    with torch.no_grad():
        return int(net(x)[0].flatten(1).mean(dim=1).argmax()) if net(x).ndim > 2 else int(net(x)[0].argmax())
