"""`prototypes`: which parts of an image look like a package's prototypes, for packages that answer by comparing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from whyray.base.arrays import FloatArray
from whyray.base.errors import ArtefactMissing, ExplanationError, PackageError, WhyRayError
from whyray.explain.case import Case
from whyray.explain.cases.case_matches import CaseMatch, CaseMatches
from whyray.explain.registry import MethodDefaults, MethodParameters, register
from whyray.explain.types import Kind, Tier
from whyray.inference import Model
from whyray.packages import Artefact, find_artefact

PROTOTYPES = "prototypes"
"""Kind of the artefact that holds pictures and labels of the prototypes. Arrays, by name (P prototypes, T targets):
known (P, T) int8 and answers (P, T) float32 of the images that they come from; pictures (P, h, w) uint8, optional."""
_ADDITIVE = 1e-3
_SAMPLES = 4


class PrototypesParameters(MethodParameters):
    """most: prototypes that are shown, those with the largest contribution to the logit first, for or against."""

    most: int = Field(5, ge=1, le=50)


@dataclass(frozen=True)
class PrototypeHead:
    """logits = weight · similarities + bias, as measured from the graph. weight (T, P), bias (T,)."""

    weight: FloatArray
    bias: FloatArray


@register
class Prototypes(MethodDefaults):
    """Parts of this image that look like prototypes (Chen et al. 2019, eq. 1 and section 2.1).

    The package compares every place with every prototype and answers by the sum of weight × highest similarity plus a
    bias; these are the terms of that sum, exactly. Each comes with its similarity map on the input grid. Evidence:
    the gap between the sum and the logit of the same run, and between each highest similarity and its map's maximum.
    """

    name: ClassVar[str] = "prototypes"
    title: ClassVar[str] = "Typical examples"
    tier: ClassVar[Tier] = "T1"
    kind: ClassVar[Kind] = "case-based"
    unit: ClassVar[str] = "similarity"
    signed: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multi-label", "regression")
    Parameters: ClassVar[type[MethodParameters]] = PrototypesParameters

    def why_not(self, model: Model) -> WhyRayError | None:
        """A ProtoPNet-form graph, and a head that is a weighted sum of similarities."""
        if model.manifest.prototypes is None:
            return ArtefactMissing(
                f"prototypes needs a package that answers by prototypes, and {model.identity} names none",
                advice="Take a ProtoPNet-form package and name its tensors under prototypes in model.yaml.",
            )
        try:
            prototype_head(model)
            find_artefact(model, PROTOTYPES)
        except WhyRayError as error:
            return error
        return None

    def explain_case(self, case: Case, parameters: PrototypesParameters) -> Sequence[CaseMatches]:
        """One pass with two inner tensors tapped, for all targets."""
        model = case.model
        artefact = find_artefact(model, PROTOTYPES)
        head = prototype_head(model)
        maps, similarities = similarity_maps(model, case.x)
        assert model.manifest.prototypes is not None
        resembles = case.drawn(maps, model.manifest.prototypes.maps)
        return [_of(case, target, head, maps, similarities, resembles, artefact, parameters) for target in case.targets]


def similarity_maps(model: Model, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(P, *grid) and (P,): how similar each place of one image is to each prototype, and the similarities used."""
    spec = model.manifest.prototypes
    assert spec is not None
    inner = model.session.tapped(x, [spec.maps, spec.similarities])
    maps, similarities = inner[spec.maps][0], inner[spec.similarities].reshape(-1)
    if maps.ndim != len(model.spatial_shape) + 1 or len(maps) != len(similarities):
        raise PackageError(
            f"{model.identity}: expected prototypes.maps (N, P, *grid) and prototypes.similarities (N, P), found "
            f"{inner[spec.maps].shape} and {inner[spec.similarities].shape}",
            advice="Name the two tensors of the graph in model.yaml.",
        )
    return maps, similarities


def prototype_head(model: Model) -> PrototypeHead:
    """The head from similarities to logits, measured once; PackageError where it is not a weighted sum of them."""
    return model.once(("prototype head",), lambda: _measured_head(model))


def _measured_head(model: Model) -> PrototypeHead:
    spec = model.manifest.prototypes
    assert spec is not None
    run = model.network.head_from(spec.similarities)
    shape = model.network.graph.shapes.get(spec.similarities)
    if shape is None or len(shape) < 2 or None in shape[1:]:
        raise PackageError(f"{model.identity}: the number of {spec.similarities} is not known", advice=_EXPORT)
    count = int(np.prod([size or 1 for size in shape[1:]]))
    item = tuple(int(size or 1) for size in shape[1:])
    bias = run(np.zeros((1, *item), np.float32)).reshape(-1)
    ones = run(np.eye(count, dtype=np.float32).reshape(count, *item)).reshape(count, -1)
    weight = np.asarray((ones - bias).T, np.float32)
    probes = np.random.default_rng(0).uniform(0, 5, (_SAMPLES, count)).astype(np.float32)
    gap = np.abs(run(probes.reshape(_SAMPLES, *item)).reshape(_SAMPLES, -1) - probes @ weight.T - bias).max()
    if gap > _ADDITIVE * (1 + np.abs(weight).max()):
        raise PackageError(
            f"{model.identity}: the answer is not a weighted sum of {spec.similarities} (off by {gap:.3g})",
            advice="A ProtoPNet-form package ends in one linear layer on the similarities.",
        )
    return PrototypeHead(weight, bias)


def _of(
    case: Case,
    target: int,
    head: PrototypeHead,
    maps: FloatArray,
    similarities: FloatArray,
    resembles: FloatArray,
    artefact: Artefact | None,
    parameters: PrototypesParameters,
) -> CaseMatches:
    model = case.model
    contributions = head.weight[target] * similarities
    total, base = float(case.run.logits[0, target]), float(head.bias[target])
    order = np.argsort(-np.abs(contributions), kind="stable")[: parameters.most]
    if not np.isfinite(contributions).all():
        raise ExplanationError(f"prototypes of {model.targets[target]}: similarities are NaN or infinite")
    highest = maps.reshape(len(maps), -1).max(axis=1)
    return CaseMatches(
        target=model.targets[target],
        method=Prototypes.name,
        parameters={**parameters.model_dump(), **({} if artefact is None else {PROTOTYPES: artefact.short})},
        evidence={
            "sum gap": abs(base + float(contributions.sum(dtype=np.float64)) - total) / (1 + abs(total)),
            "maximum gap": float(np.abs(highest - similarities).max() / (1 + np.abs(similarities).max())),
            "shown share": float(np.abs(contributions[order]).sum() / max(np.abs(contributions).sum(), 1e-12)),
        },
        unit="similarity",
        matches=tuple(
            _match(int(prototype), target, head, similarities, resembles[prototype], artefact, len(similarities))
            for prototype in order
        ),
        reference_count=len(similarities),
        base=base,
        total=total,
        display=case.display,
    )


def _match(
    number: int,
    target: int,
    head: PrototypeHead,
    similarities: FloatArray,
    resembles: FloatArray,
    artefact: Artefact | None,
    count: int,
) -> CaseMatch:
    arrays = {} if artefact is None else artefact.arrays
    if any(len(array) != count for array in arrays.values()):
        assert artefact is not None
        raise PackageError(f"{artefact.path}: expected {count} prototypes", advice="Make it again with the package.")
    known = int(arrays["known"][number, target]) if "known" in arrays else -1
    pictured = "pictures" in arrays
    return CaseMatch(
        label=f"prototype-{number + 1:02}",
        similarity=float(similarities[number]),
        answer=float(arrays["answers"][number, target]) if "answers" in arrays else None,
        known=None if known < 0 else bool(known),
        weight=float(head.weight[target, number]),
        picture=np.asarray(arrays["pictures"][number] / np.float32(255), np.float32) if pictured else None,
        synthetic=pictured and artefact is not None and artefact.facts.synthetic,
        resembles=resembles,
    )


_EXPORT = "Export the graph with a fixed number of prototypes."
