"""What a method may know beyond the image and the model: the study's anatomy, and what was said of the image before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whyray.explain.typed import Explanation, Structure


@dataclass(frozen=True)
class PriorExplanation:
    """An explanation that was made before for the same image, and how it was judged (green, amber, red)."""

    explanation: Explanation
    grade: str
    withheld: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Context:
    """All of it may be missing: then a method finds what it needs in the package, or refuses by name.

    Attributes
    ----------
    structures
        Anatomy that came with the study (a Segmentation), on the model's input grid; empty without one.
    made
        Explanations of the same image made before, in the order in which they were made.
    display
        (*spatial) float32 in 0..1: the image as it is displayed, on the model's input grid; None leaves it to be
        derived from the model's input.
    valid
        (*spatial): False on padding; None where all of the grid lies on the image.
    language, phrases
        Language of sentences, and the folder of a site's phrases.
    directions
        Letters of PS3.3 C.7.6.1.1.1 that say where each axis of the grid grows to in the patient, e.g. ('F', 'L') for
        rows that go down and columns that go to the patient's left; None where nobody knows, and then no side is named.
    """

    structures: tuple[Structure, ...] = ()
    made: Sequence[PriorExplanation] = ()
    display: NDArray[np.float32] | None = None
    valid: NDArray[np.bool_] | None = None
    language: str = "en"
    phrases: Path | None = None
    directions: tuple[str, ...] | None = None


NOTHING = Context()
