"""The bundled captioner on real radiographs: it writes what cxr-findings answers, as often as its card claims."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from whyray.base.errors import ExplanationError
from whyray.explain import Context, Heatmap, Narrative, PriorExplanation, explain
from whyray.explain.language import claims_in
from whyray.inference import Captioner, Model, RuntimeOptions, load_package
from whyray.quality import assess_typed
from whyray_training.cxr_augment import plain
from whyray_training.cxr_captioner_figures import against, told_in
from whyray_training.cxr_captions import Phrasebook
from whyray_training.cxr_data import FINDINGS, load_small_radiographs

OPTIONS = RuntimeOptions(intra_op_threads=1)
TAKEN = 40


@pytest.fixture(scope="module")
def model() -> Model:
    return load_package("cxr-findings@1", options=OPTIONS)


@pytest.fixture(scope="module")
def captioner(model: Model) -> Captioner:
    return Captioner(model.companion("captioner", method="captioner"))


@pytest.fixture(scope="module")
def radiographs(shared_data: Path) -> list[np.ndarray]:
    """Of patients that the captioner never saw, (1, 1, 224, 224) each."""
    images = load_small_radiographs(shared_data / "nih-cxr-64").images
    rows = np.linspace(3, len(images) - 3, TAKEN).astype(int)
    return list(plain(torch.from_numpy(images[rows]), 224).numpy()[:, None])


def context(target: str) -> Context:
    """A map of the target that is shown beside the words."""
    heatmap = Heatmap(np.ones((224, 224), np.float32), target, "grad-cam", False, "logit")
    return Context(made=(PriorExplanation(heatmap, "green", False),))


def answered(model: Model, image: np.ndarray) -> np.ndarray:
    return model.predict(image)[0] >= np.array([target.threshold for target in model.manifest.targets])


def test_on_patients_that_it_never_saw_it_states_what_its_card_claims(
    model: Model, captioner: Captioner, radiographs: list[np.ndarray]
) -> None:
    book = Phrasebook(FINDINGS)
    captions = [captioner.caption(radiograph[0, 0]).text for radiograph in radiographs]
    truth = np.stack([answered(model, radiograph) for radiograph in radiographs])
    figures = against(told_in(captions, book), truth, seed=0)
    claimed = json.loads((captioner.model.package.folder / "metrics.json").read_text("utf-8"))["others"]
    assert figures["stated"] == 1.0
    assert abs(figures["agreement"]["value"] - claimed["agreement"]["value"]) <= 0.04
    for word in ("present", "absent"):
        for figure in ("precision", "recall"):
            assert figures[word][figure]["value"] >= claimed[word][figure]["value"] - 0.15, (word, figure)
    assert figures["agreement"]["value"] > figures["denying everything"] + 0.03
    assert len(set(captions)) > TAKEN / 2


def test_what_it_writes_is_shown_where_the_answer_bears_it_out_and_withheld_where_it_contradicts(
    model: Model, captioner: Captioner, radiographs: list[np.ndarray]
) -> None:
    """Shown, with its own evaluation passed, where words and answer agree; withheld where they differ."""
    shown = withheld = 0
    for image in radiographs[:12]:
        numbers = {f"answers.{name}.probability": 0.0 for name in model.targets}
        sentences = captioner.caption(image[0, 0]).sentences
        stated = {
            claim.source.split(".")[1]: claim.holds.startswith(">=")
            for sentence in sentences
            for claim in claims_in(sentence, model, captioner.spec, numbers)
        }
        truth = dict(zip(model.targets, answered(model, image), strict=True))
        wrong = [name for name in model.targets if stated[name] != truth[name]]
        right = [name for name in model.targets if stated[name] and truth[name]]
        for name in wrong:
            with pytest.raises(ExplanationError, match="contradicts the model's answer"):
                explain(model, image, target=name, method="captioner", context=context(name))
            withheld += 1
        for name in right[:1]:
            narrative = explain(model, image, target=name, method="captioner", context=context(name))
            assert isinstance(narrative, Narrative)
            card = assess_typed(model, image, narrative, context=context(name))
            assert not card.withheld, card.reasons
            shown += 1
    assert shown
    assert withheld
