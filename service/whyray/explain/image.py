"""One image that is explained, and what was made of it: held by whoever asks about it more than once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.errors import ExplanationError
from whyray.inference import Model, Run

T = TypeVar("T")


class ExplainedImage:
    """One image of one model. What costs a pass is made when it is first asked for, and kept as long as this is.

    Attributes
    ----------
    x
        (1, C, *spatial) float32, channels-first.
    """

    def __init__(self, model: Model, x: FloatArray) -> None:
        self.model = model
        self.x = x
        self._tapped: dict[str, FloatArray] = {}
        self._once: dict[Hashable, Any] = {}

    @cached_property
    def run(self) -> Run:
        """The model's run: logits, features, embedding, and Grad-CAM where it comes with the answer."""
        return self.model.session.run(self.x)

    @cached_property
    def regions(self) -> BoolArray | None:
        """`predicted_regions` of the model's answer."""
        return predicted_regions(self.model, self.run.logits)

    def tapped(self, tensor: str) -> FloatArray:
        """An inner tensor (1, ...) of the image's pass, as the graph has it."""
        if tensor not in self._tapped:
            self._tapped[tensor] = self.model.session.tapped(self.x, [tensor])[tensor]
        return self._tapped[tensor]

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made once for this image under `key`: anatomy, a caption, random orders."""
        if key not in self._once:
            self._once[key] = make()
        made: T = self._once[key]
        return made


def explained_image(model: Model, x: NDArray[Any] | ExplainedImage) -> ExplainedImage:
    """The image as it is held already, or a new one of `x`, one image in the layout of the manifest.

    Raises ModelOutputError for another shape, NaN or infinity, and ExplanationError for several images.
    """
    if isinstance(x, ExplainedImage):
        if x.model is not model:
            raise ValueError(f"an image of {x.model.identity} was given to explain {model.identity}")
        return x
    image = model.network.checked_input(x)
    if len(image) != 1:
        raise ExplanationError(f"expected one image, found {len(image)}", advice="Explain images one at a time.")
    return ExplainedImage(model, image)


def predicted_regions(model: Model, logits: FloatArray) -> BoolArray | None:
    """(targets, *output grid): where a segmentation says each target is; None for other tasks.

    Softmax: the class of the largest probability. Sigmoid: at or above the target's threshold.
    """
    if model.task != "segmentation":
        return None
    if model.network.form.activation == "softmax":
        calibrated = any(target.calibration is not None for target in model.manifest.targets)
        return _largest((model.answer(logits[:1]) if calibrated else logits)[0])
    answer = model.answer(logits[:1])[0]
    thresholds = np.array([target.threshold for target in model.manifest.targets], np.float32)
    return np.asarray(answer >= thresholds.reshape(-1, *[1] * (answer.ndim - 1)))


def _largest(values: FloatArray) -> BoolArray:
    """(targets, *grid): where each is the largest, of equals the first. numpy's argmax over the first axis is slow."""
    masks: BoolArray = values == values.max(axis=0)
    taken = masks[0].copy()
    for mask in masks[1:]:
        mask &= ~taken
        taken |= mask
    return masks
