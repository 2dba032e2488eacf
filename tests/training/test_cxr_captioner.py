"""The script that trains the captioner: what it learns of planted answers, its figures, and a short run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from whyray.base.arrays import DoubleArray
from whyray.onboarding import check_package
from whyray.packages import BUNDLED
from whyray_training import cxr_captioner
from whyray_training.cxr_captioner import Lessons, Recipe, projection, trained, written
from whyray_training.cxr_captioner_figures import against, each_finding, follow_the_image, told_in
from whyray_training.cxr_captions import Phrasebook
from whyray_training.cxr_data import FINDINGS

WIDTH = 40


def planted(count: int, seed: int) -> tuple[Lessons, tuple[DoubleArray, DoubleArray]]:
    """Random memories, and answers that an affine head gives of them; the head."""
    head = np.random.default_rng(7)
    weights, biases = head.normal(0, 1, (WIDTH, len(FINDINGS))), head.normal(-4, 1, len(FINDINGS))
    memories = np.random.default_rng(seed).normal(3, 1, (1, count, WIDTH))
    return Lessons(memories, (memories - 3) @ weights + biases), (weights, biases - 3 * weights.sum(axis=0))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_the_projection_finds_the_head_that_gave_the_answers() -> None:
    lessons, (weights, biases) = planted(300, seed=0)
    axes, offset = projection(lessons, ridge=1e-9)
    spread = cxr_captioner.PROJECTED / lessons.margins[0].std(axis=0)
    np.testing.assert_allclose(axes, weights * spread, atol=1e-5)
    np.testing.assert_allclose(offset, biases * spread, atol=1e-4)


def test_a_decoder_writes_the_answers_of_images_that_it_was_not_taught() -> None:
    book = Phrasebook(FINDINGS)
    decoder = trained(planted(2000, seed=0)[0], book, Recipe(steps=300, width=32, batch=32, rate=1e-2), seed=0)
    others, _ = planted(100, seed=1)
    answered = others.margins[0] >= 0
    figures = against(told_in(written(decoder, others.memories[0], book), book), answered, seed=0)
    assert figures["stated"] == 1.0
    assert figures["agreement"]["value"] > figures["denying everything"] + 0.08
    assert figures["present"]["recall"]["value"] > 0.5


def test_figures_count_what_is_stated_and_what_is_so() -> None:
    book = Phrasebook(FINDINGS)
    captions = ["there is mass. no nodule.", "signs of mass. without nodule.", "no mass. there is nodule."]
    truth = np.zeros((3, len(FINDINGS)), bool)
    truth[0, FINDINGS.index("Mass")] = truth[2, FINDINGS.index("Mass")] = True
    told = told_in(captions, book)
    figures = against(told, truth, seed=0)
    assert figures["agreement"]["value"] == round(3 / 6, 3)
    assert figures["present"]["precision"]["value"] == round(1 / 3, 3)
    assert figures["present"]["recall"]["value"] == 0.5
    assert figures["absent"]["precision"]["value"] == round(2 / 3, 3)
    mass = each_finding(told, truth, book)["Mass"]
    assert mass == {"answered": 2, "stated": 2, "precision": 0.5, "recall": 0.5, "agreement": round(1 / 3, 3)}
    assert each_finding(told, truth, book)["Hernia"]["precision"] is None


def test_captions_that_an_empty_image_would_get_are_counted() -> None:
    figures = follow_the_image(["a.", "a.", "b."], ["b.", "c."])
    assert figures["different captions"] == 2
    assert figures["unlike that of the image before"] == 0.5
    assert figures["unlike all of empty images"] == round(2 / 3, 3)


def test_the_script_writes_a_package_from_a_few_images(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "cxr-captioner" / "1.0.0"
    app = typer.Typer()
    app.command()(cxr_captioner.main)
    arguments = ["--data", str(shared_data), "--findings", str(BUNDLED / "cxr-findings" / "1.0.0"), "--out", str(out)]
    short = ["--limit", "12", "--folds", "2", "--copies", "1", "--steps", "150", "--threads", "1"]
    answer = CliRunner().invoke(app, [*arguments, *short])
    assert answer.exit_code == 0, answer.output
    assert {path.name for path in out.iterdir()} == {
        "model.onnx",
        "decoder.onnx",
        "vocabulary.txt",
        "model.yaml",
        "metrics.json",
        "MODEL_CARD.md",
    }
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["radiographs"] == metrics["held out"]["images"] == 12
    assert metrics["package"]["same"] >= metrics["package"]["compared"] - 1
    assert [finding for finding in check_package(out) if finding.severity == "error"] == []
