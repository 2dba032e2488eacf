"""An image of which only some structures are left: what methods that take structures away ask the model about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray
from whyray.explain.anatomy.structures import partition
from whyray.explain.case import Case
from whyray.explain.fill import Fill, filled
from whyray.explain.masks import Segments
from whyray.explain.perturbed_image import PerturbedImage
from whyray.explain.typed import Structure


class Players:
    """Structures that share no voxel, and the rest of the image as the last player; padding belongs to no one.

    `masks`: (players, *spatial). A player that is absent shows `fill` in its place.
    """

    def __init__(self, case: Case, structures: Sequence[Structure], fill: Fill) -> None:
        self._case = case
        own = partition(structures)
        image = np.ones(case.shape, bool) if case.context.valid is None else case.context.valid
        rest = image & ~np.any(own, axis=0)
        self.masks: BoolArray = np.stack([*own, rest])
        # what belongs to no one is a segment of its own, the last, that is always shown
        labels = np.where(self.masks.any(axis=0), self.masks.argmax(axis=0), len(self.masks))
        self._perturbed = PerturbedImage(case, Segments(labels), case.x, filled(case.x, fill))

    def __len__(self) -> int:
        return len(self.masks)

    def scores(self, present: BoolArray) -> NDArray[np.float64]:
        """(n, targets): scores of images that show the players of each row of `present` (n, players) alone."""
        keep = np.concatenate([present, np.ones((len(present), 1), bool)], axis=1)
        numbers = ({"keep": keep[chunk]} for chunk in self._case.chunks(len(keep)))
        return np.concatenate(list(self._perturbed.scores(numbers, len(keep)))).astype(np.float64)
