"""Whether the map depends on what it should: on the target, and not on noise, on a pixel's shift or on the seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from whyray.base.arrays import DoubleArray, FloatArray
from whyray.base.errors import ExplanationError, ModelOutputError
from whyray.explain import Case, ExplainedImage, Heatmap, checked_parameters, explainable, heatmaps, method_named
from whyray.explain.refusal import ends_all
from whyray.quality.card import Grade, Measurement
from whyray.quality.similarity import correlation_of_ranks, rank_correlation, ranks, structural_similarity

SAME_MAP = 0.95
STABLE, UNSTABLE = 0.8, 0.5
REPEATED, UNREPEATED = 0.6, 0.3
NOISE = 0.01
AGAIN = 0.05
"""Engines differ by less in single precision; a random method gives the same under the same seed."""
_ARUN = "Arun et al. 2021, utility criteria; thresholds WhyRay's"


def cost_of(heatmap: Heatmap) -> int:
    """About how many forward passes making this map took."""
    return method_named(heatmap.method).cost(checked_parameters(heatmap.method, heatmap.parameters))


def target_swap(case: Case, heatmap: Heatmap, others: Sequence[Heatmap], *, affordable: int) -> Iterator[Measurement]:
    """Rank correlation with the map of the strongest other target: a map that is the same for all explains none.

    Taken from `others` where it is there; else made now, where `affordable` forward passes allow it.
    """
    names = [target for target in explainable(case.image) if target != heatmap.target]
    if not names:
        return
    answer = case.model.answer(case.run.logits)[0].reshape(len(case.model.targets), -1).mean(axis=1)
    rival = max(names, key=lambda name: answer[case.model.target_index(name)])
    known = {other.target: other for other in others if other.method == heatmap.method}
    cost = 0
    if rival not in known:
        cost = cost_of(heatmap)
        if cost > affordable:
            return
        try:
            known[rival] = _of_rival(case, heatmap, rival)
        except Exception as error:  # of the rival's map, which says nothing against this one
            if ends_all(error):
                raise
            return
    alike = _correlation_of_kept(case.image, heatmap.values, known[rival].values)
    yield Measurement(
        "target-swap similarity",
        "sanity",
        alike,
        None,
        Grade.GREEN if alike < SAME_MAP else Grade.AMBER,
        f"green below {SAME_MAP}: the map of {rival} is another one; findings may share a place, so never red",
        "Adebayo et al. 2018, section 3, by target instead of weights; threshold WhyRay's",
        cost,
    )


def _of_rival(case: Case, heatmap: Heatmap, rival: str) -> Heatmap:
    """The rival's map; a planar one is kept with the image, for most of its maps have the same rival."""
    if heatmap.values.ndim > 2:
        return _again(case, heatmap, target=rival)
    parameters = tuple(sorted((name, repr(value)) for name, value in heatmap.parameters.items()))
    made: Heatmap = case.image.once(
        ("rival", rival, heatmap.method, parameters), lambda: _again(case, heatmap, target=rival)
    )
    return made


def _correlation_of_kept(image: ExplainedImage, first: FloatArray, second: FloatArray) -> float:
    """As `rank_correlation`; the ranks of planar maps are kept with the image, for the map of each target is compared
    with the strongest's. Those of a volume would take hundreds of megabytes."""
    if first.ndim > 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return rank_correlation(first, second)

    def ranked(values: FloatArray) -> DoubleArray:
        # the map itself is kept too: as long as it is there, nothing else has its id
        made: tuple[FloatArray, DoubleArray] = image.once(("ranks", id(values)), lambda: (values, ranks(values)))
        return made[1]

    return correlation_of_ranks(ranked(first), ranked(second))


def made_again(case: Case, heatmap: Heatmap, *, affordable: int) -> Measurement:
    """Whether the method, asked again about this image and target, gives this map: one of another image does not.

    Amber where that would take more than `affordable` forward passes, or fails: what nobody made again may be any map.
    """
    cost = cost_of(heatmap)
    if cost > affordable:
        return _not_made_again(cost, affordable, "it would take more forward passes than the card may cost")
    try:
        again = _again(case, heatmap).values
    except Exception as error:  # of the making: it says nothing against the map, and nothing for it
        if ends_all(error):
            raise
        return _not_made_again(cost, affordable, "the method gave no map this time")
    scale = max(float(np.abs(again).max()), 1e-12)
    gap = float(np.abs(again - heatmap.values).max()) / scale if again.shape == heatmap.values.shape else 1.0
    return Measurement(
        "made again",
        "sanity",
        gap,
        0.0,
        Grade.GREEN if gap <= AGAIN else Grade.RED,
        f"largest difference to the map that the method gives now, of its maximum; red above {AGAIN:g}",
        "WhyRay: a map of another image, target or model is none of this one",
        cost,
    )


def _not_made_again(cost: int, affordable: int, because: str) -> Measurement:
    rule = f"amber: forward passes of making the map again; {because}, so that it may be that of another image"
    return Measurement(
        "passes to make it again", "sanity", float(cost), float(max(affordable, 0)), Grade.AMBER, rule, "WhyRay"
    )


def stability(case: Case, heatmap: Heatmap, seed: int, *, affordable: int) -> Iterator[Measurement]:
    """SSIM of the map with that of the image under 1 % noise, and under a shift by one pixel, shifted back.

    The two changed images of a planar one are kept with it, and with them their passes: all of its maps are compared
    on the same. Those of a volume are made anew, for what their passes give may take hundreds of megabytes.
    """
    cost = cost_of(heatmap) + 1
    axes = tuple(range(2, case.x.ndim))
    # what came round by the shift is left out, where anything is left without it
    inside = tuple(
        slice(1, -1) if axis >= len(axes) - 2 and size > 2 else slice(None) for axis, size in enumerate(case.shape)
    )

    def noisy() -> ExplainedImage:
        spread = float(case.x.max() - case.x.min())
        noise = np.random.default_rng(seed).standard_normal(case.x.shape)
        return ExplainedImage(case.model, (case.x + NOISE * spread * noise).astype(np.float32))

    def shifted() -> ExplainedImage:
        return ExplainedImage(case.model, np.roll(case.x, 1, axis=axes[-2:]))

    changes = (("noise", noisy, 0), ("1-pixel shift", shifted, -1))
    for name, change, back in changes:
        if cost > affordable:
            return
        affordable -= cost
        image = case.image.once(("changed", name, seed), change) if len(axes) == 2 else change()
        try:
            again = _again(Case(case.model, image, case.targets), heatmap).values
        except (ExplanationError, ModelOutputError):
            value = 0.0
        else:
            again = np.roll(again, back, axis=(-2, -1)) if back else again
            value = structural_similarity(heatmap.values[inside], again[inside])
        yield Measurement(
            f"stability under {name}",
            "robustness",
            value,
            None,
            Grade.GREEN if value >= STABLE else Grade.AMBER if value >= UNSTABLE else Grade.RED,
            f"SSIM; green from {STABLE}, red below {UNSTABLE}",
            _ARUN,
            cost,
        )


def repeatability(case: Case, heatmap: Heatmap, *, affordable: int) -> Iterator[Measurement]:
    """Dice of the top 10 % under another seed, for stochastic methods; from split halves where the method kept them."""
    from whyray.explain import TOP, top_dice

    if not method_named(heatmap.method).stochastic:
        return
    cost, value, words = 0, heatmap.evidence.get("split_half_dice"), "two halves of its samples"
    if value is None:
        cost, words = cost_of(heatmap), "two seeds"
        if cost > affordable:
            return
        seed = heatmap.parameters.get("seed", 0)
        value = top_dice(heatmap.values, _again(case, heatmap, seed=int(str(seed)) + 1).values)
    yield Measurement(
        "repeatability",
        "robustness",
        value,
        TOP,
        Grade.GREEN if value >= REPEATED else Grade.AMBER if value >= UNREPEATED else Grade.RED,
        f"Dice of the top {TOP:.0%} between {words}; green from {REPEATED}, red below {UNREPEATED}",
        _ARUN,
        cost,
    )


def _again(case: Case, heatmap: Heatmap, *, target: str | None = None, **changes: object) -> Heatmap:
    known = method_named(heatmap.method).Parameters.model_fields
    given = {name: value for name, value in heatmap.parameters.items() if name in known}
    parameters: dict[str, Any] = {**given, **changes}
    names = [target or heatmap.target]
    return heatmaps(case.model, case.image, target=names, method=heatmap.method, context=case.context, **parameters)[0]
