"""Makes every requested explanation of one image, evaluates it, and carries it back to the source."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from whyray.base.errors import ArtefactMissing, ConfigError, TierMissing
from whyray.base.failures import activity
from whyray.base.stages import stage
from whyray.explain import (
    Agreement,
    Context,
    ExplainedImage,
    Explanation,
    Heatmap,
    MapPart,
    PriorExplanation,
    Structure,
    TypedExplanation,
    agreement,
    displayed,
    expanded,
    explain,
)
from whyray.explain.anatomy import allowed_in
from whyray.explain.refusal import ends_all, refusal_of
from whyray.imaging import ModelInput, SourceImage, grid_directions, mask_to_source
from whyray.inference import Model
from whyray.jobs.carrying import Beside, Carrier, leaves_a_core
from whyray.jobs.explanation_request import ExplanationRequest, Progress
from whyray.quality import Budget, QualityCard, ScopeCheck, assess, assess_typed
from whyray.results import GradedExplanation, MapInSource, Refusal, StructureInSource

_log = logging.getLogger(__name__)
_OF_ALL_TARGETS = (TierMissing, ArtefactMissing, ConfigError)
"""What a method says before it looks at a target: asking again for each alone would get the same."""


@dataclass
class Explained:
    """All that was said of one image: maps and other explanations by target, and refusals by target and method."""

    maps: dict[str, list[MapInSource]] = field(default_factory=dict)
    typed: dict[str, list[GradedExplanation]] = field(default_factory=dict)
    refused: dict[str, dict[str, Refusal]] = field(default_factory=dict)
    agreement: dict[str, Agreement] = field(default_factory=dict)
    """How far the maps of a target point at the same places, where two or more can be compared."""


def explain_image(
    image: SourceImage,
    picture: ExplainedImage,
    model_input: ModelInput,
    targets: Sequence[str],
    request: ExplanationRequest,
    progress: Progress,
    structures: Sequence[Structure] = (),
    scope: ScopeCheck | None = None,
    beside: Beside | None = None,
) -> Explained:
    """Every requested method for every target; methods that read what others said come after them.

    `beside` is done with each map of a planar image, in another thread, while maps are measured; not at all where the
    passes leave no core.
    """
    ahead = leaves_a_core(picture.model.options)
    with Carrier(image, model_input.grid, beside, ahead=ahead) as carrier:
        work = _Work(image, picture, model_input, tuple(targets), request, progress, carrier, tuple(structures), scope)
        ordered = list(expanded(request.methods, picture.model).items())
        for index, (method, parameters) in enumerate(ordered):
            with activity(f"explaining {', '.join(targets)} with {method}"):
                work.method(method, parameters, 0.1 + 0.9 * index / len(ordered), 0.9 / len(ordered))
        work.compare()
        return work.explained


@dataclass
class _Work:
    image: SourceImage
    picture: ExplainedImage
    model_input: ModelInput
    targets: tuple[str, ...]
    request: ExplanationRequest
    progress: Progress
    carrier: Carrier
    structures: tuple[Structure, ...]
    scope: ScopeCheck | None = None
    explained: Explained = field(default_factory=Explained)
    _prior: list[PriorExplanation] = field(default_factory=list)

    @property
    def model(self) -> Model:
        """The model whose answer is explained."""
        return self.picture.model

    def __post_init__(self) -> None:
        spec = self.model.manifest.input
        self._context = Context(
            structures=self.structures,
            display=displayed(self.picture.x, spec)[0],
            valid=self.model_input.valid,
            language=self.request.language,
            phrases=self.request.phrases,
            directions=grid_directions(self.image),
        )
        usual = Budget.for_model(self.model)
        most = self.request.most_forwards
        self._budget = usual if most is None else replace(usual, forwards=min(usual.forwards, most))

    @property
    def context(self) -> Context:
        """What is known now, with all that was said so far."""
        return replace(self._context, made=tuple(self._prior))

    def method(self, method: str, parameters: Mapping[str, Any], start: float, width: float) -> None:
        """One method for all targets, each explanation evaluated; a refusal or a failure is remembered by name."""

        def share(done: int, total: int, words: str) -> None:
            self.progress(start + width / 2 * done / max(total, 1), words)

        share(0, 1, f"{method}: explaining {', '.join(self.targets)}")
        with stage(method):
            explanations = self._explanations(self.targets, method, parameters, share)
        maps = [explanation for explanation in explanations if isinstance(explanation, Heatmap)]
        self.carrier.begin(maps)
        for number, explanation in enumerate(explanations):
            done = start + width * (0.5 + 0.5 * number / len(explanations))
            self.progress(done, f"{method}: measuring the explanation of {explanation.target}")
            measuring = partial(self._measuring, done)
            try:
                with activity(f"measuring the explanation of {explanation.target}"):
                    if isinstance(explanation, Heatmap):
                        self._map(explanation, maps, measuring)
                    else:
                        self._assess_typed(explanation, measuring)
            except Exception as error:  # of this explanation alone: no defect in one takes the others
                self._refuse([explanation.target], method, error)

    def _measuring(self, done: float, *_: object) -> None:
        """However far a measurement is, the run is where it was."""
        self.progress(done, "measuring")

    def compare(self) -> None:
        """How far the heatmaps of each target that are not withheld point at the same places."""
        for target in self.targets:
            shown = [
                prior.explanation
                for prior in self._prior
                if isinstance(prior.explanation, Heatmap) and prior.explanation.target == target and not prior.withheld
            ]
            figure = agreement(shown)
            if figure is not None:
                self.explained.agreement[target] = figure

    def _explanations(
        self,
        targets: Sequence[str],
        method: str,
        parameters: Mapping[str, Any],
        progress: Callable[[int, int, str], None],
    ) -> list[Explanation]:
        """One shared run for all targets; where one can't be explained, each alone, so that the others are."""
        try:
            return explain(
                self.model,
                self.picture,
                target=list(targets),
                method=method,
                context=self.context,
                progress=progress,
                **parameters,
            )
        except Exception as error:  # of this method alone: whatever a library raises in it, the others are made
            if len(targets) > 1 and not ends_all(error) and not isinstance(error, _OF_ALL_TARGETS):
                return [
                    explanation
                    for one in targets
                    for explanation in self._explanations([one], method, parameters, progress)
                ]
            self._refuse(targets, method, error)
            return []

    def _refuse(self, targets: Sequence[str], method: str, error: Exception) -> None:
        """Remember why there is no explanation of these targets; raises again what ends all of the work."""
        if ends_all(error):
            raise error
        refusal = Refusal.of(refusal_of(_log, error, method))
        for target in targets:
            self.explained.refused.setdefault(target, {})[method] = refusal

    def _map(self, heatmap: Heatmap, others: Sequence[Heatmap], progress: Callable[[int, int, str], None]) -> None:
        with stage("anatomy"):
            allowed = allowed_in(self.model, self.picture, heatmap.target, context=self._context)
        with stage("evaluation"):
            card = assess(
                self.model,
                self.picture,
                heatmap,
                budget=self._budget,
                seed=self.request.seed,
                valid=self.model_input.valid,
                allowed=allowed,
                others=others,
                scope=self.scope,
                context=self.context,
                progress=progress,
            )
        in_source = self._in_source(heatmap, card)
        self._keep(heatmap, card)
        self.explained.maps.setdefault(heatmap.target, []).append(in_source)

    def _assess_typed(self, explanation: TypedExplanation, progress: Callable[[int, int, str], None]) -> None:
        with stage("evaluation"):
            card = assess_typed(
                self.model,
                self.picture,
                explanation,
                context=self.context,
                budget=self._budget,
                seed=self.request.seed,
                scope=self.scope,
                progress=progress,
            )
        typed = GradedExplanation(
            explanation, card, tuple(self._structure(structure) for structure in explanation.structures)
        )
        parts = [
            self._in_source(_as_heatmap(heatmap, explanation), card, part=heatmap.name) for heatmap in explanation.maps
        ]
        self._keep(explanation, card)
        self.explained.typed.setdefault(explanation.target, []).append(typed)
        if parts:
            self.explained.maps.setdefault(explanation.target, []).extend(parts)

    def _keep(self, explanation: Explanation, card: QualityCard) -> None:
        self._prior.append(PriorExplanation(explanation, card.grade.value, card.withheld, card.reasons))

    def _in_source(self, heatmap: Heatmap, card: QualityCard, *, part: str | None = None) -> MapInSource:
        # maps that are part of another explanation are drawn on its page on their own grid
        carried = self.carrier.of(heatmap, seldom=part is not None)
        return MapInSource(
            method=heatmap.method,
            values=carried.values,
            covered=carried.covered,
            region=carried.region,
            region_rule=carried.region_rule,
            signed=heatmap.signed,
            unit=heatmap.unit,
            card=card,
            layer=heatmap.layer,
            parameters=heatmap.parameters,
            part=part,
            on_grid=heatmap.values if self.image.kind == "volume" else heatmap.values[None],
            grid=self.model_input.grid,
            strengths=carried.strengths,
            extremes=carried.extremes,
            checksums=carried.checksums,
        )

    def _structure(self, structure: Structure) -> StructureInSource:
        mask, _ = mask_to_source(structure.mask, self.model_input.grid, self.image)
        return StructureInSource(structure.name, mask, structure.code, structure.laterality)


def _as_heatmap(part: MapPart, of: TypedExplanation) -> Heatmap:
    return Heatmap(part.values, of.target, of.method, part.signed, part.unit, parameters=of.parameters)
