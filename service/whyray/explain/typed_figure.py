"""Figures of the explanations that are no heatmap, for notebooks and scripts."""

from __future__ import annotations

import html
from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from whyray.base.errors import ExplanationError
from whyray.explain.anatomy.shares_by_region import RegionShares
from whyray.explain.cases.case_matches import CaseMatches
from whyray.explain.concepts.concept_scores import ConceptScores
from whyray.explain.counterfactual.counterfactual import Counterfactual
from whyray.explain.figure import NOT_EVALUATED, figure_html
from whyray.explain.language.statements import Narrative
from whyray.explain.latent.position import LatentPosition
from whyray.explain.registry import method_title
from whyray.explain.typed import TypedExplanation
from whyray.explain.units.unit_effects import UnitReport

MOST_SHOWN = 12
"""Bars or pictures in one figure; the first are the strongest."""


def typed_figure(explanation: TypedExplanation) -> Figure:
    """What it says as a figure. Raises ExplanationError for what is words alone."""
    figure: Figure = _drawn(explanation)
    figure.suptitle(f"{explanation.target}: {method_title(explanation.method)}")
    return figure


def typed_html(explanation: TypedExplanation) -> str:
    """What a notebook shows: the figure or the words, and that nobody evaluated them."""
    words = f"{explanation.target} by {method_title(explanation.method)}; {NOT_EVALUATED}"
    if isinstance(explanation, Narrative):
        return f"<p>{html.escape(explanation.text)}</p><p><small>{html.escape(words)}</small></p>"
    return figure_html(typed_figure(explanation), words)


@singledispatch
def _drawn(explanation: TypedExplanation) -> Figure:
    raise ExplanationError(
        f"{explanation.method} of {explanation.target} has nothing to draw", advice="Print it: it says it in words."
    )


@_drawn.register
def _(explanation: ConceptScores) -> Figure:
    shown = explanation.concepts[:MOST_SHOWN]
    intervals = [concept.interval or (concept.score, concept.score) for concept in shown]
    ends = [
        (max(0.0, concept.score - low), max(0.0, high - concept.score))
        for concept, (low, high) in zip(shown, intervals, strict=True)
    ]
    names = [concept.name if concept.reliable else f"{concept.name} (unreliable)" for concept in shown]
    return _bars(names, [concept.score for concept in shown], explanation.unit, np.array(ends).T)


@_drawn.register
def _(explanation: RegionShares) -> Figure:
    shown = explanation.regions[:MOST_SHOWN]
    names = [region.structure.name for region in shown]
    return _bars([*names, "outside"], [*(region.share for region in shown), explanation.outside], "share of the whole")


@_drawn.register
def _(explanation: UnitReport) -> Figure:
    shown = explanation.units[:MOST_SHOWN]
    names = [f"{unit.layer} {unit.unit}" + (f" ({unit.concept})" if unit.concept else "") for unit in shown]
    return _bars(names, [unit.contribution for unit in shown], "contribution to the logit")


@_drawn.register
def _(explanation: CaseMatches) -> Figure:
    cases = [*explanation.matches, *explanation.contrasts][:MOST_SHOWN]
    pictured = [case for case in cases if case.picture is not None]
    if not pictured:
        return _bars([case.label for case in cases], [case.similarity for case in cases], explanation.unit)
    titles = [f"{case.label}\n{case.similarity:.3g} {explanation.unit}" for case in pictured]
    pictures: list[NDArray[Any]] = [case.picture for case in pictured if case.picture is not None]
    if explanation.display is not None:
        pictures, titles = [explanation.display, *pictures], ["this image", *titles]
    return _pictures(pictures, titles)


@_drawn.register
def _(explanation: Counterfactual) -> Figure:
    frames, start, end = explanation.frames, explanation.start, explanation.end
    titles = [f"as it is: {explanation.answers[start]:.3g}", f"changed: {explanation.answers[end]:.3g}", "difference"]
    return _pictures([frames[start], frames[end], explanation.difference], titles)


@_drawn.register
def _(explanation: LatentPosition) -> Figure:
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot()
    for value, words in ((1, "with it"), (0, "without"), (-1, "not known")):
        chosen = explanation.references[explanation.known == value]
        if len(chosen):
            axes.scatter(chosen[:, 0], chosen[:, 1], s=8, label=words)
    axes.scatter(*explanation.position, marker="*", s=160, color="black", label="this image")
    axes.set_xlabel(explanation.axes[0])
    axes.set_ylabel(explanation.axes[1])
    axes.legend()
    return figure


def _bars(names: Sequence[str], values: Sequence[float], label: str, ends: NDArray[Any] | None = None) -> Figure:
    figure = Figure(figsize=(6, 1.5 + 0.3 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(range(len(names)), list(values), xerr=ends if ends is not None and ends.size and ends.any() else None)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    return figure


def _pictures(pictures: Sequence[NDArray[Any]], titles: Sequence[str]) -> Figure:
    """Side by side; of a volume the slice in the middle; what is below 0 on a scale with 0 in the middle."""
    figure = Figure(figsize=(3 * len(pictures), 3.6), layout="constrained")
    for axes, picture, title in zip(figure.subplots(1, len(pictures), squeeze=False)[0], pictures, titles, strict=True):
        shown = picture[len(picture) // 2] if picture.ndim == 3 else picture
        top = float(np.abs(shown).max(initial=0.0)) or 1.0
        if shown.min(initial=0.0) < 0:
            axes.imshow(shown, cmap="RdBu_r", vmin=-top, vmax=top)
        else:
            axes.imshow(shown, cmap="gray", vmin=0, vmax=max(1.0, top))
        axes.set_title(title, fontsize="small")
        axes.set_axis_off()
    return figure
