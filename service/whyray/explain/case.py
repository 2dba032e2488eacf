"""What a method is given: one image, the model's run on it, the targets, and a counted way to ask the model again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import ExplanationError
from whyray.explain.companion_grid import displayed
from whyray.explain.context import NOTHING, Context
from whyray.explain.grid import upsample
from whyray.explain.image import ExplainedImage
from whyray.inference import Model, Run

Progress = Callable[[int, int, str], None]
"""(done, total, words): called between batches; may raise Cancelled."""


@dataclass(frozen=True)
class Attribution:
    """What a method found for one target, in the order of the case's targets: the variable part of a Heatmap.

    `parameters` are those that the method settled itself, in place of what was left open.
    """

    values: FloatArray
    layer: str | None = None
    evidence: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, object] = field(default_factory=dict)


class Case:
    """One image that is explained for one or several targets.

    The score of a target is its logit (a regression's value); for a segmentation it is the mean of the target's logits
    over the region that the model itself gave to the target (after Vinogradova et al. 2020, eq. 2, divided by
    the region's size so that scores of large and small segments compare).

    Attributes
    ----------
    image
        The image with what was made of it so far; a new one where an array is given.
    x
        (1, C, *spatial) float32, channels-first.
    targets
        Output channels that are explained.
    context
        What is known beyond the image.
    """

    def __init__(
        self,
        model: Model,
        x: FloatArray | ExplainedImage,
        targets: Sequence[int],
        *,
        context: Context = NOTHING,
        progress: Progress | None = None,
        words: str = "",
    ) -> None:
        self.model = model
        self.context = context
        self.image = x if isinstance(x, ExplainedImage) else ExplainedImage(model, x)
        self.x = self.image.x
        self.targets = tuple(targets)
        self._progress = progress
        self._words = words

    def for_targets(self, targets: Sequence[int]) -> Case:
        """The same image and listener for other targets."""
        return Case(self.model, self.image, targets, context=self.context, progress=self._progress, words=self._words)

    @property
    def run(self) -> Run:
        """The model's run on `x`: logits, features, embedding. Shared by everything that is asked about this image."""
        return self.image.run

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape of the input and so of every heatmap."""
        return self.x.shape[2:]

    @cached_property
    def display(self) -> FloatArray:
        """(*spatial) in 0..1: the image as it is displayed, on the model's input grid."""
        if self.context.display is not None:
            return self.context.display
        only: FloatArray = displayed(self.x, self.model.manifest.input)[0]
        return only

    @property
    def target_names(self) -> tuple[str, ...]:
        """Names of the targets that are explained."""
        return tuple(self.model.targets[target] for target in self.targets)

    @cached_property
    def regions(self) -> FloatArray | None:
        """(targets, *output grid): weights 1/size on the segment of each target; None unless a segmentation."""
        masks = self.image.regions
        if masks is None:
            return None
        picked: FloatArray = masks[list(self.targets)].astype(np.float32)
        sizes = picked.reshape(len(picked), -1).sum(axis=1)
        if not sizes.all():
            missing = [self.model.targets[t] for t, size in zip(self.targets, sizes, strict=True) if not size]
            raise ExplanationError(
                f"{self.model.identity} finds no {', '.join(missing)} in this image: no segment to explain",
                advice="Explain the segments that were found.",
            )
        weights: FloatArray = picked / sizes.reshape(-1, *[1] * (picked.ndim - 1))
        return weights.astype(np.float32)

    def scores_of(self, logits: FloatArray) -> FloatArray:
        """(N, targets): scores from logits (N, all targets, ...)."""
        picked: FloatArray = logits[:, list(self.targets)]
        if self.regions is None:
            return picked
        flat = picked.reshape(*picked.shape[:2], -1)
        scores: FloatArray = np.einsum("ntv,tv->nt", flat, self.regions.reshape(len(self.targets), -1))
        return scores.astype(np.float32)

    @cached_property
    def score(self) -> FloatArray:
        """(targets,): scores of the image as it is."""
        only: FloatArray = self.scores_of(self.run.logits)[0]
        return only

    def scores(self, batches: Iterable[FloatArray], total: int) -> Iterator[FloatArray]:
        """Scores (n, targets) of each batch (n, C, *spatial) in turn; progress is told before each, of `total`."""
        done = 0
        for batch in batches:
            self.tell(done, total)
            yield self.scores_of(self.model.session.logits(batch))
            done += len(batch)
        self.tell(done, total)

    def drawn(self, maps: FloatArray, tensor: str | None) -> FloatArray:
        """Maps (..., *grid) of a tensor of the graph on the input's grid (..., *spatial): each cell where it looks."""
        return upsample(maps, self.shape, None if tensor is None else self.model.network.placement(tensor))

    def tell(self, done: int, total: int) -> None:
        """Tell progress; raises Cancelled where the listener does."""
        if self._progress is not None:
            self._progress(done, total, self._words)

    def chunks(self, count: int, *, gradient: bool = False, parts: int = 1) -> Iterator[slice]:
        """Slices that cut `count` items into passes of the model's batch size: forward, or forward and back.

        At least `parts` passes, as long as there are as many items.
        """
        step = self.model.session.gradient_batch_size if gradient else self.model.session.batch_size
        step = max(1, min(step, count // parts))
        for start in range(0, count, step):
            yield slice(start, min(start + step, count))
