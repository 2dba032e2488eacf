"""The artefact 'concepts': what was learned about a package from images in which people know the concepts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.coded_concept import CodedConcept
from whyray.base.errors import PackageError
from whyray.inference import Model
from whyray.packages import Artefact, find_artefact, require_artefact

ConceptKind = Literal["presence", "measure"]
KIND = "concepts"
MAKE = "Make it: `whyray concepts fit {name} --images DIR --labels labels.csv`."
LEAST_AUC, LEAST_R2 = 0.7, 0.3
"""Below these a concept is not relied on: AUC of a concept that is there or not, R² of a measure (held out)."""


@dataclass(frozen=True)
class Concept:
    """One concept, with how many images show it (`positives`; 0 for measures) out of those where it is known."""

    name: str
    kind: ConceptKind
    examples: int
    positives: int = 0
    unit: str = ""
    code: CodedConcept | None = None

    @property
    def label(self) -> str:
        """The name, and the unit where the values have one: 'age [a]'."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


@dataclass(frozen=True)
class Outputs:
    """How the concepts that a bottleneck graph computes are distributed over the reference images.

    mean, low, high: (K,) mean, 5th and 95th percentile of the tensor as it is; auc: (K,) held out, NaN where unknown.
    """

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    auc: FloatArray


@dataclass(frozen=True)
class Surrogate:
    """A sparse, linear stand-in for the head, that reads concepts from the embedding (Yuksekgonul et al. 2023).

    Attributes
    ----------
    tensor
        Where concepts are read; its mean over positions where it has any.
    readings, offsets
        (C, D), (C,): concept c is read as `readings[c] @ embedding + offsets[c]`.
    mean, spread
        (C,): of these readings over the references.
    calibration
        (C, 2): Platt's a and b, for concepts that are there or not.
    held_out
        (C,): AUC or R² of each reading on images that it was not fitted on.
    weights, biases
        (T, C), (T,): logit of target t is `weights[t] @ ((reading - mean) / spread) + biases[t]`.
    resampled
        (B, T, C): the weights of as many bootstrap resamples of the references.
    agreement, random_agreement
        (T,): correlation with the model's own logit on images held out; the same of random readings, as many.
    random_spread
        (T,): standard deviation of the latter over banks of random readings.
    logit_spread
        (T,): standard deviation of the model's own logit over the references.
    """

    tensor: str
    readings: FloatArray
    offsets: FloatArray
    mean: FloatArray
    spread: FloatArray
    calibration: FloatArray
    held_out: FloatArray
    weights: FloatArray
    biases: FloatArray
    resampled: FloatArray
    agreement: FloatArray
    random_agreement: FloatArray
    random_spread: FloatArray
    logit_spread: FloatArray


@dataclass(frozen=True)
class Directions:
    """Concept activation vectors of a layer, and what a class of images does along them (Kim et al. 2018).

    A step is (D,): one standard deviation, over the references, of the activations' projection on the vector.
    V = C + C·R + X vectors, in this order: the concepts' own, their R resampled copies, X random ones.

    Attributes
    ----------
    tensor
        The layer.
    readings, offsets, calibration, held_out
        As in Surrogate.
    steps
        (V, D).
    class_mean, class_spread, class_score
        (T, V): mean and standard deviation of the logit's derivative along each step over the images of the class, and
        the share of them where it is positive (TCAV, equation 2).
    class_count
        (T,): images of the class.
    class_is
        (T,) 1: images that are labelled so; 0: no labels, so those on which the model says so.
    copies
        R.
    """

    tensor: str
    readings: FloatArray
    offsets: FloatArray
    calibration: FloatArray
    held_out: FloatArray
    steps: FloatArray
    class_mean: FloatArray
    class_spread: FloatArray
    class_score: FloatArray
    class_count: FloatArray
    class_is: FloatArray
    copies: FloatArray

    @property
    def repeats(self) -> int:
        """R."""
        return int(self.copies[0])

    def copies_of(self, concept: int) -> slice:
        """The places of a concept's resampled copies among the V vectors."""
        first = len(self.readings) + concept * self.repeats
        return slice(first, first + self.repeats)

    @property
    def random(self) -> slice:
        """The places of the random vectors."""
        return slice(len(self.readings) * (1 + self.repeats), len(self.steps))


@dataclass(frozen=True)
class ConceptBank:
    """All of the artefact. Parts that a package can't have are None. `origin` names the artefact with its digest."""

    targets: tuple[str, ...]
    concepts: tuple[Concept, ...] = ()
    outputs: Outputs | None = None
    surrogate: Surrogate | None = None
    directions: Directions | None = None
    count: int = 0
    origin: str = ""
    details: Mapping[str, Any] | None = None


_PARTS: dict[str, type[Any]] = {"outputs": Outputs, "surrogate": Surrogate, "directions": Directions}


def held(bank: ConceptBank) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The bank as an artefact's details and arrays, the arrays' names as `bank_of` reads them."""
    details: dict[str, Any] = {
        **(bank.details or {}),
        "targets": list(bank.targets),
        "concepts": [
            {**asdict(concept), "code": None if concept.code is None else concept.code.model_dump()}
            for concept in bank.concepts
        ],
        "tensors": {},
    }
    arrays: dict[str, NDArray[Any]] = {}
    for name in _PARTS:
        part = getattr(bank, name)
        for field, value in {} if part is None else vars(part).items():
            if isinstance(value, str):
                details["tensors"][name] = value
            else:
                arrays[f"{name}.{field}"] = np.asarray(value, np.float32)
    return details, arrays


def bank_of(artefact: Artefact, targets: tuple[str, ...]) -> ConceptBank:
    """Read it back; PackageError where it is of another make, or of other targets."""
    details = artefact.facts.details
    advice = MAKE.format(name=artefact.facts.package.partition("@")[0])
    try:
        if tuple(details["targets"]) != targets:
            raise PackageError(f"{artefact.path}: made for the targets {', '.join(details['targets'])}", advice=advice)
        parts: dict[str, Any] = {}
        for name, kind in _PARTS.items():
            arrays = {key.partition(".")[2]: value for key, value in artefact.arrays.items() if key.startswith(name)}
            if arrays:
                tensor = {"tensor": details["tensors"][name]} if name in details["tensors"] else {}
                parts[name] = kind(**arrays, **tensor)
        concepts = tuple(
            Concept(**{**detail, "code": None if detail["code"] is None else CodedConcept(**detail["code"])})
            for detail in details["concepts"]
        )
    except (KeyError, TypeError) as error:
        raise PackageError(f"{artefact.path}: not a bank of concepts: {error!r}", advice=advice) from error
    return ConceptBank(
        targets=targets,
        concepts=concepts,
        count=artefact.facts.count,
        origin=artefact.short,
        details=details,
        **parts,
    )


def find_bank(model: Model) -> ConceptBank | None:
    """The bank of a model's package, read once; None where it has none."""
    artefact = model.once(("artefact", KIND), lambda: find_artefact(model, KIND))
    return None if artefact is None else model.once(("bank",), lambda: bank_of(artefact, model.targets))


def require_bank(model: Model, method: str) -> ConceptBank:
    """As `find_bank`; ArtefactMissing where there is none."""
    bank = find_bank(model)
    if bank is None:
        require_artefact(model, KIND, method=method, advice=MAKE.format(name=model.identity))
    assert bank is not None
    return bank
