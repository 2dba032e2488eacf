"""How well maps point at what readers marked: hits, IoU and AUPRC, beside those of maps that know no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray, FloatArray
from whyray.base.statistics import bootstrap_interval
from whyray.explain import Heatmap, displayed
from whyray.explain.anatomy import LEFT_LUNG, LUNG, RIGHT_LUNG, anatomy_in, missing_anatomy
from whyray.inference import Model
from whyray.packages.localisation_report import (
    AUPRC,
    BRIGHTNESS,
    CENTRE,
    HIT_RATE,
    IOU,
    USUAL_PLACE,
    Figure,
    Lead,
    MapFigures,
    MethodLocalisation,
    TargetHits,
)
from whyray.quality import edge_map

_LUNGS = frozenset({LUNG, RIGHT_LUNG, LEFT_LUNG})
METRICS = (HIT_RATE, IOU, AUPRC)


@dataclass(frozen=True)
class MarkedFinding:
    """One target of one image, and where readers marked it.

    Attributes
    ----------
    patient
        Tells which images belong together; the image's own number where nobody knows.
    image
        Number of the image.
    x
        The image in the layout of the manifest, (1, ...).
    target
        Name of the target.
    truth
        (*spatial), True inside the boxes.
    """

    patient: str
    image: int
    x: FloatArray
    target: str
    truth: BoolArray


@dataclass
class Scores:
    """The three metrics of each marked finding, in order; NaN where there was no map and nothing was counted yet."""

    hit: list[float] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    auprc: list[float] = field(default_factory=list)

    def add(self, values: FloatArray | None, truth: BoolArray, *, signed: bool = False) -> None:
        """One map (*spatial), or None: a map that says nothing."""
        flat = np.zeros(truth.shape, np.float32) if values is None else values
        self.hit.append(0.0 if values is None else pointing(flat, truth))
        self.iou.append(0.0 if values is None else intersection_over_union(flat, truth, signed))
        self.auprc.append(average_precision(flat, truth))

    def of(self, metric: str, rows: Sequence[int]) -> NDArray[np.float64]:
        """The values of one metric for some of the findings."""
        values = {HIT_RATE: self.hit, IOU: self.iou, AUPRC: self.auprc}[metric]
        return np.asarray(values, np.float64)[list(rows)]


def baseline_scores(
    model: Model, findings: Sequence[MarkedFinding], seed: int, progress: Callable[[int], None] = lambda _: None
) -> dict[str, Scores]:
    """What maps that know no model reach: centre, usual place, edges, random, and lung brightness where anatomy can be
    had."""
    rng = np.random.default_rng(seed)
    scores = {name: Scores() for name in (CENTRE, USUAL_PLACE, "edges", "random")}
    places = usual_places(findings)
    with_lungs = missing_anatomy(model, "anatomy") is None and model.task != "segmentation"
    if with_lungs:
        scores[BRIGHTNESS] = Scores()
    for number, finding in enumerate(findings):
        progress(number)
        x, truth = model.network.checked_input(finding.x), finding.truth
        scores[CENTRE].add(centre_map(truth.shape), truth)
        scores[USUAL_PLACE].add(places(finding), truth)
        scores["edges"].add(edge_map(x), truth)
        scores["random"].add(rng.random(truth.shape).astype(np.float32), truth)
        if with_lungs:
            scores[BRIGHTNESS].add(lung_brightness(model, finding.x), truth)
    return scores


def localisation(
    findings: Sequence[MarkedFinding],
    heatmaps: Mapping[int, Heatmap],
    measured: Sequence[int],
    baselines: Mapping[str, Scores],
    seed: int,
    parameters: Mapping[str, Any] | None = None,
) -> MethodLocalisation:
    """What one method's maps reach.

    `heatmaps`: by number of the finding; `measured`: numbers of those that were asked for, one without a map counts
    as missed. `baselines`: scores of all findings. 95 % intervals are by bootstrap over patients.
    """
    rows = list(measured)
    own = Scores()
    for number in range(len(findings)):
        heatmap = heatmaps.get(number)
        own.add(
            None if heatmap is None else heatmap.values,
            findings[number].truth,
            signed=heatmap is not None and heatmap.signed,
        )
    patients = np.array([findings[row].patient for row in rows])
    names = np.array([findings[row].target for row in rows])
    figures = {name: _figures(scores, rows, patients, seed) for name, scores in baselines.items()}
    ahead = {}
    for metric in METRICS:
        best = max(baselines, key=lambda name: float(baselines[name].of(metric, rows).mean()))
        difference = own.of(metric, rows) - baselines[best].of(metric, rows)
        ahead[metric] = Lead(baseline=best, difference=mean_figure(difference, patients, seed))
    hit = own.of(HIT_RATE, rows)
    blind = {name: scores.of(HIT_RATE, rows) for name, scores in baselines.items()}
    return MethodLocalisation(
        hits=int(hit.sum()),
        boxes=len(rows),
        centre_prior_hits=figures[CENTRE].hits,
        usual_place_hits=figures[USUAL_PLACE].hits,
        lung_brightness_hits=figures[BRIGHTNESS].hits if BRIGHTNESS in figures else None,
        refused=sum(row not in heatmaps for row in rows),
        complete=len(rows) == len(findings),
        images=len({findings[row].image for row in rows}),
        patients=len(set(patients.tolist())),
        parameters=dict(parameters or {}),
        maps=_figures(own, rows, patients, seed),
        baselines=figures,
        ahead=ahead,
        targets={
            str(name): TargetHits(
                boxes=int((names == name).sum()),
                hits=int(hit[names == name].sum()),
                centre_prior_hits=int(blind[CENTRE][names == name].sum()),
                usual_place_hits=int(blind[USUAL_PLACE][names == name].sum()),
                lung_brightness_hits=int(blind[BRIGHTNESS][names == name].sum()) if BRIGHTNESS in blind else None,
            )
            for name in sorted(set(names.tolist()))
        },
    )


def pointing(values: FloatArray, truth: BoolArray) -> float:
    """1 where the largest value lies inside what was marked, else 0 (Zhang et al. 2018, without their tolerance).

    Of equal largest values the first counts, but a map that is the same everywhere points nowhere.
    """
    return float(truth.ravel()[int(values.argmax())]) if values.max() > values.min() else 0.0


def average_precision(values: FloatArray, truth: BoolArray) -> float:
    """Area under precision over recall of places ranked by value; equal values share one threshold.

    A map that says nothing reaches the share of places that are marked.
    """
    order = np.argsort(values, axis=None, kind="stable")[::-1]
    ranked = values.ravel()[order]
    shared = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # the last place of each threshold
    marked = np.cumsum(truth.ravel()[order])[shared]
    gained = np.diff(marked, prepend=0) / marked[-1]
    return float((gained * marked / (shared + 1)).sum())


def intersection_over_union(values: FloatArray, truth: BoolArray, signed: bool = False) -> float:
    """Of what was marked and the places above Otsu's threshold (1979); of a signed map only what speaks for counts."""
    from skimage.filters import threshold_otsu

    speaks = np.maximum(values, 0) if signed else values
    if not speaks.max() > speaks.min():
        return 0.0
    region = speaks > threshold_otsu(speaks)
    return float((region & truth).sum() / (region | truth).sum())


def centre_map(shape: tuple[int, ...]) -> FloatArray:
    """1 in the centre, falling to 0 at the corners: where a finding is when nothing is known but the frame."""
    axes = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
    distance = np.sqrt(sum(axis**2 for axis in axes) / len(shape))
    return np.asarray(1 - distance, np.float32)


def usual_places(findings: Sequence[MarkedFinding]) -> Callable[[MarkedFinding], FloatArray]:
    """Gives for a finding (*spatial): how many boxed findings of the same target cover each place in other patients."""
    own: dict[tuple[str, str], FloatArray] = {}
    whole: dict[str, FloatArray] = {}
    for finding in findings:
        mask = finding.truth.astype(np.float32)
        key = finding.target, finding.patient
        own[key] = own[key] + mask if key in own else mask
        whole[finding.target] = whole[finding.target] + mask if finding.target in whole else mask
    return lambda finding: whole[finding.target] - own[finding.target, finding.patient]


def lung_brightness(model: Model, x: FloatArray) -> FloatArray | None:
    """(*spatial): how bright the lungs of an image `x` (in layout) are displayed, 0 elsewhere; None without lungs."""
    lungs = [
        structure.mask
        for structure in anatomy_in(model, x)
        if structure.code is not None and structure.code.value in _LUNGS
    ]
    if not lungs:
        return None
    shown = displayed(model.network.checked_input(x), model.manifest.input)[0]
    return np.where(np.any(lungs, axis=0), shown, 0).astype(np.float32)


def mean_figure(values: NDArray[np.float64], groups: NDArray[Any], seed: int) -> Figure:
    """The mean with its 95 % interval, whole groups drawn with replacement; the same draws for every metric."""
    low, high = bootstrap_interval(lambda rows: float(values[rows].mean()), groups, np.random.default_rng(seed))
    return Figure(value=round(float(values.mean()), 4), low=round(low, 4), high=round(high, 4))


def _figures(scores: Scores, rows: Sequence[int], groups: NDArray[Any], seed: int) -> MapFigures:
    hit, iou, auprc = (mean_figure(scores.of(metric, rows), groups, seed) for metric in METRICS)
    return MapFigures(hits=int(scores.of(HIT_RATE, rows).sum()), hit_rate=hit, iou=iou, auprc=auprc)
