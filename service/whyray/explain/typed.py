"""The explanations that are not heatmaps: one class a type of interpretability (Salahuddin et al. 2022).

All of them say what they explain (`target`), by which method and with which parameters, and carry their method's own
self-checks as `evidence`. Arrays lie on the model's input grid. Pictures among the values are float32 in 0..1 as the
image is displayed, on that grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.coded_concept import CodedConcept
from whyray.base.nifti import GridInPatient, nifti_image
from whyray.explain.types import Heatmap

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from nibabel.nifti1 import Nifti1Image


@dataclass(frozen=True)
class MapPart:
    """A map that belongs to an explanation: what one prototype resembles, what a counterfactual changed.

    `values` (*spatial) float32; `name` tells it from the explanation's other maps; `signed` and `unit` as in Heatmap.
    """

    name: str
    values: FloatArray
    signed: bool
    unit: str

    def to_nifti(self, grid: GridInPatient) -> Nifti1Image:
        """The map of a volume as NIfTI, as `Heatmap.to_nifti`."""
        return nifti_image(self.values, grid)


@dataclass(frozen=True)
class Structure:
    """An anatomical structure: a mask (*spatial) on the model's input grid.

    `allowed`: whether the target may be looked for in it; None where nothing is said about that.
    """

    name: str
    mask: BoolArray
    code: CodedConcept | None = None
    laterality: CodedConcept | None = None
    allowed: bool | None = None

    def to_nifti(self, grid: GridInPatient) -> Nifti1Image:
        """The mask of a structure in a volume as NIfTI (uint8, 0 and 1), as `Heatmap.to_nifti`."""
        return nifti_image(self.mask, grid)


@dataclass(frozen=True, kw_only=True)
class TypedExplanation:
    """What all types have in common.

    `parameters` holds all parameters in force, and the artefacts and packages used with a digest of each.
    """

    target: str
    method: str
    parameters: Mapping[str, object] = field(default_factory=dict)
    evidence: Mapping[str, float] = field(default_factory=dict)

    @property
    def maps(self) -> tuple[MapPart, ...]:
        """Maps that results lay over the source image."""
        return ()

    @property
    def drift_numbers(self) -> Mapping[str, float]:
        """What of it is worth watching over time, by measure: a name in kebab-case, at most 32 characters."""
        return {}

    @property
    def structures(self) -> tuple[Structure, ...]:
        """Structures that results write as segments."""
        return ()

    def plot(self) -> Figure:
        """A matplotlib figure of what it says. Raises ExplanationError where it says it in words alone."""
        from whyray.explain.typed_figure import typed_figure

        return typed_figure(self)

    def _repr_html_(self) -> str:
        """What a notebook shows of it."""
        from whyray.explain.typed_figure import typed_html

        return typed_html(self)


# --- concept learning, concept attribution -------------------------------------------------------------------------


@dataclass(frozen=True)
class ConceptScore:
    """One concept and what it did to the answer.

    Attributes
    ----------
    name, code
        The concept.
    value
        How far it is present in this image: a probability in 0..1, or the measure in its own unit; None if unknown.
    score
        Its part in the answer, in the explanation's `unit`: positive speaks for the target.
    interval
        95 % interval of the score, where it is an estimate.
    p_value
        Corrected for multiple comparisons; None where nothing was tested.
    held_out
        How well the concept itself is known on images that it was not fitted on: AUC, accuracy, or R² by `held_out_is`.
    reliable
        Whether the concept may be relied on (held-out figure and significance as the method asks).
    class_score
        What is so of the target's class as a whole, not of this image, where the method says something of it: the share
        of reference images whose answer rises along the concept (TCAV), or the bidirectional relevance (RCV).
    """

    name: str
    score: float
    value: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    held_out: float | None = None
    held_out_is: str = "AUC"
    reliable: bool = True
    code: CodedConcept | None = None
    class_score: float | None = None


@dataclass(frozen=True)
class Intervention:
    """The answer when a concept is set to a value and the head is run again: logit and probability (or value)."""

    concept: str
    set_to: float
    logit: float
    answer: float


@dataclass(frozen=True, kw_only=True)
class ConceptScores(TypedExplanation):
    """Concepts in the order of their weight. `base` plus the sum of scores is `total` where the method is additive."""

    unit: str
    concepts: tuple[ConceptScore, ...]
    base: float | None = None
    total: float | None = None
    interventions: tuple[Intervention, ...] = ()


# --- case-based ----------------------------------------------------------------------------------------------------


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


# --- counterfactual ------------------------------------------------------------------------------------------------


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


# --- language ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """What a sentence rests on: the place of a number in the structured answer, and the number.

    `source` is a path such as 'answer.probability' or 'grad-cam.share.left-lower-zone'; `holds` says in words the rule
    that turns the number into what the sentence says ('>= 0.5').
    """

    source: str
    value: float
    holds: str


@dataclass(frozen=True)
class Sentence:
    """One sentence and all that it claims, in the order of the words."""

    text: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True, kw_only=True)
class Narrative(TypedExplanation):
    """Sentences about one answer, in one language (a template's name, e.g. 'en')."""

    language: str
    sentences: tuple[Sentence, ...]

    @property
    def text(self) -> str:
        """All sentences."""
        return " ".join(sentence.text for sentence in self.sentences)


# --- latent space --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LatentPosition(TypedExplanation):
    """Where the case lies among the references, in the space of the model's embedding.

    Attributes
    ----------
    references
        (M, 2) float32: the references' places on the plane of the plot; `position` is this case's.
    known
        (M,) what is known of them about the target: 1, 0, or -1 for nothing.
    plane
        What the plane is, in words: 'PCA', 'UMAP'.
    axes
        Words for both axes, e.g. 'component 1 (41 % of the variance)'.
    percentile
        0..100: how far from the references it is, by the distance named in `distance_is`: the share of held-out
        references that are nearer. Above the 95th the model was hardly made for such a case.
    distances
        All distances by name, each with its percentile: {'Mahalanobis': (12.1, 88.0)}.
    trustworthiness
        Of the plane, at 10 neighbours (Venna and Kaski 2001), 0..1. Below 0.9 no plot is made.
    traversal
        (steps, *spatial) displayed, for packages with an autoencoder; None without.
    """

    references: FloatArray
    position: tuple[float, float]
    known: NDArray[np.int8]
    plane: str
    axes: tuple[str, str]
    percentile: float
    distance_is: str
    distances: Mapping[str, tuple[float, float]]
    trustworthiness: float
    traversal: FloatArray | None = None

    @property
    def drift_numbers(self) -> Mapping[str, float]:
        """How far from the references the images lie."""
        return {"ood-percentile": self.percentile}


# --- anatomical priors ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RegionShare:
    """One structure's part in the answer.

    `share` is its part of the whole (of the attribution, or of the effect), `area` its part of the image, `enrichment`
    the quotient of both; `effect` is in the explanation's unit, where the method measures one.
    """

    structure: Structure
    share: float
    area: float
    enrichment: float | None = None
    effect: float | None = None


@dataclass(frozen=True, kw_only=True)
class RegionShares(TypedExplanation):
    """Attribution by anatomy. `outside` is the share outside all structures; `flagged` says that the target was looked
    for where it may not be; `of` names the heatmap's method where shares are those of a heatmap.
    """

    unit: str
    regions: tuple[RegionShare, ...]
    outside: float
    flagged: bool = False
    of: str | None = None
    base: float | None = None
    total: float | None = None

    @property
    def structures(self) -> tuple[Structure, ...]:
        """All of them."""
        return tuple(region.structure for region in self.regions)

    @property
    def drift_numbers(self) -> Mapping[str, float]:
        """How much of the answer comes from outside of all structures."""
        return {"outside-anatomy": self.outside}


# --- internal representation ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UnitEffect:
    """One unit (channel) of a layer and what it did.

    `contribution` is its part in the logit; `ablation` the change of the logit when it is set to its mean over the
    references; `percentile` where its activation lies among the references; `concept` what it detects by network
    dissection, with its IoU; `patches` (k, h, w) in 0..1 what excites it most among the references; `activation_map`
    (*spatial) where it fires here.
    """

    layer: str
    unit: int
    activation: float
    contribution: float
    ablation: float
    percentile: float | None = None
    concept: str | None = None
    iou: float | None = None
    patches: FloatArray | None = None
    synthetic: bool = False
    activation_map: FloatArray | None = None


@dataclass(frozen=True, kw_only=True)
class UnitReport(TypedExplanation):
    """The units that carried the answer, the strongest first, of `unit_count` in the layer.

    `display` (*spatial) in 0..1 is the image that their activation maps lie over.
    """

    units: tuple[UnitEffect, ...]
    unit_count: int
    base: float | None = None
    total: float | None = None
    display: FloatArray | None = None


Explanation = Heatmap | TypedExplanation
"""Whatever a method says."""
