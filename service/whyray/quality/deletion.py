"""Deletion and insertion: does the answer go when what the map points at goes, and come when it comes?

Petsiuk et al. 2018 (RISE), section 4.2, by cells instead of pixels, with one replacement for both curves and against
random orders, so that the number can be read without knowing the model: 0 is what a random order reaches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, DoubleArray
from whyray.explain import Case, PerturbedImage, Segments
from whyray.quality.cells import Cells, cut, edge_map, order_by, replacement


@dataclass(frozen=True)
class Curves:
    """Areas under the curves of one order, one number a target, in units of the score (logit).

    `deletion`: mean score while cells are replaced in the order; lower is better. `insertion`: mean score while cells
    come back in the order; higher is better. `gap` is insertion minus deletion: its mean over random orders is 0,
    since the reverse of an order has the opposite gap (but for one cell, where an odd number of them is cut into an
    even number of steps).
    """

    deletion: DoubleArray
    insertion: DoubleArray

    @property
    def gap(self) -> DoubleArray:
        """Insertion minus deletion."""
        return self.insertion - self.deletion


@dataclass(frozen=True)
class NullCurves:
    """What knows nothing of the model's reasons: random orders, and the order of an edge map. Shared by all maps."""

    random: tuple[Curves, ...]
    edges: Curves
    whole: DoubleArray
    gone: DoubleArray
    parity: float
    forwards: int


class Perturbation:
    """One image, its replacement and its cells; scores curves of any order, for all targets of the case at once."""

    def __init__(self, case: Case, valid: BoolArray | None, steps: int) -> None:
        self._case = case
        mask = None if valid is None else valid.tobytes()
        self.cells: Cells = case.image.once(("cells", mask), lambda: cut(case.shape, valid))
        replaced = replacement(case.x, valid)
        self._ends = np.concatenate([case.x, replaced])
        # padding is a segment of its own, the last: it is the same in both images
        labels = np.where(self.cells.labels < 0, len(self.cells), self.cells.labels)
        self._perturbed = PerturbedImage(case, Segments(labels), case.x, replaced)
        self._counts = np.unique(np.round(np.linspace(0, len(self.cells), steps + 1)).astype(int))[1:-1]

    @property
    def forwards_per_order(self) -> int:
        """Forward passes of one order's two curves, without the two ends that all orders share."""
        return 2 * len(self._counts)

    def null(self, orders: int, rng: np.random.Generator) -> NullCurves:
        """Curves of `orders` random orders and of the edge map, and the two ends of all curves.

        `parity` is how far the whole image's scores in a batch are from its scores alone, relative to the largest.
        """
        whole, gone = self._case.scores_of(self._case.model.session.logits(self._ends)).astype(np.float64)
        parity = float(np.abs(whole - self._case.score).max() / max(1.0, np.abs(self._case.score).max()))
        edges = order_by(self.cells.means(edge_map(self._case.x)), rng)
        first, *rest = self.curves([edges, *(rng.permutation(len(self.cells)) for _ in range(orders))], whole, gone)
        cost = 2 + self.forwards_per_order * (1 + orders)
        return NullCurves(tuple(rest), first, whole, gone, parity, cost)

    def curves(self, orders: list[NDArray[np.intp]], whole: DoubleArray, gone: DoubleArray) -> list[Curves]:
        """The curves of several orders of the cells, in shared batches."""
        count = len(self._counts)
        keep = np.concatenate([self._kept(order) for order in orders])
        numbers = ({"keep": keep[chunk]} for chunk in self._case.chunks(len(keep)))
        scored = np.concatenate(list(self._perturbed.scores(numbers, len(keep)))).astype(np.float64)
        scores = scored.reshape(len(orders), 2, count, -1)
        share = np.concatenate([[0], self._counts / len(self.cells), [1]])
        results = []
        for deleting, inserting in scores:
            down = np.concatenate([whole[None], deleting, gone[None]])
            up = np.concatenate([gone[None], inserting, whole[None]])
            results.append(Curves(np.trapezoid(down, share, axis=0), np.trapezoid(up, share, axis=0)))
        return results

    def _kept(self, order: NDArray[np.intp]) -> BoolArray:
        """(2 counts, cells and padding): what is shown while cells go in the order, and while they come back."""
        rank = np.argsort(order)
        back: BoolArray = np.append(rank, len(order)) < self._counts[:, None]
        return np.concatenate([~back, back])
