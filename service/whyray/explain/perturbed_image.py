"""One image with parts of it hidden, again and again: made on the host in numpy, or where the model runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from whyray.base.arrays import DoubleArray, FloatArray
from whyray.explain.case import Case
from whyray.explain.masks import Masks
from whyray.inference import MaskedPass, MaskNumbers


class MaskSums(Protocol):
    """Sums over masks of what was seen: of each mask times each target's score, and of the masks alone."""

    def add(self, scores: FloatArray, masks: Any) -> None:
        """Add a batch: scores (n, targets), and its masks as `PerturbedImage.scored` gave them."""

    def values(self) -> tuple[DoubleArray, DoubleArray]:
        """(targets, *spatial) and (*spatial)."""


class PerturbedImage:
    """What a perturbation method asks the model about: an image with parts hidden, by masks of one family.

    On a GPU (see `RuntimeOptions.perturbed_on`) image and replacement are copied there once, when this is made, and
    a few numbers for each mask; elsewhere images are made in numpy. Both give the same but for rounding.

    `shown` and `hidden` are (1, C, *spatial) float32; `hidden` None is 0 everywhere.
    """

    def __init__(self, case: Case, masks: Masks, shown: FloatArray, hidden: FloatArray | None) -> None:
        self._case, self._masks, self._shown, self._hidden = case, masks, shown, hidden
        nothing = np.zeros_like(shown) if hidden is None else hidden
        self._device = case.model.session.masked_passes(masks.rule, shown, nothing)
        self._regions = None
        if self._device is not None and case.regions is not None:
            self._regions = self._device.region_scores(case.targets, case.regions, len(case.model.targets))

    def scores(self, numbers: Iterable[MaskNumbers], total: int | None) -> Iterator[FloatArray]:
        """Scores (n, targets) of each batch of masks in turn; progress is told before each, of `total` if given."""
        return (scores for scores, _ in self._scored(numbers, total, keep=False))

    def scored(self, numbers: Iterable[MaskNumbers], total: int | None) -> Iterator[tuple[FloatArray, Any]]:
        """As `scores`, with each batch's masks, which stay where they were made: for `sums`."""
        return self._scored(numbers, total, keep=True)

    def sums(self) -> MaskSums:
        """Sums of masks, kept where these are made."""
        targets = len(self._case.targets)
        return _HostSums(targets, self._case.shape) if self._device is None else self._device.sums(targets)

    def _scored(
        self, numbers: Iterable[MaskNumbers], total: int | None, *, keep: bool
    ) -> Iterator[tuple[FloatArray, Any]]:
        done = 0
        for batch in numbers:
            self._tell(done, total)
            if self._device is None:
                masks = self._masks.masks(batch)
                images = self._masks.images(self._shown, self._hidden, masks)
                yield self._case.scores_of(self._case.model.session.logits(images)), masks
            else:
                made = self._device.run(batch, masks=keep)
                yield self._scores_there(made), made.masks
            done += len(next(iter(batch.values())))
        self._tell(done, total)

    def _tell(self, done: int, total: int | None) -> None:
        if total is not None:
            self._case.tell(done, total)

    def _scores_there(self, made: MaskedPass) -> FloatArray:
        assert self._device is not None
        scores = None if self._regions is None else self._regions.of(made)
        return self._case.scores_of(self._device.logits(made)) if scores is None else scores


class _HostSums:
    """Sums of masks in numpy."""

    def __init__(self, targets: int, shape: tuple[int, ...]) -> None:
        self._weighted = np.zeros((targets, *shape))
        self._masks = np.zeros(shape)

    def add(self, scores: FloatArray, masks: FloatArray) -> None:
        self._weighted += np.tensordot(scores.T, masks, axes=1)
        self._masks += masks.sum(axis=0)

    def values(self) -> tuple[DoubleArray, DoubleArray]:
        return self._weighted, self._masks
