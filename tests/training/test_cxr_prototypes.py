"""The script that trains the prototype package: prototypes are places of radiographs, and find what was planted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from whyray.inference import Model, load_package
from whyray.packages import read_artefact
from whyray_training import cxr_prototypes, figures
from whyray_training.cxr_activations import GRID
from whyray_training.cxr_data import FINDINGS, Radiographs
from whyray_training.cxr_prototypes_fit import answers_of, fitted, signed_logistic, truth
from whyray_training.cxr_prototypes_net import TARGETS, Recipe, similarity
from whyray_training.cxr_student import embeddings, unfitted_judge
from whyray_training.efficientnet_lite import FEATURES
from whyray_training.reference_index import framed

PLACE = (9, 4)


def planted(count: int, seed: int) -> tuple[Radiographs, np.ndarray]:
    """Activations with channel 7 lit at one place where there is an effusion; a teacher that knows."""
    random = np.random.default_rng(seed)
    labels = np.zeros((count, len(FINDINGS)))
    labels[: count // 3, FINDINGS.index("Effusion")] = 1
    labels[count // 3 : count // 2, FINDINGS.index("Cardiomegaly")] = 1
    frozen = random.normal(0, 1, (count, FEATURES, GRID, GRID)).astype(np.float16)
    row, column = PLACE
    frozen[: count // 3, 7, row - 2 : row + 3, column - 2 : column + 3] += 8
    teacher = np.where(labels > 0, 2.0, -2.0) + random.normal(0, 0.2, labels.shape)
    images = np.zeros((count, 8, 8), np.uint8)
    return Radiographs(images, labels, teacher, np.arange(count)), frozen[None]


@pytest.fixture(scope="module")
def fit_and_data():
    torch.set_num_threads(1)
    data, frozen = planted(60, seed=0)
    judge = unfitted_judge(frozen[0])
    return fitted(data, frozen, embeddings(judge, frozen), judge, Recipe(candidates=20), seed=0), data


def test_prototypes_are_places_of_radiographs_that_have_what_they_speak_for(fit_and_data):
    fit, data = fit_and_data
    labels = truth(data)
    per_target = Recipe().per_target
    for number, image in enumerate(fit.images):
        target, within = divmod(number, per_target)
        assert labels[image, target] == (within < Recipe().presence)
    weights = fit.net.last.weight.detach().numpy()
    for target in range(len(TARGETS)):
        own = weights[target, target * per_target : (target + 1) * per_target]
        assert (own[: Recipe().presence] >= 0).all()
        assert (own[Recipe().presence :] <= 0).all()
        assert np.count_nonzero(np.delete(weights[target], slice(target * per_target, (target + 1) * per_target))) == 0


def test_what_was_planted_is_found_on_images_that_were_not_fitted_on(fit_and_data):
    fit, _ = fit_and_data
    data, frozen = planted(60, seed=1)
    effusion = TARGETS.index("Effusion")
    assert figures.auc(truth(data)[:, effusion], answers_of(fit.net, frozen[0])[:, effusion]) > 0.9
    per_target = Recipe().per_target
    strongest = effusion * per_target + int(
        fit.net.last.weight[effusion, effusion * per_target :][: Recipe().presence].argmax()
    )
    with torch.no_grad():
        maps = fit.net(torch.from_numpy(frozen[0][:1]).float())[1][0, strongest]
    row, column = divmod(int(maps.argmax()), GRID)
    assert abs(row - PLACE[0]) <= 3
    assert abs(column - PLACE[1]) <= 3


def test_similarity_is_that_of_the_paper_and_largest_for_the_prototype_itself():
    points = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    prototypes = points[0, :, 1, 2][None, :, None, None]
    similarities = similarity(points, prototypes)
    squared = ((points - prototypes[0]) ** 2).mean(dim=1, keepdim=True)
    assert torch.allclose(similarities, torch.log((squared + 1) / (squared + 0.05)), atol=1e-4)
    assert int(similarities[0].argmax()) == 1 * 4 + 2


def test_a_signed_regression_keeps_its_signs_and_sparsity_leaves_little():
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 6))
    want = figures.sigmoid(2 * x[:, 0] - 2 * x[:, 1])
    signs = np.array([1.0, 1, 1, -1, -1, -1])
    weight, _ = signed_logistic(x, want, signs, 0.1, 0.0)
    assert (weight * signs >= 0).all()
    assert weight[0] > 1
    assert weight[1] == 0  # it would have to be negative
    sparse, _ = signed_logistic(x, want, signs, 0.1, 1000.0)
    assert np.count_nonzero(np.abs(sparse) > 1e-6) < np.count_nonzero(np.abs(weight) > 1e-6) + 1
    assert np.abs(sparse).sum() < np.abs(weight).sum()


def test_the_frame_lies_around_the_place():
    drawn = framed(np.zeros((140, 140), np.uint8), np.array([7, 3]))
    rows, columns = np.nonzero(drawn)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (50, 100, 10, 60)


def test_the_script_writes_a_package_that_answers_by_a_sum(shared_data, tmp_path):
    out = tmp_path / "cxr-prototypes" / "1.0.0"
    app = typer.Typer()
    app.command()(cxr_prototypes.main)
    arguments = ["--data", str(shared_data), "--out", str(out), "--folds", "2", "--limit", "60", "--threads", "1"]
    answer = CliRunner().invoke(app, [*arguments, "--no-pictures"])
    assert answer.exit_code == 0, answer.output
    assert {path.name for path in out.iterdir()} == {
        *("model.onnx", "model.yaml", "metrics.json", "MODEL_CARD.md", "prototypes.npz")
    }
    model: Model = load_package(out)
    from whyray.explain import explain

    x = np.random.default_rng(0).random((1, 1, 224, 224), np.float32)
    told = explain(model, x, target="Effusion", method="prototypes", most=50)
    total = told.base + sum(match.weight * match.similarity for match in told.matches)
    assert total == pytest.approx(told.total, abs=1e-3)
    artefact = read_artefact(out / "prototypes.npz")
    assert artefact.arrays["known"].shape == (30, 3)
    assert "pictures" not in artefact.arrays
