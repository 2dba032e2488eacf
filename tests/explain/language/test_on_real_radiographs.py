"""Narratives of real radiographs, with real maps and cards: claims are derived again, other answers told otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whyray.explain import Context, Heatmap, Narrative, PriorExplanation, explain
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.packages import copy_package, find_package
from whyray.quality import Budget, assess, assess_typed

LANGUAGES = ("en", "de", "fr", "es", "ja")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Without the report that comes along: it withholds all maps of this package by Grad-CAM, of which these tell."""
    folder = copy_package(find_package("cxr-findings@1", ()), tmp_path_factory.mktemp("packages"))
    return load_package(folder, options=RuntimeOptions(intra_op_threads=1))


@pytest.fixture(scope="module")
def radiographs(shared_data: Path) -> list[np.ndarray]:
    files = sorted((shared_data / "nih-cxr" / "images").glob("*.png"))[20:26]
    return [
        np.asarray(Image.open(file).convert("L").resize((224, 224)), np.float32)[None, None] / 255 for file in files
    ]


def made(model: Model, image: np.ndarray, targets: list[str]) -> Context:
    maps = explain(model, image, target=targets, method="grad-cam")
    budget = Budget(forwards=20, repeats=False)
    cards = [
        (heatmap, assess(model, image, heatmap, budget=budget)) for heatmap in maps if isinstance(heatmap, Heatmap)
    ]
    return Context(
        made=tuple(PriorExplanation(heatmap, card.grade.value, card.withheld, card.reasons) for heatmap, card in cards)
    )


def test_all_claims_about_real_radiographs_are_derived_again_in_five_languages(
    model: Model, radiographs: list[np.ndarray]
) -> None:
    told = 0
    for image in radiographs[:3]:
        context = made(model, image, ["Effusion"])
        if context.made[0].withheld:
            continue
        for language in LANGUAGES:
            narrative = explain(model, image, target="Effusion", method="narrative", context=context, language=language)
            assert isinstance(narrative, Narrative)
            card = assess_typed(model, image, narrative, context=context)
            assert not card.withheld, (language, card.reasons)
            told += 1
    assert told


def test_radiographs_on_either_side_of_the_threshold_are_told_otherwise(
    model: Model, radiographs: list[np.ndarray]
) -> None:
    """One finding that some of them reach and some don't; the words about the threshold differ accordingly."""
    answers = np.concatenate([model.predict(radiograph) for radiograph in radiographs])
    thresholds = np.array([target.threshold for target in model.manifest.targets])
    reached = answers >= thresholds
    [target, *_] = np.flatnonzero(reached.any(axis=0) & ~reached.all(axis=0))
    name = model.targets[target]
    for image, above in zip(radiographs, reached[:, target], strict=True):
        heatmap = explain(model, image, target=name, method="grad-cam")
        narrative = explain(
            model,
            image,
            target=name,
            method="narrative",
            context=Context(made=(PriorExplanation(heatmap, "green", False),)),
        )
        assert isinstance(narrative, Narrative)
        assert (", at or above its threshold" in narrative.text) == bool(above)
        assert (", below its threshold" in narrative.text) == (not above)
