"""What every method is asked at onboarding: the images, and which target of each is explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.statistics import evenly_spread
from whyray.explain import explainable, explained_image
from whyray.inference import Model


@dataclass(frozen=True)
class OnboardingImage:
    """One image to onboard on.

    Attributes
    ----------
    x
        The model's input in the layout of the manifest, (1, ...).
    truth
        By target: where readers marked it, bool in the spatial shape of the input. Targets without a mark are left out.
    labels
        By target: whether the finding is there. Targets that nobody looked for are left out.
    patient
        Tells which images belong together; empty where nobody knows. It is not kept.
    """

    x: FloatArray
    truth: Mapping[str, BoolArray] = field(default_factory=dict)
    labels: Mapping[str, bool] = field(default_factory=dict)
    patient: str = ""


@dataclass(frozen=True)
class Question:
    """One target of one image (by number) that every method explains."""

    image: int
    x: FloatArray
    target: str


def questions_of(model: Model, images: Sequence[OnboardingImage], most: int) -> list[Question]:
    """One for each marked target of at most `most` images, those with marks first; else for the strongest answer."""
    numbers = {id(image): number for number, image in enumerate(images)}
    marked = spread([image for image in images if image.truth], most)
    others = [image for image in images if not image.truth]
    rest = spread(others, most - len(marked))
    return [
        Question(numbers[id(image)], image.x, target)
        for image in [*marked, *rest]
        for target in (image.truth or (_strongest(model, image.x),))
    ]


def spread(images: Sequence[OnboardingImage], most: int) -> list[OnboardingImage]:
    """At most so many, evenly from first to last."""
    return [images[index] for index in evenly_spread(len(images), most)]


def _strongest(model: Model, x: FloatArray) -> str:
    image = explained_image(model, x)
    answer = model.answer(image.run.logits)[0].reshape(len(model.targets), -1).mean(axis=1)
    return max(explainable(image), key=lambda name: answer[model.target_index(name)])
