"""The smallest set of regions without which a black box answers otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.errors import ExplanationError
from whyray.explain.case import Case
from whyray.explain.companion_grid import displayed
from whyray.explain.counterfactual.answers import answers_about, margins, margins_of, own_answer, threshold
from whyray.explain.counterfactual.counterfactual import Counterfactual
from whyray.explain.counterfactual.inpaint import inpainted
from whyray.explain.counterfactual.search import Search, SearchOutcome
from whyray.explain.fill import filled
from whyray.explain.registry import MethodDefaults, MethodParameters, register
from whyray.explain.segments import superpixels
from whyray.explain.types import Kind, Tier

Labels = NDArray[np.intp]


class RegionCounterfactualParameters(MethodParameters):
    """`regions`: SLIC superpixels (supervoxels), or a regular grid; about `count` of them. `fill`: what a replaced
    region shows: what surrounds it (`inpaint`), or as in the perturbation methods. `forwards`: passes at most."""

    regions: Literal["slic", "grid"] = "slic"
    count: int = Field(64, ge=2, le=1024)
    compactness: float = Field(0.1, gt=0)
    fill: Literal["inpaint", "blur", "mean", "zero"] = "inpaint"
    forwards: int = Field(400, ge=10)
    width: int = Field(8, ge=1)


@register
class RegionCounterfactual(MethodDefaults):
    """The smallest set of regions whose replacement flips the answer (Vermeire et al. 2022, Pattern Analysis and
    Applications 25, SEDC; after Martens and Provost 2014).

    Greedy growth of the set, then pruning until every region is needed, then exhaustive search of smaller sets as far
    as `forwards` allows. What is sure is in the evidence: `irreducible` 1 (no region can be left out) and `certified`
    (all sets with fewer regions than this were tried, none flips; the set is smallest if it has that many). If effects
    add up, greedy growth alone finds the smallest set. An answer above the target's threshold is taken below it, one
    below it above. Frames replace one region after the other, the strongest first. A black box is enough.

    Says what the answer hangs on, not what is wrong there: a replaced region is nothing that a scanner made, and a
    model may react to the filling rather than to what is missing.
    """

    name: ClassVar[str] = "region-counterfactual"
    title: ClassVar[str] = "What if regions were normal"
    tier: ClassVar[Tier] = "T0"
    kind: ClassVar[Kind] = "counterfactual"
    signed: ClassVar[bool] = True
    unit: ClassVar[str] = "display range"
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multi-label", "regression")
    Parameters: ClassVar[type[MethodParameters]] = RegionCounterfactualParameters

    def cost(self, parameters: RegionCounterfactualParameters) -> int:
        """The budget: how much of it is needed depends on the image."""
        return parameters.forwards

    def explain_case(self, case: Case, parameters: RegionCounterfactualParameters) -> Sequence[Counterfactual]:
        """One counterfactual for each target; regions are shared."""
        labels = region_labels(case, parameters.regions, parameters.count, parameters.compactness)
        return [_replaced(case.for_targets([target]), labels, parameters, self.name) for target in case.targets]


def region_labels(case: Case, regions: Literal["slic", "grid"], count: int, compactness: float) -> Labels:
    """(*spatial): 0..n-1 on the regions of the image, -1 on padding."""
    valid = case.context.valid
    raw = superpixels(case.x, count, compactness) if regions == "slic" else _grid(case.shape, count)
    if valid is not None:
        raw = np.where(valid, raw, -1)
    used, compact = np.unique(raw, return_inverse=True)
    labels: Labels = compact.reshape(raw.shape) - int(used[0] == -1)
    if labels.max() < 1:
        raise ExplanationError(
            f"{RegionCounterfactual.name}: the image has {labels.max() + 1} regions, two at least are needed",
            advice="Raise `count`.",
        )
    return labels


def with_regions_replaced(case: Case, labels: Labels, members: BoolArray, fill: str) -> FloatArray:
    """(sets, C, *spatial): the input with the regions of each set (sets, regions) replaced."""
    x = case.x[0]
    holes = np.concatenate([members, np.zeros((len(members), 1), bool)], axis=1)[:, labels]
    if fill == "inpaint":
        return np.stack([inpainted(x, hole) for hole in holes])
    hidden = filled(case.x, fill)  # type: ignore[arg-type]  # the others are Fill's own
    return np.where(holes[:, None], hidden, case.x).astype(np.float32)


def _replaced(case: Case, labels: Labels, parameters: RegionCounterfactualParameters, method: str) -> Counterfactual:
    level, before, margin_before = threshold(case), own_answer(case), float(margins(case, case.run.logits)[0])
    count = int(labels.max()) + 1
    asked = 0

    def ask(members: BoolArray) -> NDArray[np.float64]:
        nonlocal asked
        margin = []
        for chunk in case.chunks(len(members)):
            inputs = with_regions_replaced(case, labels, members[chunk], parameters.fill)
            margin.append(margins_of(case, inputs, total=parameters.forwards, done=asked))
            asked += len(inputs)
        return np.concatenate(margin)

    outcome = Search(
        ask,
        count,
        start=margin_before,
        level=0.0,
        downwards=margin_before >= 0,
        budget=parameters.forwards,
        width=parameters.width,
    ).run()
    return _explanation(case, labels, parameters, method, outcome, (before, level, asked))


def _explanation(
    case: Case,
    labels: Labels,
    parameters: RegionCounterfactualParameters,
    method: str,
    outcome: SearchOutcome,
    numbers: tuple[float, float, int],
) -> Counterfactual:
    before, level, asked = numbers
    count = int(labels.max()) + 1
    steps = np.zeros((len(outcome.order) + 1, count), bool)
    for place, region in enumerate(outcome.order, start=1):
        steps[place:, region] = True
    inputs = with_regions_replaced(case, labels, steps, parameters.fill)
    inputs[0] = case.x[0]
    answers = answers_about(case, inputs)
    frames = displayed(inputs, case.model.manifest.input)
    frames[0] = case.display
    changed = np.isin(labels, outcome.order)
    difference = np.where(changed, frames[-1] - frames[0], 0).astype(np.float32)
    inside = int((labels >= 0).sum())
    return Counterfactual(
        target=case.target_names[0],
        method=method,
        parameters=parameters.model_dump(),
        evidence={
            "regions": float(count),
            "replaced": float(len(outcome.order)),
            "area": float(changed.sum() / inside),
            "irreducible": float(outcome.irreducible),
            "certified": float(outcome.certified),
            "forwards": float(asked),
            "threshold": level,
        },
        frames=frames,
        answers=tuple(float(answer) for answer in answers),
        start=0,
        end=len(outcome.order),
        flipped=outcome.flipped,
        difference=difference,
        answer_before=before,
        changed=changed,
        synthetic=False,
    )


def _grid(shape: tuple[int, ...], count: int) -> Labels:
    """About `count` equal boxes, as many along each axis."""
    along = max(1, round(count ** (1 / len(shape))))
    axes = [np.minimum(np.arange(size) * min(along, size) // size, along - 1) for size in shape]
    return np.asarray(np.ravel_multi_index(np.ix_(*axes), [int(axis[-1]) + 1 for axis in axes]), np.intp)
