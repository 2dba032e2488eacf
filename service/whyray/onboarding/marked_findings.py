"""Maps of every finding that readers marked: made method by method, and put to the boxes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from whyray.base.statistics import evenly_spread
from whyray.explain import Heatmap, Method, checked_parameters, heatmaps, method_named
from whyray.explain.refusal import ends_all, refusal_of
from whyray.inference import Model
from whyray.onboarding.localisation import MarkedFinding, Scores, baseline_scores, localisation
from whyray.packages.localisation_report import FEWEST_BOXES, MethodLocalisation, best_first

MOST_FORWARDS = 30_000
"""Forward passes for the marked findings of one method: where it needs more, it is measured on a part of them."""
_log = logging.getLogger(__name__)


class MarkedFindings:
    """The findings, what baselines reach on them, and what each method reached so far."""

    def __init__(
        self,
        model: Model,
        findings: Sequence[MarkedFinding],
        seed: int,
        progress: Callable[[str], None] = lambda _: None,
        *,
        held_out: Mapping[str, Model] | None = None,
        forwards: int = MOST_FORWARDS,
    ) -> None:
        self._model = model
        self._held_out = held_out
        self._forwards = forwards
        self._findings = tuple(findings)
        self._seed = seed
        self._progress = progress
        self._baselines: dict[str, Scores] = {}
        self.measured: dict[str, MethodLocalisation] = {}
        self.maps: Mapping[tuple[int, str], Heatmap] = {}
        """Maps of the method measured last, by image number and target."""
        self.passed_over: set[str] = set()
        """Methods whose maps don't depend on the weights: nothing is made of them, however well they did."""

        self._just_measured: (
            tuple[str, dict[str, Any], MethodLocalisation, Mapping[tuple[int, str], Heatmap]] | None
        ) = None

    @property
    def by_held_out(self) -> bool:
        """Whether maps are of models that had not seen the patient."""
        return self._held_out is not None

    def __len__(self) -> int:
        return len(self._findings)

    def measure(
        self, method: Method, parameters: Mapping[str, Any], made: Mapping[tuple[int, str], Heatmap]
    ) -> MethodLocalisation | None:
        """What the method's maps reach; None without marked findings.

        `made`: maps of the package by image number and target; those of held-out models are made here.
        """
        if self._just_measured is not None and self._just_measured[:2] == (method.name, dict(parameters)):
            _, _, figures, self.maps = self._just_measured
            self.measured[method.name], self._just_measured = figures, None
            return figures
        self.maps = {}
        if not self._findings:
            return None
        if not self._baselines:
            self._baselines = baseline_scores(self._model, self._findings, self._seed, self._progress_of("baselines"))
        rows = evenly_spread(len(self), max(1, self._forwards // _cost(method, parameters))).tolist()
        progressed, maps = self._progress_of(method.name), {}
        for place, row in enumerate(rows):
            progressed(place)
            finding = self._findings[row]
            own = None if self.by_held_out else made.get((finding.image, finding.target))
            heatmap = own or self._map(finding, method.name, parameters)
            if heatmap is not None:
                maps[row] = heatmap
        if not maps:
            return None
        self.maps = {(self._findings[row].image, self._findings[row].target): heatmap for row, heatmap in maps.items()}
        figures = localisation(self._findings, maps, rows, self._baselines, self._seed, parameters)
        figures = figures.model_copy(update={"held_out": self.by_held_out})
        self.measured[method.name] = figures
        return figures

    @property
    def best(self) -> str | None:
        """The method that did best so far, of those not passed over; None where too few findings are marked to tell."""
        return next((name for name in best_first(self.measured) if name not in self.passed_over), None)

    def best_source(self, method: Method, sources: Sequence[str], parameters: Mapping[str, Any]) -> str | None:
        """The method whose maps `method` is best made of, by hits, then AUPRC; None where too few findings tell."""
        by_source = {}
        sources = [source for source in sources if source not in self.passed_over]
        for source in sources if len(self) >= FEWEST_BOXES else ():
            figures = self.measure(method, {**parameters, "of": source}, {})
            if figures is not None:
                by_source[source] = figures, self.maps
        best = next(iter(best_first({source: figures for source, (figures, _) in by_source.items()})), None)
        self._just_measured = None if best is None else (method.name, {**parameters, "of": best}, *by_source[best])
        return best

    def _map(self, finding: MarkedFinding, method: str, parameters: Mapping[str, Any]) -> Heatmap | None:
        model = self._model if self._held_out is None else self._held_out[finding.patient]
        try:
            return heatmaps(model, finding.x, target=[finding.target], method=method, **parameters)[0]
        except Exception as error:  # of this map alone: it counts as missed
            if ends_all(error):
                raise
            refusal_of(_log, error, method)
            return None

    def _progress_of(self, what: str) -> Callable[[int], None]:
        return lambda number: self._progress(f"{what} against boxes: finding {number + 1} of {len(self)}")


def _cost(method: Method, parameters: Mapping[str, Any]) -> int:
    """Forward passes of one map; of one that is made of another's, those of the other, where it is named."""
    of = parameters.get("of")
    source = method if of is None else method_named(str(of))
    return max(1, source.cost(checked_parameters(source.name, parameters if of is None else {})))
