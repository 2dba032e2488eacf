"""What counterfactual explanations say: the image changed until the answer flips."""

from __future__ import annotations

from dataclasses import dataclass

from whyray.base.arrays import BoolArray, FloatArray
from whyray.explain.typed import MapPart, TypedExplanation


@dataclass(frozen=True, kw_only=True)
class Counterfactual(TypedExplanation):
    """What would have to be different for another answer.

    Attributes
    ----------
    frames
        (steps, *spatial): the image from as it is (`start`) to the changed one and beyond, displayed.
    answers
        The model's answer (probability or value) about each frame.
    start, end
        Indices of the unchanged frame and of the one where the answer flipped (or came nearest).
    flipped
        Whether the answer crosses the target's threshold at `end`.
    difference
        (*spatial) signed: the changed image minus the unchanged one, in units of the displayed range.
    changed
        (*spatial): where something was replaced; None where the whole image may change.
    answer_before
        The answer about the image itself; `answers[start]` is that about the frame which stands for it.
    synthetic
        Whether the frames were made by a decoder.
    """

    frames: FloatArray
    answers: tuple[float, ...]
    start: int
    end: int
    flipped: bool
    difference: FloatArray
    answer_before: float
    changed: BoolArray | None = None
    synthetic: bool = True

    @property
    def maps(self) -> tuple[MapPart, ...]:
        """The difference."""
        return (MapPart("difference", self.difference, True, "display range"),)
