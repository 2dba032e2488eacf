"""The script that trains the chest package: who is in which fold, how probabilities are scaled, and a short run."""

from __future__ import annotations

import numpy as np
import torch
import typer
from typer.testing import CliRunner

from whyray_training import cxr_findings, figures
from whyray_training.cxr_data import load_radiographs, load_small_radiographs, patient_folds
from whyray_training.cxr_student import activation_maps, embeddings, fitted, ridge_regression, unfitted_judge


def app_of(main):
    app = typer.Typer()
    app.command()(main)
    return app


def test_all_images_of_a_patient_are_in_one_fold():
    patients = np.random.default_rng(1).integers(0, 40, 300)
    folds = patient_folds(patients, 5, seed=3)
    assert all(len(set(folds[patients == patient])) == 1 for patient in np.unique(patients))
    assert set(folds) == set(range(5))


def test_no_patient_is_in_both_sets_of_radiographs(shared_data):
    large = load_radiographs(shared_data / "nih-cxr", limit=None)
    small = load_small_radiographs(shared_data / "nih-cxr-64")
    assert not set(large.patients) & set(small.patients)
    assert len(set(large.patients)) == len(large)


def test_platt_scaling_recovers_the_scale_that_made_the_labels():
    random = np.random.default_rng(0)
    logit = random.normal(0, 2, 20000)
    truth = (random.random(20000) < figures.sigmoid(0.7 * logit - 0.5)).astype(float)
    a, b = figures.platt(logit, truth)
    assert abs(a - 0.7) < 0.05
    assert abs(b + 0.5) < 0.05


def test_the_area_under_the_curve_counts_ties_half():
    assert figures.auc(np.array([0.0, 0, 1, 1]), np.array([0.1, 0.4, 0.4, 0.8])) == 0.875
    assert np.isnan(figures.auc(np.zeros(3), np.arange(3.0)))


def test_the_chest_map_of_a_finding_adds_up_to_its_logit():
    random = np.random.default_rng(2)
    frozen = random.normal(1, 3, (40, 304, 14, 14)).astype(np.float16)
    judge = unfitted_judge(frozen)
    pooled = embeddings(judge, frozen[None])
    weights, biases = ridge_regression(pooled, random.normal(0, 1, (40, 14)), ridge=5.0)
    answer = fitted(judge, weights, biases)(torch.from_numpy(frozen[:2]).float())[0].detach().numpy()
    maps = activation_maps(judge, frozen[:2], weights)
    np.testing.assert_allclose(maps.mean(axis=(2, 3)) + biases, answer, atol=1e-3)


def test_the_chest_script_writes_a_package_from_a_few_images(shared_data, tmp_path):
    out = tmp_path / "cxr-findings" / "1.0.0"
    arguments = ["--data", str(shared_data), "--out", str(out), "--copies", "2", "--folds", "2", "--limit", "24"]
    answer = CliRunner().invoke(app_of(cxr_findings.main), [*arguments, "--threads", "1"])
    assert answer.exit_code == 0, answer.output
    assert {path.name for path in out.iterdir()} == {"model.onnx", "model.yaml", "metrics.json", "MODEL_CARD.md"}
