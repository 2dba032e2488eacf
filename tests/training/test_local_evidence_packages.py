"""Packages that answer by local evidence: their maps are their answers taken apart, and boxes teach and judge them."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import typer
from typer.testing import CliRunner

from whyray.packages import BUNDLED, find_package, read_manifest
from whyray_training import cxr_opacity
from whyray_training.cxr_augment import augment_with_marks, plain
from whyray_training.cxr_boxed_data import load_boxed_radiographs
from whyray_training.cxr_data import FINDINGS, patient_folds
from whyray_training.cxr_local_net import (
    FLOOR,
    INPUT_SIZE,
    Anatomy,
    Head,
    bundled_anatomy,
    by_expected_overlap,
    by_probability,
    local_evidence,
    lung_field,
    positions,
)
from whyray_training.cxr_opacity_measure import marked_places, otsu_overlap
from whyray_training.cxr_opacity_truth import OPACITY, SOURCE, opacity_truth

LOCAL = sorted(path.parent for path in BUNDLED.glob("*/*/model.yaml") if read_manifest(path).evidence is not None)


def answers_and_evidence(folder, images):
    """What the packaged graph says, and its inner tensor of evidence, by ONNX Runtime."""
    manifest = read_manifest(folder / "model.yaml")
    graph = onnx.load(folder / "model.onnx")
    graph.graph.output.append(
        onnx.helper.make_tensor_value_info(manifest.evidence.output, onnx.TensorProto.FLOAT, None)
    )
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([manifest.output.name, manifest.evidence.output], {manifest.input.name: images})


@pytest.mark.parametrize("folder", LOCAL, ids=[f"{folder.parent.name}-{folder.name}" for folder in LOCAL])
def test_the_evidence_of_a_packaged_graph_and_its_bias_are_its_logits(folder):
    manifest = read_manifest(folder / "model.yaml")
    images = np.random.default_rng(0).random((2, 1, *manifest.input.shape), np.float32)
    images[1] = np.linspace(0, 1, images[1].size, dtype=np.float32).reshape(images[1].shape)
    logits, evidence = answers_and_evidence(folder, images)
    assert evidence.shape == (2, len(manifest.targets), 28, 28)
    biases = manifest.evidence.biases(len(manifest.targets))
    np.testing.assert_allclose(evidence.sum(axis=(2, 3)) + biases, logits, atol=1e-4)
    assert np.abs(logits[0] - logits[1]).max() > 1e-3


def test_opacities_and_findings_are_answered_by_local_evidence():
    assert {(folder.parent.name, folder.name) for folder in LOCAL} >= {
        ("cxr-opacity", "1.1.0"),
        ("cxr-findings", "2.0.0"),
    }


@pytest.mark.parametrize("name", ["cxr-opacity@1", "cxr-findings@2"])
def test_every_probability_states_the_prevalence_that_it_was_calibrated_at(name):
    folder = find_package(name, ())
    metrics = json.loads((folder / "metrics.json").read_text())
    for target in read_manifest(folder / "model.yaml").targets:
        measured = metrics["findings"][target.name] if "findings" in metrics else metrics
        assert (target.prevalence, list(target.calibration)) == (measured["prevalence"], measured["calibration"])


def test_a_finding_that_was_not_told_from_chance_is_named_as_not_answered():
    folder = find_package("cxr-findings@2", ())
    manifest = read_manifest(folder / "model.yaml")
    answered = {target.name for target in manifest.targets}
    silent = json.loads((folder / "metrics.json").read_text())["not_answered"]
    assert answered | set(silent) == set(FINDINGS)
    assert not answered & set(silent)
    assert silent
    for name in silent:
        assert name in manifest.intended_use
        assert f"| {name} |" in (folder / "MODEL_CARD.md").read_text().partition("Not answered")[2]


@pytest.mark.parametrize("attention", [by_probability, by_expected_overlap])
def test_evidence_outside_the_field_counts_for_nothing_and_the_sum_lies_among_the_places_logits(attention):
    local = torch.full((1, 1, 28, 28), -4.0)
    local[0, 0, 5:9, 5:9], local[0, 0, 20:24, 20:24] = 3.0, 2.0
    field = torch.zeros(1, 1, 28, 28)
    field[..., :14] = 1
    evidence = local_evidence(local, field, attention=attention)
    assert float(evidence[..., 14:].abs().max()) < 1e-4
    assert int(evidence.argmax()) // 28 in range(5, 9)
    assert -4 < float(evidence.sum() + FLOOR) < 3
    more = local.clone()
    more[0, 0, 5:12, 5:12] = 3.0
    assert local_evidence(more, field, attention=attention).sum() > evidence.sum()


def test_attention_is_above_half_where_the_overlap_is_expected_to_be_best():
    row, column = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    for height, width in ((3.0, 3.0), (2.0, 5.0), (1.0, 4.0), (-0.5, 5.0)):
        local = (height - ((row - 9) ** 2 + (column - 18) ** 2) / (2 * width**2)).clamp(-8)[None, None]
        probability = torch.sigmoid(local)
        region = by_expected_overlap(local, torch.ones_like(local)) > 0.5
        cuts = torch.linspace(0.0005, 0.9, 200)
        best = max(expected_dice(probability, probability > cut) for cut in cuts)
        assert expected_dice(probability, region) > 0.9 * best


def expected_dice(probability, region):
    """Of a region and what is there, where places are there independently: to first order."""
    return float(2 * probability[region].sum() / (region.sum() + probability.sum()))


@pytest.mark.parametrize("attention", [by_probability, by_expected_overlap])
def test_a_radiograph_without_lungs_or_without_any_sign_has_an_answer_all_the_same(attention):
    for local, field in ((0.0, 0.0), (-40.0, 1.0), (40.0, 1.0)):
        places = torch.full((1, 1, 28, 28), local)
        answer = local_evidence(places, torch.full_like(places, field), attention=attention).sum() + FLOOR
        assert float(answer) == pytest.approx(local, abs=1e-2)


def test_the_anatomy_inside_the_graph_is_that_of_the_bundled_package():
    pixels = torch.rand(1, 1, INPUT_SIZE, INPUT_SIZE, generator=torch.Generator().manual_seed(1))
    folder = find_package("cxr-anatomy@1", ())
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    halved = torch.nn.functional.avg_pool2d(pixels, 2)
    logits = torch.from_numpy(session.run(["logits"], {"image": halved.numpy()})[0])
    with torch.no_grad():
        inside = Anatomy(bundled_anatomy())(pixels)[0]
    torch.testing.assert_close(inside, torch.nn.functional.avg_pool2d(logits.softmax(dim=1), 4), atol=1e-4, rtol=0)


def test_places_are_told_in_relation_to_the_lungs_wherever_these_lie():
    def anatomy(down, right):
        probabilities = torch.zeros(1, 5, 56, 56)
        probabilities[:, 0] = 1
        for index, left in ((1, 10), (2, 30)):
            probabilities[:, index, 12 + down : 40 + down, left + right : left + 12 + right] = 1
        return probabilities

    one, moved = positions(anatomy(0, 0)), positions(anatomy(8, 4))
    torch.testing.assert_close(one[..., 6:20, 5:21], moved[..., 10:24, 7:23], atol=0.05, rtol=0)
    assert float(lung_field(anatomy(0, 0))[0, 0, 12, 8]) == 1
    assert float(lung_field(anatomy(0, 0))[0, 0, 27, 0]) == 0


def test_a_head_of_chosen_answers_says_of_them_what_the_whole_head_says():
    head = Head(4, 8)
    head.eval()
    features, places = torch.randn(1, 28, 28, 424), torch.randn(1, 11, 28, 28)
    torch.testing.assert_close(head.only([2, 0])(features, places), head(features, places)[:, [2, 0]])


def test_marks_move_with_the_pixels_of_a_disturbed_radiograph():
    images = torch.zeros(6, 512, 512, dtype=torch.uint8)
    images[:, 180:300, 120:220] = 255
    pixels, marks = augment_with_marks(
        images, (images[:, None] > 0).float(), INPUT_SIZE, torch.Generator().manual_seed(3)
    )
    for pixel, mark in zip(pixels[:, 0], marks[:, 0], strict=True):
        bright = pixel > 0.5 * (pixel.min() + pixel.max())
        inside = mark > 0.5
        assert float((bright & inside).sum() / (bright | inside).sum()) > 0.85


def test_overlap_by_otsu_takes_what_stands_out_and_nothing_of_a_flat_map():
    marked = np.zeros((64, 64), bool)
    marked[10:30, 10:30] = True
    assert otsu_overlap(np.where(marked, 2.0, 0.1).astype(np.float32), marked) == 1
    assert otsu_overlap(np.full((64, 64), 0.3, np.float32), marked) == 0


def test_no_patient_of_either_folder_is_in_two_folds_and_every_read_radiograph_has_one_kind(shared_data):
    data = load_boxed_radiographs(shared_data, limit=120)
    folds = patient_folds(data.patients, 5, seed=0)
    assert all(len(set(folds[data.patients == patient])) == 1 for patient in np.unique(data.patients))
    truth = opacity_truth(data)
    assert ((truth.opacity.astype(int) + truth.other + truth.normal + truth.unsure) == 1).all()
    assert all(data.marked(int(row), SOURCE, OPACITY).any() for row in np.flatnonzero(truth.opacity))


def test_the_bundled_opacities_lie_in_the_boxes_that_radiologists_drew(shared_data):
    data = load_boxed_radiographs(shared_data, limit=120)
    rows = np.flatnonzero(opacity_truth(data).opacity)[:16]
    images = plain(torch.from_numpy(data.images[rows]), INPUT_SIZE).numpy()
    evidence = answers_and_evidence(find_package("cxr-opacity@1", ()), images)[1][:, 0]
    hits = [
        marked_places(data, int(row), SOURCE, OPACITY)
        .reshape(28, 16, 28, 16)
        .mean(axis=(1, 3))
        .ravel()[evidence_map.argmax()]
        for row, evidence_map in zip(rows, evidence, strict=True)
    ]
    assert np.mean(np.array(hits) > 0) >= 0.75


def test_the_opacity_script_writes_a_package_from_a_few_images(shared_data, tmp_path):
    out = tmp_path / "cxr-opacity" / "1.1.0"
    arguments = ["--data", str(shared_data), "--out", str(out), "--copies", "1", "--folds", "2", "--limit", "24"]
    app = typer.Typer()
    app.command()(cxr_opacity.main)
    answer = CliRunner().invoke(app, [*arguments, "--threads", "1", "--epochs", "1"])
    assert answer.exit_code == 0, answer.output
    assert {path.name for path in out.iterdir()} == {"model.onnx", "model.yaml", "metrics.json", "MODEL_CARD.md"}
