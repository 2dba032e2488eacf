"""How the maps of bundled packages change with the weights, measured anew into the reports that they come with.

The rest of a report takes packages of folds, and hours; this takes minutes: four images a method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from whyray.explain import heatmaps
from whyray.explain.refusal import ends_all
from whyray.inference import Model
from whyray.onboarding import OnboardingImage
from whyray.onboarding.questions import Question, questions_of
from whyray.onboarding.randomisation_check import MOST_IMAGES, randomisation_check
from whyray.packages.report_warnings import LEARNED
from whyray.quality import learned_weights_entry, randomised

_SPARE = 2
"""Images that are explained for each that counts: of some a method gives no map, or one of zeros."""


def with_randomisation(model: Model, report: Mapping[str, Any], images: Sequence[OnboardingImage]) -> dict[str, Any]:
    """The report with `sanity` of each method as this version measures it, and with what is told of the weights.

    `images` are such as the package was onboarded on.
    """
    questions = _one_an_image(questions_of(model, images, _SPARE * MOST_IMAGES))
    changed = tuple(randomised(model, np.random.default_rng(0)))
    methods = {}
    for name, entry in report["methods"].items():
        methods[name] = (
            entry if "refused" in entry else {**entry, "sanity": _check(model, name, entry, questions, changed)}
        )
    return {**report, "methods": methods, LEARNED: learned_weights_entry(model)}


def _one_an_image(questions: Sequence[Question]) -> list[Question]:
    return list({question.image: question for question in reversed(questions)}.values())[::-1]


def _check(
    model: Model,
    name: str,
    entry: Mapping[str, Any],
    questions: Sequence[Question],
    changed: Sequence[tuple[str, Model]],
) -> dict[str, Any]:
    parameters = entry["parameters"]
    explained, maps = [], []
    for question in questions:
        try:
            made = heatmaps(model, question.x, target=[question.target], method=name, **parameters)[0]
        except Exception as error:  # of this image alone, as at onboarding
            if ends_all(error):
                raise
            continue
        explained.append(question)
        maps.append(made)
    if not maps:
        return dict(entry["sanity"])
    return randomisation_check(model, name, explained, maps, changed, parameters, 0)
