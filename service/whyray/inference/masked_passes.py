"""A perturbation method's passes without its images on the host: a few numbers a mask go in, scores come out.

Image and replacement are copied to the device once. A small session beside the model's makes a batch of masked images
there, and what it gives is what the model takes: two sessions, so that the model's weights are held once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import DoubleArray, FloatArray
from whyray.base.errors import PackageError
from whyray.inference import mask_graphs
from whyray.inference.mask_graphs import MaskRule
from whyray.inference.session import RuntimeOptions, device_of, open_session, placed, run_placed, runtime_errors

MaskNumbers = Mapping[str, NDArray[Any]]
"""What a batch of n masks is made from, n first: `cells` and `starts`, or `keep`; see `GridMasks`, `SegmentMasks`."""
_TYPES: Mapping[str, type[Any]] = {"tensor(float16)": np.float16, "tensor(float)": np.float32}


@dataclass(frozen=True)
class MaskedPass:
    """What one pass of a batch of masked images gave: OrtValues, which lie where the model runs.

    Attributes
    ----------
    count
        Items in the batch.
    logits
        The graph's own output, not checked.
    masks
        (n, *spatial) float32 where they were asked for.
    """

    count: int
    logits: Any
    masks: Any = None


class MaskedPasses:
    """Passes of one image with parts of it hidden, on the device of the model.

    `shown` and `hidden` are (1, C, *spatial) float32. `answer` runs the model on a batch that lies on its device;
    `on_host` is the host's way of a graph's output for so many items: copied, checked, in shape.
    """

    def __init__(
        self,
        rule: MaskRule,
        shown: FloatArray,
        hidden: FloatArray,
        *,
        input_type: type[Any],
        options: RuntimeOptions,
        answer: Callable[[Any], Any],
        on_host: Callable[[FloatArray, int], FloatArray],
    ) -> None:
        self._rule, self._options, self._answer, self._on_host = rule, options, answer, on_host
        self._session = _session(mask_graphs.mask_graph(rule, shown.shape[1], input_type), options)
        self._device = device_of(self._session)
        images = {mask_graphs.SHOWN: shown, mask_graphs.HIDDEN: hidden}
        self._lasting = {name: placed(array, self._device) for name, array in {**images, **rule.constants}.items()}

    def run(self, numbers: MaskNumbers, *, masks: bool = False) -> MaskedPass:
        """One pass of a batch, with its `masks` where asked for: those of a grid."""
        names = [mask_graphs.BATCH, mask_graphs.MASKS] if masks else [mask_graphs.BATCH]
        fed = {name: placed(array, self._device) for name, array in numbers.items()}
        batch, *drawn = _run(self._session, names, {**self._lasting, **fed}, "images with parts hidden")
        return MaskedPass(len(next(iter(numbers.values()))), self._answer(batch), *drawn)

    def logits(self, made: MaskedPass) -> FloatArray:
        """The logits of a pass on the host, as `NetworkSession.logits` gives them."""
        return self._on_host(np.asarray(made.logits.numpy(), np.float32), made.count)

    def sums(self, targets: int) -> MaskSums:
        """Sums of masks, nothing added yet; see `MaskSums`."""
        return MaskSums(self._rule.shape, targets, self._options)

    def region_scores(self, targets: Sequence[int], regions: FloatArray, count: int) -> RegionScores:
        """Scores of regions, of `count` targets that the model has; see `RegionScores`."""
        return RegionScores(targets, regions, count, self._options)


class RegionScores:
    """Weighted sums of a segmentation's logits, (t, *grid) weights for each of t targets, where the logits lie."""

    def __init__(self, targets: Sequence[int], regions: FloatArray, count: int, options: RuntimeOptions) -> None:
        self._count, self._grid, self._options = count, regions.shape[1:], options
        self._weights, self._targets = regions, np.array(targets, np.int64)
        self._lasting: dict[str, Any] = {}

    def of(self, made: MaskedPass) -> FloatArray | None:
        """(n, t); None where the output is of another shape or type, or not finite throughout: that is the host's."""
        kind = _TYPES.get(made.logits.data_type())
        if kind is None or tuple(made.logits.shape()) != (made.count, self._count, *self._grid):
            return None
        session = _session(mask_graphs.score_graph(self._count, self._grid, len(self._targets), kind), self._options)
        device = device_of(session)
        if not self._lasting:
            self._lasting[mask_graphs.REGIONS] = placed(self._weights, device)
            self._lasting[mask_graphs.TARGETS] = placed(self._targets, device)
        inputs = {mask_graphs.LOGITS: made.logits, **self._lasting}
        scores, level = _run(session, [mask_graphs.SCORES, mask_graphs.LEVEL], inputs, "scores of regions")
        return np.asarray(scores.numpy(), np.float32) if np.isfinite(level.numpy()).all() else None


class MaskSums:
    """Sums of masks times each target's scores, and of masks alone: kept on the device, in double precision."""

    def __init__(self, shape: tuple[int, ...], targets: int, options: RuntimeOptions) -> None:
        self._session = _session(mask_graphs.sum_graph(shape, targets + 1), options)
        self._device = device_of(self._session)
        self._sums = placed(np.zeros((targets + 1, *shape)), self._device)

    def add(self, scores: FloatArray, masks: Any) -> None:
        """Add a pass: scores (n, targets), and its masks, an OrtValue (n, *spatial)."""
        weights = np.concatenate([scores.T, np.ones((1, len(scores)), np.float32)])
        inputs = {mask_graphs.WEIGHTS: placed(weights, self._device), mask_graphs.MASKS: masks}
        inputs[mask_graphs.SUMS] = self._sums
        (self._sums,) = _run(self._session, [mask_graphs.SUMMED], inputs, "sums of masks")

    def values(self) -> tuple[DoubleArray, DoubleArray]:
        """(targets, *spatial) and (*spatial), on the host."""
        sums = np.asarray(self._sums.numpy(), np.float64)
        return sums[:-1], sums[-1]


def bytes_beside(channels: int, voxels: int, region_targets: int = 0) -> int:
    """Bytes of the device that an item of a masked batch takes at most, beside what a plain pass of it takes.

    The image times its mask, what that gives in single precision with the replacement, the mask and what it is made and
    scaled with; of a segmentation, the logits of each target that is explained, and those times their weights.
    """
    return 4 * voxels * (2 * channels + 4 + 2 * region_targets)


@lru_cache(maxsize=32)
def _session(graph: bytes, options: RuntimeOptions) -> Any:
    """Made once in a process for the same graph: models of the same shape share it."""
    return open_session(graph, options, name="masked images")


def _run(session: Any, names: Sequence[str], inputs: Mapping[str, Any], what: str) -> list[Any]:
    try:
        return run_placed(session, names, inputs, device_of(session))
    except runtime_errors() as error:
        raise PackageError(
            f"{what} could not be made on {session.get_providers()[0]}: {error}",
            advice="Give the worker more of the GPU's memory, or set device: cpu.",
        ) from error
