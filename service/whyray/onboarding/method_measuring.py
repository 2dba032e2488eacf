"""What one method gives of a package: its maps, their cost and grades, and whether they depend on the weights."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from whyray.explain import (
    NORMAL_CONTRAST,
    NORMAL_MAPS,
    Heatmap,
    Method,
    explained_image,
    heatmaps,
    why_not,
)
from whyray.explain.refusal import ends_all, refusal_of
from whyray.inference import Model
from whyray.onboarding.compared_maps import ComparedMaps
from whyray.onboarding.marked_findings import MarkedFindings
from whyray.onboarding.onboarding_page import picture
from whyray.onboarding.questions import Question
from whyray.onboarding.randomisation_check import randomisation_check
from whyray.packages import find_artefact
from whyray.packages.randomisation_report import randomised_maps_of
from whyray.quality import Budget, Grade, assess, randomised

QUICK: Mapping[str, Mapping[str, Any]] = {
    "rise": {"masks": 256},
    "lime": {"samples": 256},
    "kernel-shap": {"samples": 256},
    "score-cam": {"channels": 32},
    "smooth-grad": {"samples": 16},
    "extremal-perturbation": {"areas": (0.1, 0.2), "rounds": 5, "population": 24},
    "expected-gradients": {"samples": 32},
}
"""Parameters that bound a method's cost here; the report names them."""
_log = logging.getLogger(__name__)


@dataclass
class _Made:
    """Maps by one method, each with its question, its seconds and its forward passes; their grades; and refusals."""

    questions: list[Question] = field(default_factory=list)
    maps: list[Heatmap] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    forwards: list[int] = field(default_factory=list)
    grades: dict[str, int] = field(default_factory=lambda: {"green": 0, "amber": 0, "red": 0})
    refusals: list[str] = field(default_factory=list)

    @property
    def by_question(self) -> dict[tuple[int, str], Heatmap]:
        """By number of the image and target."""
        pairs = zip(self.questions, self.maps, strict=True)
        return {(question.image, question.target): heatmap for question, heatmap in pairs}


class MethodMeasuring:
    """What all methods of a package are measured with, one after the other.

    `questions`: what each of them explains. `folder` takes a picture of the first map of each, of the image too where
    `keep_images`. `progress` is told in words what is being done.
    """

    def __init__(
        self,
        model: Model,
        questions: Sequence[Question],
        findings: MarkedFindings,
        folder: Path,
        *,
        seed: int,
        keep_images: bool,
        progress: Callable[[str], None],
    ) -> None:
        self._model = model
        self._questions = questions
        self._findings = findings
        self._folder = folder
        self._seed = seed
        self._keep_images = keep_images
        self._progress = progress
        self._compared = ComparedMaps(model)
        # made once for all methods: converting and verifying twins of a large graph takes longer than most maps
        self._changed = tuple(randomised(model, np.random.default_rng(seed)))

    def entry(self, method: Method) -> dict[str, Any]:
        """What the report says of one method. Methods that are made of others' maps come after those."""
        self._progress(method.name)
        about: dict[str, Any] = {"tier": method.tier, "deliverable": method.deliverable}
        refusal = why_not(method, self._model)
        if refusal is not None:
            return {**about, "refused": refusal.message}
        parameters = self._parameters(method)
        made = self._made(method, parameters)
        if not made.maps:
            return {**about, "refused": made.refusals[0]}
        entry = {**about, **self._measured(method, parameters, made)}
        maps = randomised_maps_of(entry)
        if maps is not None and maps.independent:
            self._findings.passed_over.add(method.name)
        return entry

    def agreement(self) -> dict[str, Any]:
        """What the report says of how far the maps of all methods agree; nothing where no two compare."""
        agreed = self._compared.measured(self._seed)
        return {} if agreed is None else {"agreement": agreed}

    def _parameters(self, method: Method) -> dict[str, Any]:
        """Those of the package, bounded; a map that is made of another is made of the one that points best."""
        parameters = {**QUICK.get(method.name, {}), **self._model.manifest.methods.get(method.name, {})}
        if not made_of_another(method) or "of" in parameters:
            return parameters
        known = find_artefact(self._model, NORMAL_MAPS) if method.name == NORMAL_CONTRAST else None
        of = (
            self._findings.best
            if known is None
            else self._findings.best_source(method, [*known.facts.details["methods"]], parameters)
        )
        return parameters if of is None else {**parameters, "of": of}

    def _made(self, method: Method, parameters: Mapping[str, Any]) -> _Made:
        made, model = _Made(), self._model
        for number, question in enumerate(self._questions, start=1):
            self._progress(f"{method.name}: map {number} of {len(self._questions)}")
            image = explained_image(model, question.x)
            before, started = model.session.forwards, time.perf_counter()
            try:
                heatmap = heatmaps(model, image, target=[question.target], method=method.name, **parameters)[0]
                seconds, forwards = time.perf_counter() - started, model.session.forwards - before
                # whether such maps lie right is what is found out here: the card is asked whether they are faithful
                card = assess(model, image, heatmap, budget=Budget(repeats=False), seed=self._seed)
            except Exception as error:  # of this method alone: the others are measured
                if ends_all(error):
                    raise
                made.refusals.append(refusal_of(_log, error, method.name).message)
                continue
            made.questions.append(question)
            made.maps.append(heatmap)
            made.seconds.append(seconds)
            made.forwards.append(forwards)
            made.grades[card.answers.get("model", Grade.RED).value] += 1
        return made

    def _measured(self, method: Method, parameters: Mapping[str, Any], made: _Made) -> dict[str, Any]:
        name, model = method.name, self._model
        self._progress(f"{name}: randomisation check")
        shown = model.network.checked_input(made.questions[0].x) if self._keep_images else None
        (self._folder / f"{name}.png").write_bytes(picture(shown, made.maps[0]))
        located = self._findings.measure(method, parameters, made.by_question)
        if method.kind == "attribution map" and method.deliverable:
            self._compared.add(self._findings.maps if self._findings.by_held_out else made.by_question)
        sanity = randomisation_check(model, name, made.questions, made.maps, self._changed, parameters, self._seed)
        return {
            "parameters": dict(made.maps[0].parameters),
            "seconds": round(float(np.median(made.seconds)), 5),
            "forward passes": int(np.median(made.forwards)),
            "grades": made.grades,
            "refusals": made.refusals,
            "sanity": sanity,
            **({} if located is None else {"localisation": located.model_dump(mode="json")}),
        }


def made_of_another(method: Method) -> bool:
    """Whether the method's maps are made of another method's."""
    return "of" in method.Parameters.model_fields
