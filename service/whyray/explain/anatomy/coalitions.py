"""An image of which only some structures are left: what methods that take structures away ask the model about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, FloatArray
from whyray.explain.anatomy.structures import partition
from whyray.explain.case import Case
from whyray.explain.fill import Fill, filled
from whyray.explain.typed import Structure


class Players:
    """Structures that share no voxel, and the rest of the image as the last player; padding belongs to no one.

    `masks`: (players, *spatial). A player that is absent shows `fill` in its place.
    """

    def __init__(self, case: Case, structures: Sequence[Structure], fill: Fill) -> None:
        self._case = case
        self._cover = filled(case.x, fill)[0]
        own = partition(structures)
        image = np.ones(case.shape, bool) if case.context.valid is None else case.context.valid
        rest = image & ~np.any(own, axis=0)
        self.masks: BoolArray = np.stack([*own, rest])

    def __len__(self) -> int:
        return len(self.masks)

    def scores(self, present: BoolArray) -> NDArray[np.float64]:
        """(n, targets): scores of images that show the players of each row of `present` (n, players) alone."""
        case = self._case

        def images() -> Iterator[FloatArray]:
            for chunk in case.chunks(len(present)):
                batch = np.repeat(case.x, chunk.stop - chunk.start, axis=0)
                for image, row in zip(batch, present[chunk], strict=True):
                    gone = np.any(self.masks[~row], axis=0) if not row.all() else np.zeros(case.shape, bool)
                    image[:, gone] = self._cover[:, gone]
                yield batch

        return np.concatenate(list(case.scores(images(), len(present)))).astype(np.float64)
