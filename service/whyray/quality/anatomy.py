"""What explanations by anatomy are worth: is there anatomy, do shares add up, do structures count more than chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from whyray.base.arrays import BoolArray, DoubleArray, FloatArray
from whyray.base.errors import ExplanationError
from whyray.explain import (
    Case,
    Counterfactual,
    ExplainedImage,
    Fill,
    Heatmap,
    RegionShares,
    Structure,
    checked_parameters,
    explain,
    filled,
    method_named,
)
from whyray.explain.anatomy import LEAST_INSIDE, attention, map_of, partition, speaks_for
from whyray.quality.answer import answer_against_threshold
from whyray.quality.card import Grade, Measurement, largest_or_nan
from whyray.quality.fidelity import fidelity
from whyray.quality.randomised_maps import maps_without_training
from whyray.quality.record import record_of
from whyray.quality.typed import Question, assesses

SUMS_TO = 1e-3
PARITY_GREEN, PARITY_RED = 1e-3, 1e-2
RANDOM_REGIONS = 19
"""With the structure's own effect a permutation test: one of them may do more, rank 2 of 20, p = 0.1 one-sided. Where
the budget is short there are fewer, at least 5, and none may: p = 1 / 6 then."""
STABLE, UNSTABLE = 0.8, 0.5
SAME_SHARES = 0.98
NOISE = 0.01
SURELY_INSIDE = 0.6
"""With LEAST_INSIDE from the battery: on 49 radiographs with radiologists' boxes, 95 % of the maps made of the boxes
had 0.56 or more, 95 % of smooth random maps 0.43 or less, of edge maps 0.49 or less."""
_BATTERY = "docs/trust.md: maps of radiologists' boxes against maps that know nothing"
AREAS = {
    "3341006": ("right lung", 0.02, 0.35),
    "44029006": ("left lung", 0.02, 0.35),
    "80891009": ("heart", 0.015, 0.25),
    "72410000": ("mediastinum", 0.005, 0.2),
}
"""SNOMED CT code → name, least and largest part of a planar image: the range over 399 radiographs, widened by half."""


@assesses("region-shares", "region-occlusion", "region-shapley")
def regions(explanation: RegionShares, question: Question) -> Iterator[Measurement]:
    """Measurements of an explanation by structures. Costs up to 20 forward passes and two times its own making."""
    case = question.case
    structures = explanation.structures
    yield anatomy_found(structures, case.context.valid)
    yield sums(explanation)
    yield from _promises(explanation)
    spent = 0
    if explanation.method == "region-shares":
        for measurement in _of_its_map(explanation, question):
            spent += measurement.forwards
            yield measurement
        yield from answer_against_threshold(question.case)
        yield record_of(question.model, str(explanation.of), explanation.target)
    for measurement in _against_chance(explanation, question):
        spent += measurement.forwards
        yield measurement
    yield from attended(explanation)
    left = question.budget.forwards - spent
    if question.budget.repeats:
        for measurement in (
            *_stable(explanation, question, left),
            *_of_another_target(explanation, question, left // 2),
        ):
            yield measurement


def anatomy_found(structures: Sequence[Structure], valid: BoolArray | None) -> Measurement:
    """Whether there is anatomy, of believable size and on believable sides; no forward pass.

    Only planar lungs, heart and mediastinum have bounds; of other structures it counts that they are there.
    """
    odd = implausible(structures, valid)
    good = (len(structures) - len(odd)) / len(structures) if structures else 0.0
    if not structures or good == 0:
        grade, rule = Grade.RED, "red: no anatomy found" + (f" that can be ({'; '.join(odd.values())})" if odd else "")
    elif odd:
        grade, rule = Grade.AMBER, f"amber: {'; '.join(odd.values())}"
    else:
        grade, rule = Grade.GREEN, "green: all structures have a size and a side that they can have"
    return Measurement("anatomy found", "engine", good, None, grade, rule, "WhyRay, from 399 radiographs")


def implausible(structures: Sequence[Structure], valid: BoolArray | None) -> dict[str, str]:
    """Structures (by name) that can't be what they are called, and why."""
    if not structures or structures[0].mask.ndim != 2:
        return {}
    size = structures[0].mask.size if valid is None else max(int(valid.sum()), 1)
    by_code: dict[str, list[Structure]] = {}
    for structure in structures:
        if structure.code is not None and structure.code.value in AREAS:
            by_code.setdefault(structure.code.value, []).append(structure)
    whole = {code: np.any([part.mask for part in parts], axis=0) for code, parts in by_code.items()}
    odd: dict[str, str] = {}
    for code, mask in whole.items():
        name, least, most = AREAS[code]
        area = float(mask.sum()) / size
        if not least <= area <= most:
            odd |= {structure.name: f"{name} {area:.1%} of the image" for structure in by_code[code]}
    if "3341006" in whole and "44029006" in whole:
        right, left = (float(ndimage.center_of_mass(whole[code])[1]) for code in ("3341006", "44029006"))
        if right >= left:
            sides = [*by_code["3341006"], *by_code["44029006"]]
            odd |= {side.name: "the right lung lies to the right of the left one" for side in sides}
    return odd


def sums(explanation: RegionShares) -> Measurement:
    """Shares and what lies outside sum to 1; no forward pass."""
    gap = abs(1.0 - explanation.outside - sum(region.share for region in explanation.regions))
    grade = Grade.GREEN if gap <= SUMS_TO else Grade.RED
    rule = f"distance of all shares from 1; green up to {SUMS_TO:g}, else red"
    return Measurement("sum of shares", "engine", gap, 0.0, grade, rule, "WhyRay")


def _promises(explanation: RegionShares) -> Iterator[Measurement]:
    gap = explanation.evidence.get("efficiency_gap")
    if gap is not None:
        grade = Grade.GREEN if gap <= SUMS_TO else Grade.RED
        rule = f"part of f(x) - f(all covered) that is not shared out; green up to {SUMS_TO:g}, else red"
        yield Measurement("efficiency gap", "engine", gap, 0.0, grade, rule, "Shapley 1953, axiom of efficiency")
    parity = explanation.evidence.get("engine_parity")
    if parity is not None:
        grade = Grade.GREEN if parity <= PARITY_GREEN else Grade.AMBER if parity <= PARITY_RED else Grade.RED
        rule = f"batch against the single run; green up to {PARITY_GREEN:g}, red above {PARITY_RED:g}"
        yield Measurement("engine parity", "engine", parity, 0.0, grade, rule, "WhyRay: ONNX Runtime on the same input")
    error = explanation.evidence.get("largest_standard_error")
    if error:
        effects = [abs(region.effect) for region in explanation.regions if region.effect is not None]
        part = error / max([*effects, 1e-9])
        grade = Grade.GREEN if part <= 0.1 else Grade.AMBER
        rule = "largest standard error over the largest effect; green up to 10 %, else amber"
        yield Measurement("sampling error", "robustness", part, 0.0, grade, rule, "Mitchell et al. 2022")


def _of_its_map(explanation: RegionShares, question: Question) -> list[Measurement]:
    """Whether the map that was told depends on the model; deletion and insertion, where nobody measured it before."""
    case = question.case
    heatmap = map_of(case, case.targets[0], str(explanation.of), method=explanation.method)
    dependence = maps_without_training(question.model, heatmap.method, of=heatmap.parameters.get("of"))
    if any(made.explanation is heatmap for made in case.context.made):
        return dependence
    measured, _ = fidelity(case, heatmap, question.budget, question.seed, case.context.valid)
    return [*measured, *dependence]


def _against_chance(explanation: RegionShares, question: Question) -> Iterator[Measurement]:
    """The effect of covering the structure with the largest share, against random regions of its area."""
    case = question.case
    best = max(explanation.regions, key=lambda region: region.share, default=None)
    if best is None:
        return
    image = np.ones(case.shape, bool) if case.context.valid is None else case.context.valid
    masks = dict(
        zip((structure.name for structure in explanation.structures), partition(explanation.structures), strict=True)
    )
    own = masks[best.structure.name] & image
    count = min(RANDOM_REGIONS, max(5, question.budget.forwards // 3))
    fill = cast(Fill, explanation.parameters.get("fill", "mean"))
    rng = question.rng()
    tried = [own, *(random_region(image, int(own.sum()), rng) for _ in range(count))]
    effects = covered_effects(case, tried, fill)
    signed = explanation.method == "region-shares"
    sizes = effects if signed else np.abs(effects)
    more = float((sizes[1:] > sizes[0] + 1e-6 * (1 + abs(float(sizes[0])))).mean())
    good = more <= 0.06 and sizes[0] > sizes[1:].mean()
    grade = Grade.GREEN if good else Grade.AMBER if more < 0.95 or not signed else Grade.RED
    rule = (
        f"covering {best.structure.name} against {count} random regions of its area, of which {more:.0%} do more; "
        "green up to one in nineteen and above their mean, else amber" + (", red from 95 %" if signed else "")
    )
    yield Measurement(
        "effect of the first structure",
        "fidelity",
        float(sizes[0]),
        float(sizes[1:].mean()),
        grade,
        rule,
        "after Hooker et al. 2019: against random removal of as much",
        len(tried),
    )


def random_region(image: BoolArray, voxels: int, rng: np.random.Generator) -> BoolArray:
    """So many voxels of the image where a smooth random field is largest: compact like an organ, anywhere."""
    waves = np.fft.rfftn(rng.standard_normal(image.shape))
    for axis, size in enumerate(image.shape):
        passed = _smoothing(size)[: waves.shape[axis]]
        waves *= passed.reshape([-1 if dimension == axis else 1 for dimension in range(image.ndim)])
    smooth = np.fft.irfftn(waves, s=image.shape, axes=range(image.ndim))
    smooth[~image] = -np.inf
    chosen = np.zeros(image.size, bool)
    chosen[np.argpartition(-smooth.ravel(), min(voxels, image.size - 1))[:voxels]] = True
    return chosen.reshape(image.shape)


@lru_cache(maxsize=8)
def _smoothing(size: int) -> DoubleArray:
    """(size,): what a Gaussian of a tenth of an axis that goes round leaves of each wave along it.

    By waves since so wide a filter takes five times as long place by place.
    """
    start = np.zeros(size)
    start[0] = 1.0
    kernel = ndimage.gaussian_filter1d(start, size / 10, mode="wrap")
    passed = np.array(np.fft.fft(kernel).real, np.float64)
    passed.setflags(write=False)
    return passed


def covered_effects(case: Case, masks: Sequence[BoolArray], fill: Fill) -> NDArray[np.float64]:
    """(masks,): what the score of the case's first target loses when each mask is covered."""
    cover = filled(case.x, fill)[0]

    def images() -> Iterator[FloatArray]:
        for chunk in case.chunks(len(masks)):
            yield np.stack([np.where(mask, cover, case.x[0]) for mask in masks[chunk]])

    scores = np.concatenate(list(case.scores(images(), len(masks))))[:, 0]
    return np.asarray(float(case.score[0]) - scores, np.float64)


def attended(explanation: RegionShares) -> Iterator[Measurement]:
    """Whether what counted lies where the target may be looked for; nothing where no prior bears on it."""
    share = explanation.evidence.get("allowed_share")
    if share is None:
        return
    inside = _inside(share, explanation.evidence["allowed_area"])
    # shares by structure say themselves that the model looked elsewhere: that is what they are for
    yield replace(inside, grade=Grade.AMBER) if inside.grade is Grade.RED else inside


def inside_anatomy(heatmap: Heatmap, allowed: BoolArray | None, valid: BoolArray | None) -> Iterator[Measurement]:
    """How much of a heatmap lies where its target may be looked for; nothing where that is not known.

    A map that was narrowed to anatomy says by its evidence what was taken from it.
    """
    kept, area = heatmap.evidence.get("share_kept"), heatmap.evidence.get("allowed_area")
    if kept is not None and area is not None:
        yield _inside(kept, area)
        return
    weight = speaks_for(heatmap)
    if allowed is None or not weight.any():
        return
    _, facts = attention(weight, allowed, valid)
    yield _inside(facts["allowed_share"], facts["allowed_area"])
    if allowed.ndim == 2:
        yield _strongest_place(weight, allowed, valid)


def changed_inside(explanation: Counterfactual, allowed: BoolArray | None) -> Iterator[Measurement]:
    """How much of what a counterfactual changes lies where its target may be looked for; nothing where that is unknown.

    Amber at worst: that the answer hangs on something outside is what a counterfactual may be there to say.
    """
    weight = np.abs(explanation.difference)
    if allowed is None or not weight.any():
        return
    _, facts = attention(weight, allowed)
    share, area = facts["allowed_share"], facts["allowed_area"]
    sure = max(SURELY_INSIDE, area)
    rule = f"green from {sure:.0%}: below, much is changed where this finding may not be"
    grade = Grade.GREEN if share >= sure else Grade.AMBER
    yield Measurement("change inside anatomy", "anatomy", share, area, grade, rule, "WhyRay")


def _strongest_place(weight: FloatArray, allowed: BoolArray, valid: BoolArray | None) -> Measurement:
    seen = weight if valid is None else np.where(valid, weight, 0)
    top = seen >= (1 - 1e-6) * seen.max()  # coarse maps have plateaus: any place of it may lie inside
    inside = bool(seen.max() > 0 and (top & allowed).any())  # on padding alone there is nothing that could
    rule = "1: the map's strongest place lies where this finding is looked for; red: it does not"
    grade = Grade.GREEN if inside else Grade.RED
    return Measurement("strongest place inside anatomy", "anatomy", float(inside), None, grade, rule, _BATTERY)


def _inside(share: float, area: float) -> Measurement:
    sure, least = largest_or_nan([SURELY_INSIDE, area]), largest_or_nan([LEAST_INSIDE, area])
    grade = Grade.GREEN if share >= sure else Grade.AMBER if share >= least else Grade.RED
    rule = f"green from {sure:.0%}, red below {least:.0%}: looked for where it may not be"
    return Measurement("share inside anatomy", "anatomy", share, area, grade, rule, _BATTERY)


def alike(first: RegionShares, second: RegionShares) -> float:
    """1 minus half the summed differences of shares, what lies outside among them.

    0..1: 1 is the same, 0 shares nothing. A structure that one of the two lacks has a share of 0 there.
    """
    one, two = ({region.structure.name: region.share for region in shares.regions} for shares in (first, second))
    apart = [abs(one.get(name, 0.0) - two.get(name, 0.0)) for name in {*one, *two}]
    # rounded once: a set of names has another order in every process, and the sum is to be the same to the last bit
    return 1 - math.fsum([*apart, abs(first.outside - second.outside)]) / 2


def _stable(explanation: RegionShares, question: Question, affordable: int) -> list[Measurement]:
    case, cost = question.case, _cost(explanation) + 1
    if cost > affordable:
        return []
    spread = float(case.x.max() - case.x.min())
    noisy = (case.x + NOISE * spread * question.rng().standard_normal(case.x.shape)).astype(np.float32)
    try:
        value = alike(explanation, _again(explanation, question, noisy, explanation.target))
    except ExplanationError:
        value = 0.0
    grade = Grade.GREEN if value >= STABLE else Grade.AMBER if value >= UNSTABLE else Grade.RED
    rule = f"shares that stay under 1 % noise, anatomy found anew; green from {STABLE}, red below {UNSTABLE}"
    source = "Arun et al. 2021, utility criteria; thresholds WhyRay's"
    return [Measurement("stability under noise", "robustness", value, None, grade, rule, source, cost)]


def _of_another_target(explanation: RegionShares, question: Question, affordable: int) -> list[Measurement]:
    case, model, cost = question.case, question.model, _cost(explanation)
    names = [target for target in model.explainable_targets if target != explanation.target]
    if not names or model.task == "segmentation" or cost > affordable:
        return []
    answer = model.answer(case.run.logits)[0]
    rival = max(names, key=lambda name: float(answer[model.target_index(name)]))
    try:
        value = alike(explanation, _again(explanation, question, case.x, rival))
    except ExplanationError:
        return []
    grade = Grade.GREEN if value < SAME_SHARES else Grade.AMBER
    rule = f"green below {SAME_SHARES}: {rival} is told otherwise; findings may share a place, so never red"
    return [
        Measurement(
            "target-swap similarity", "sanity", value, None, grade, rule, "Adebayo et al. 2018, by target", cost
        )
    ]


def _again(explanation: RegionShares, question: Question, x: FloatArray, target: str) -> RegionShares:
    """The same explanation of another image or target, with a map of its own."""
    model, case = question.model, question.case
    image = case.image if x is case.x else ExplainedImage(model, x)
    context = case.context if x is case.x else replace(case.context, display=None, made=())
    return cast(
        RegionShares,
        explain(model, image, target=target, method=explanation.method, context=context, **_parameters(explanation)),
    )


def _cost(explanation: RegionShares) -> int:
    return method_named(explanation.method).cost(checked_parameters(explanation.method, _parameters(explanation)))


def _parameters(explanation: RegionShares) -> dict[str, Any]:
    fields = method_named(explanation.method).Parameters.model_fields
    return {name: value for name, value in explanation.parameters.items() if name in fields}
