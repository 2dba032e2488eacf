"""The scripts that make the concept package and the concepts of the chest package, on a few images."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import typer
from typer.testing import CliRunner

from whyray.explain import method_named, why_not
from whyray.explain.concepts import find_bank
from whyray.inference import RuntimeOptions, load_package
from whyray.packages import BUNDLED
from whyray_training import cxr_concepts, cxr_concepts_package
from whyray_training.cxr_concepts_head import ConceptRecipe, fit, fit_each, permuted_goals
from whyray_training.cxr_data import Radiographs
from whyray_training.cxr_goals import goals
from whyray_training.cxr_student import wanted

OPTIONS = RuntimeOptions(device="cpu", intra_op_threads=1)


def _planted(count: int = 160, width: int = 30) -> tuple[Radiographs, np.ndarray]:
    """Embeddings whose first 14 dimensions are the findings' logits; other dimensions mean nothing."""
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(2, count, width))
    seen[1] = seen[0] + rng.normal(0, 0.1, (count, width))
    labels = (seen[0, :, :14] > 1.5).astype(float)
    images = np.zeros((count, 2, 2), np.uint8)
    return Radiographs(images, labels, 2 * seen[0, :, :14] - 3, np.arange(count)), seen


def test_the_head_answers_from_its_concepts_alone_without_negative_weights() -> None:
    data, seen = _planted()
    fitted = fit(data, seen, ConceptRecipe(), seed=0)
    assert (fitted.head_weights >= 0).all()
    concepts = fitted.concepts(seen[0])
    np.testing.assert_allclose(fitted.answers(seen[0]), concepts @ fitted.head_weights + fitted.head_bias)
    for number in range(14):
        assert np.corrcoef(concepts[:, number], seen[0, :, number])[0, 1] > 0.8


def test_several_goals_at_once_give_what_each_gives_alone() -> None:
    data, seen = _planted()
    right, random = wanted(goals(data)), permuted_goals(data, np.random.default_rng(1))
    first, second = fit_each(data, seen, ConceptRecipe(), 0, [right, random])
    alone = fit(data, seen, ConceptRecipe(), 0)
    np.testing.assert_allclose(first.answers(seen[0]), alone.answers(seen[0]), atol=1e-6)
    assert np.abs(second.answers(seen[0]) - alone.answers(seen[0])).max() > 0.1


def _run(main: object, *arguments: object) -> None:
    app = typer.Typer()
    app.command()(main)  # type: ignore[type-var]
    answer = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert answer.exit_code == 0, answer.output


def test_the_script_of_the_concept_package_writes_one_from_a_few_images(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "cxr-abnormal" / "1.0.0"
    _run(
        cxr_concepts_package.main,
        *(
            "--data",
            shared_data,
            "--out",
            out,
            "--copies",
            1,
            "--folds",
            2,
            "--inner-folds",
            2,
            "--limit",
            12,
            "--threads",
            1,
        ),
    )
    files = {path.name for path in out.iterdir()}
    assert files == {"model.onnx", "model.yaml", "metrics.json", "MODEL_CARD.md", "concepts.npz"}
    model = load_package(out, options=OPTIONS)
    assert why_not(method_named("concept-bottleneck"), model) is None


def test_the_script_of_the_concepts_writes_them_from_a_few_images(shared_data: Path, tmp_path: Path) -> None:
    package = tmp_path / "cxr-findings" / "1.0.0"
    shutil.copytree(BUNDLED / "cxr-findings" / "1.0.0", package, ignore=shutil.ignore_patterns("onboarding"))
    _run(
        cxr_concepts.main,
        *("--data", shared_data, "--package", package, "--limit", 40, "--threads", 1, "--day", "2026-01-02"),
    )
    model = load_package(package, options=OPTIONS)
    bank = find_bank(model)
    assert bank is not None
    assert bank.count == 80
    assert why_not(method_named("tcav"), model) is None
