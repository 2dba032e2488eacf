"""Occlusion (Zeiler and Fergus 2014): what the answer loses where the image is covered."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from whyray.base.errors import ConfigError
from whyray.explain.case import Attribution, Case
from whyray.explain.fill import Fill, filled
from whyray.explain.masks import Windows
from whyray.explain.perturbed_image import PerturbedImage
from whyray.explain.registry import AttributionMap, MethodParameters, register
from whyray.explain.types import Tier

Sizes = int | tuple[int, ...]


class OcclusionParameters(MethodParameters):
    """In voxels, one number or one an axis; 0 takes an eighth of each axis for `window`, half of it for `stride`."""

    window: Sizes = 0
    stride: Sizes = 0
    fill: Fill = Field(default="mean")


@register
class Occlusion(AttributionMap):
    """Occlusion (Zeiler and Fergus 2014, section 4.2): the drop of the score when a window is covered.

    Each place gets the mean drop of the windows over it. Positive: covering it speaks against the target. Windows lie
    as captum's do: the last of an axis is cut at the border.
    """

    name: ClassVar[str] = "occlusion"
    title: ClassVar[str] = "Occlusion"
    tier: ClassVar[Tier] = "T0"
    signed: ClassVar[bool] = True
    Parameters: ClassVar[type[MethodParameters]] = OcclusionParameters

    def cost(self, parameters: Any) -> int:  # noqa: ARG002
        """One a window: 15 along each of two axes by default."""
        return 225

    def attribute(self, case: Case, parameters: MethodParameters) -> Sequence[Attribution]:
        """One map a target; one forward pass a window, shared by all targets."""
        assert isinstance(parameters, OcclusionParameters)
        places = windows(case.shape, parameters.window, parameters.stride)
        family = Windows.of(case.shape, places)
        perturbed = PerturbedImage(case, family, case.x, filled(case.x, parameters.fill))
        covered = (family.numbers(places[chunk]) for chunk in case.chunks(len(places)))
        total = np.zeros((len(case.targets), *case.shape))
        times = np.zeros(case.shape)
        remaining = iter(places)
        for scores in perturbed.scores(covered, len(places)):
            for drop, place in zip(case.score - scores, remaining, strict=False):
                total[(slice(None), *place)] += drop.reshape(-1, *[1] * len(case.shape))
                times[place] += 1
        return [Attribution((drops / np.maximum(times, 1)).astype(np.float32)) for drops in total]


def windows(shape: tuple[int, ...], window: Sizes, stride: Sizes) -> list[tuple[slice, ...]]:
    """All places of a window over an array of `shape`; ConfigError where window or stride don't fit it."""
    sizes = _per_axis(window, shape, "window") or tuple(max(1, round(size / 8)) for size in shape)
    steps = _per_axis(stride, shape, "stride") or tuple(max(1, size // 2) for size in sizes)
    axes = [
        [slice(start, min(start + size, length)) for start in _starts(length, size, step)]
        for length, size, step in zip(shape, sizes, steps, strict=True)
    ]
    return list(product(*axes))


def _starts(length: int, size: int, step: int) -> range:
    count = 1 + max(0, -(-(length - size) // step))
    return range(0, count * step, step)


def _per_axis(given: Sizes, shape: tuple[int, ...], name: str) -> tuple[int, ...] | None:
    sizes = (given,) * len(shape) if isinstance(given, int) else given
    if len(sizes) != len(shape) or any(not 0 <= size <= length for size, length in zip(sizes, shape, strict=False)):
        raise ConfigError(
            f"occlusion: {name} {given} does not fit an image of {shape}",
            advice=f"Give one number for {name}, or one for each of the {len(shape)} axes; none larger than its axis.",
        )
    return sizes if all(sizes) else None
