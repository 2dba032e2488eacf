"""What explanations by cases say: the references that an image is like, and the nearest of another class."""

from __future__ import annotations

from dataclasses import dataclass

from whyray.base.arrays import FloatArray
from whyray.explain.typed import MapPart, TypedExplanation


@dataclass(frozen=True)
class CaseMatch:
    """A case (or a part of one) that this image is like.

    Attributes
    ----------
    label
        The reference's opaque name in its index, never an identifier of a patient.
    similarity
        In the explanation's `unit`; larger is more alike.
    answer
        What the model says of the reference about this target (probability or value).
    known
        What is known of it about this target: True, False, or None.
    weight
        For prototypes: the weight of the similarity in the answer; the product of both is its contribution.
    picture
        (h, w) float32 in 0..1, or None where the index keeps none.
    synthetic
        Whether the picture was made by a decoder.
    resembles
        For prototypes: where this image is like it, (*spatial).
    """

    label: str
    similarity: float
    answer: float | None = None
    known: bool | None = None
    weight: float | None = None
    picture: FloatArray | None = None
    synthetic: bool = False
    resembles: FloatArray | None = None


@dataclass(frozen=True, kw_only=True)
class CaseMatches(TypedExplanation):
    """The most similar cases, nearest first, and the nearest of another class, out of `reference_count`."""

    unit: str
    matches: tuple[CaseMatch, ...]
    contrasts: tuple[CaseMatch, ...] = ()
    reference_count: int = 0
    base: float | None = None
    """For prototypes: the head's bias; base plus all weight × similarity is the logit `total`."""
    total: float | None = None
    display: FloatArray | None = None
    """(*spatial) in 0..1: this image as displayed, beside its matches."""

    @property
    def maps(self) -> tuple[MapPart, ...]:
        """Where the image is like each prototype."""
        return tuple(
            MapPart(match.label, match.resembles, False, self.unit)
            for match in self.matches
            if match.resembles is not None
        )
