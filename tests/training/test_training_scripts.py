"""The scripts that train the packages: who is in which fold, how labels are derived, and a short run of each."""

from __future__ import annotations

import numpy as np
from typer.testing import CliRunner

from whyray.training import cxr_findings, figures, head_ct_tissue
from whyray.training.cxr_data import load_radiographs, load_small_radiographs, patient_folds
from whyray.training.head_ct_data import AIR
from whyray.training.head_ct_labels import BACKGROUND, BONE, INTRACRANIAL, SOFT_TISSUE, derive_labels


def app_of(main):
    import typer

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


def test_labels_tell_the_brain_from_the_scalp_and_the_table_from_the_head():
    down, across = np.mgrid[-80:80, -80:80].astype(float)
    radius = np.hypot(down, across)
    one = np.full(radius.shape, AIR, np.float32)
    one[radius < 65] = 40
    one[radius < 58] = 900
    one[radius < 52] = 35
    one[(np.abs(down - 74) < 1) & (np.abs(across) < 70)] = 200
    labels = derive_labels(np.repeat(one[None], 6, axis=0), pixel=1.0, distance=5.0)[3]
    assert labels[80, 80] == INTRACRANIAL
    assert labels[80, 80 + 55] == BONE
    assert labels[80, 80 + 62] == SOFT_TISSUE
    assert labels[80 + 74, 80] == BACKGROUND


def test_platt_scaling_recovers_the_scale_that_made_the_labels():
    random = np.random.default_rng(0)
    logit = random.normal(0, 2, 20000)
    truth = (random.random(20000) < figures.sigmoid(0.7 * logit - 0.5)).astype(float)
    a, b = figures.platt(logit, truth)
    assert abs(a - 0.7) < 0.05
    assert abs(b + 0.5) < 0.05


def test_the_chest_script_writes_a_package_from_a_few_images(shared_data, tmp_path):
    out = tmp_path / "cxr-findings" / "1.0.0"
    arguments = ["--data", str(shared_data), "--out", str(out), "--epochs", "1", "--folds", "2", "--limit", "24"]
    answer = CliRunner().invoke(app_of(cxr_findings.main), [*arguments, "--threads", "1"])
    assert answer.exit_code == 0, answer.output
    assert {path.name for path in out.iterdir()} == {"model.onnx", "model.yaml", "metrics.json", "MODEL_CARD.md"}


def test_the_head_script_writes_a_package_from_a_few_steps(shared_data, tmp_path):
    out = tmp_path / "head-ct-tissue" / "1.0.0"
    arguments = ["--data", str(shared_data), "--out", str(out), "--steps", "2", "--phantoms", "1", "--threads", "1"]
    answer = CliRunner().invoke(app_of(head_ct_tissue.main), arguments)
    assert answer.exit_code == 0, answer.output
    assert {path.name for path in out.iterdir()} == {"model.onnx", "model.yaml", "metrics.json", "MODEL_CARD.md"}
