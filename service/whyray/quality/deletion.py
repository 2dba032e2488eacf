"""Deletion and insertion: does the answer go when what the map points at goes, and come when it comes?

Petsiuk et al. 2018 (RISE), section 4.2, by cells instead of pixels, with one replacement for both curves and against
random orders, so that the number can be read without knowing the model: 0 is what a random order reaches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whyray.explain import Case
from whyray.quality.cells import BoolArray, Cells, cut, replacement

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Curves:
    """Areas under the curves of one order, in units of the score (logit).

    `deletion`: mean score while cells are replaced in the order; lower is better. `insertion`: mean score while cells
    come back in the order; higher is better. `gap` is insertion minus deletion: its mean over random orders is exactly
    0, since the reverse of an order has the opposite gap.
    """

    deletion: float
    insertion: float

    @property
    def gap(self) -> float:
        """Insertion minus deletion."""
        return self.insertion - self.deletion


class Perturbation:
    """One image, its replacement and its cells; scores curves of any order, counting nothing twice."""

    def __init__(self, case: Case, valid: BoolArray | None, steps: int) -> None:
        self._case = case
        self._cells = cut(case.shape, valid)
        self._replaced = replacement(case.x, valid)
        self._counts = np.unique(np.round(np.linspace(0, len(self._cells), steps + 1)).astype(int))[1:-1]
        self._ends: tuple[float, float] | None = None
        self.parity = 0.0

    @property
    def cells(self) -> Cells:
        """The cells that orders sort."""
        return self._cells

    @property
    def forwards_per_order(self) -> int:
        """Forward passes of one order's two curves, without the two ends that all orders share."""
        return 2 * len(self._counts)

    def ends(self) -> tuple[float, float]:
        """(score of the whole image, score of the whole replacement); two forward passes, once.

        The whole image goes in a batch with the replacement, and `parity` is how far its score then is from its score
        alone, relative to the difference of the two.
        """
        if self._ends is None:
            both = np.concatenate([self._case.x, self._replaced])
            whole, gone = (float(each) for each in self._scores(both))
            alone = float(self._case.score[0])
            self.parity = abs(whole - alone) / max(1.0, abs(alone))
            self._ends = whole, gone
        return self._ends

    def curves(self, orders: list[NDArray[np.intp]]) -> list[Curves]:
        """The curves of several orders of the cells, in shared batches."""
        whole, gone = self.ends()
        images = (image for order in orders for image in self._images(order))
        count = len(self._counts)
        scores = np.array(list(self._streamed(images, len(orders) * 2 * count))).reshape(len(orders), 2, count)
        share = np.concatenate([[0], self._counts / len(self._cells), [1]])
        results = []
        for deleting, inserting in scores:
            down = np.concatenate([[whole], deleting, [gone]])
            up = np.concatenate([[gone], inserting, [whole]])
            results.append(Curves(_area(down, share), _area(up, share)))
        return results

    def _images(self, order: NDArray[np.intp]) -> Iterator[FloatArray]:
        for count in self._counts:
            yield np.where(self._cells.mask(order, count), self._replaced[0], self._case.x[0])
        for count in self._counts:
            yield np.where(self._cells.mask(order, count), self._case.x[0], self._replaced[0])

    def _streamed(self, images: Iterator[FloatArray], total: int) -> Iterator[float]:
        def batches() -> Iterator[FloatArray]:
            for chunk in self._case.chunks(total):
                yield np.stack([next(images) for _ in range(chunk.stop - chunk.start)])

        for scores in self._case.scores(batches(), total):
            yield from (float(each) for each in scores[:, 0])

    def _scores(self, images: FloatArray) -> FloatArray:
        found: FloatArray = self._case.scores_of(self._case.model.batch_logits(images))[:, 0]
        return found


def _area(scores: NDArray[np.float64], share: NDArray[np.float64]) -> float:
    return float(np.trapezoid(scores, share))
