"""Heads that answer by local evidence learn from boxes, on features that the tests make up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from whyray_training.cxr_boxed_data import BoxedRadiographs
from whyray_training.cxr_data import FINDINGS
from whyray_training.cxr_local_findings_measure import ANY, EACH, auc_within
from whyray_training.cxr_local_findings_measure import HeldOut as FindingsHeldOut
from whyray_training.cxr_local_findings_measure import measured as findings_measured
from whyray_training.cxr_local_net import CHANNELS, GRID, Head, local_evidence
from whyray_training.cxr_local_views import View
from whyray_training.cxr_opacity import kept_heads
from whyray_training.cxr_opacity_fit import Lesson, Recipe, fitted, local_logits
from whyray_training.cxr_opacity_measure import HeldOut, measured, scaling_and_threshold
from whyray_training.cxr_opacity_truth import opacity_truth
from whyray_training.cxr_parallel_fits import fitted_in_parallel
from whyray_training.cxr_regions import finding_fields

BOX = (64.0, 128.0, 128.0, 128.0)
"""On the 28 x 28 grid: columns 3.5 to 10.5, rows 7 to 14."""


def made_up(kinds: str, folds: int = 2) -> BoxedRadiographs:
    """One of each kind: o opacity with a box, e another disease, n read as normal; unread: h healthy, l Pneumonia."""
    count = len(kinds)
    labels = np.zeros((count, 14))
    labels[[kind in "ol" for kind in kinds], FINDINGS.index("Pneumonia")] = 1
    classes = {"o": "Lung Opacity", "e": "No Lung Opacity / Not Normal", "n": "Normal"}
    images = np.random.default_rng(0).integers(0, 255, (count, 512, 512)).astype(np.uint8)
    return BoxedRadiographs(
        names=np.array([f"{number}.png" for number in range(count)]),
        folders=np.array(["nih-cxr"] * count),
        images=images,
        patients=np.arange(count) // folds,
        labels=labels,
        healthy=np.array([kind in "nh" for kind in kinds]),
        teacher=np.full((count, 14), np.nan),
        rsna=np.array([classes.get(kind, "") for kind in kinds]),
        airspace=np.array([""] * count),
        boxes=tuple({("RSNA", "Lung Opacity"): (BOX,)} if kind == "o" else {} for kind in kinds),
    )


def seen(data: BoxedRadiographs, seed: int) -> View:
    """A view whose first features are high where the box is, among noise."""
    random = torch.Generator().manual_seed(seed)
    features = torch.randn(len(data), GRID, GRID, CHANNELS, generator=random)
    marks = torch.zeros(len(data), 2, GRID, GRID)
    marked = torch.from_numpy(data.rsna == "Lung Opacity")
    marks[marked, 0, 7:14, 4:11] = 1
    features[marked, 7:14, 4:11, :60] += 2
    return View(
        features.half(),
        torch.zeros(len(data), 11, GRID, GRID),
        torch.ones(len(data), 1, GRID, GRID),
        marks,
        {row: row for row in range(len(data))},
    )


QUICK = Recipe(epochs=6, batch=8)


@pytest.fixture(scope="module")
def taught():
    data = made_up("ooooooooeeeennnnhhhhhhhhllll")
    return data, Lesson((seen(data, 0),), (), opacity_truth(data))


def test_a_head_learns_where_opacities_lie_and_its_evidence_is_highest_there(taught):
    data, lesson = taught
    head = fitted(lesson, np.arange(len(data)), QUICK, seed=1)
    fresh = seen(data, 7)
    evidence = local_evidence(*local_logits([head], fresh, np.arange(8)))
    peaks = evidence.reshape(8, -1).argmax(dim=1)
    assert {(int(peak) // GRID in range(7, 14)) and (int(peak) % GRID in range(4, 11)) for peak in peaks} == {True}
    answers = local_evidence(*local_logits([head], fresh, np.arange(len(data)))).sum(dim=(1, 2, 3))
    assert answers[:8].min() > answers[8:24].max()


def test_heads_that_are_fitted_side_by_side_are_those_that_are_fitted_one_by_one(taught):
    data, lesson = taught
    rows = np.arange(len(data))
    quicker = Recipe(epochs=1, batch=8)
    alone = [fitted(lesson, rows, quicker, seed) for seed in (3, 4)]
    together = list(fitted_in_parallel(lambda seed: fitted(lesson, rows, quicker, seed), (3, 4), 2, Head))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one.state_dict(), other.state_dict(), atol=1e-5, rtol=1e-4)


def test_what_readers_said_goes_before_what_labels_say(taught):
    truth = taught[1].truth
    assert truth.opacity.tolist() == [True] * 8 + [False] * 20
    assert truth.other[8:12].all()
    assert truth.normal[12:24].all()
    assert truth.unsure[24:].all()
    assert 0.4 < truth.expected[24] < 0.7
    assert truth.weight[24] < truth.weight[0]


def test_a_map_that_lies_in_the_boxes_is_above_every_simple_map_and_normals_are_not_called():
    data = made_up("o" * 20 + "e" * 10 + "n" * 10 + "h" * 40)
    random = np.random.default_rng(0)
    evidence = np.zeros((80, GRID, GRID), np.float32)
    evidence[:20, 7:14, 4:11] = 0.1
    held_out = HeldOut(
        np.where(np.arange(80) < 20, 2.0, -3.0) + random.normal(0, 0.3, 80),
        evidence,
        np.ones((80, GRID, GRID), np.float32),
        np.arange(80) // 2 % 2,
    )
    figures = measured(data, opacity_truth(data), held_out, seed=0)
    assert figures["auc"]["normal"]["value"] == 1
    assert figures["normals_called"]["value"] <= 0.1
    assert figures["sensitivity"] == 1
    assert figures["maps"]["evidence"]["hits"]["value"] == 1
    assert figures["maps"]["centre"]["auprc_above"]["low"] > 0.3
    assert figures["nih_maps"] == {"images": 0}


def test_a_finding_that_is_not_told_from_chance_is_not_answered_and_few_normals_are_called():
    data = made_up("l" * 60 + "h" * 140)
    random = np.random.default_rng(1)
    labels = data.labels.copy()
    labels[:60, FINDINGS.index("Mass")] = random.integers(0, 2, 60)
    labels[60:, FINDINGS.index("Nodule")] = random.integers(0, 2, 140)
    data = BoxedRadiographs(**{**vars(data), "labels": labels})
    logits = random.normal(0, 1, (200, 14))
    for name in ("Pneumonia", "Mass"):
        logits[:, FINDINGS.index(name)] += 3 * labels[:, FINDINGS.index(name)]
    maps = np.zeros((200, 14, GRID, GRID), np.float32)
    held_out = FindingsHeldOut(logits, maps, maps[:, 0], np.arange(200) // 2 % 5)
    figures = findings_measured(data, held_out, seed=0)
    assert set(figures["answered"]) == {"Pneumonia", "Mass"}
    assert "Nodule" in figures["not_answered"]
    assert figures["normals_called"]["value"] <= ANY + 0.05
    assert all(finding["normals_called"] <= EACH + 0.04 for finding in figures["findings"].values())


def test_who_knows_the_folder_alone_is_not_told_from_chance():
    folders = np.repeat(["nih-cxr", "nih-cxr-boxes"], 100)
    truth = np.concatenate([np.arange(100) % 10 == 0, np.arange(100) % 2 == 0]).astype(float)
    knows_the_folder = np.repeat([0.0, 1.0], 100)
    assert auc_within(truth, knows_the_folder, folders) == 0.5
    assert auc_within(truth, truth, folders) == 1


def test_each_finding_is_looked_for_where_it_can_lie():
    anatomy = torch.zeros(1, 5, 56, 56)
    anatomy[:, 0] = 1
    for index, (top, bottom, left, right) in {1: (10, 40, 8, 22), 2: (10, 40, 34, 48), 3: (28, 42, 22, 36)}.items():
        anatomy[:, index, top:bottom, left:right] = 1
    fields = dict(zip(FINDINGS, finding_fields(anatomy)[0], strict=True))
    assert fields["Effusion"][18, 7] > 0.9
    assert fields["Effusion"][8, 7] < 0.1
    assert fields["Cardiomegaly"][17, 14] > 0.9
    assert fields["Cardiomegaly"][10, 6] < 0.1
    assert fields["Mass"][8, 7] > 0.9
    assert fields["Hernia"][8, 7] < 0.1


def test_kept_heads_come_back_fold_by_fold_and_too_few_are_refused(tmp_path):
    heads = [Head() for _ in range(6)]
    torch.save([head.state_dict() for head in heads], tmp_path / "heads.pt")
    back = kept_heads(tmp_path / "heads.pt", folds=2, seeds=2)
    weights = [[head.reduce.weight for head in of_fold] for of_fold in back]
    assert all(
        torch.equal(weights[fold][number], heads[2 * fold + number].reduce.weight)
        for fold in (0, 1)
        for number in (0, 1)
    )
    with pytest.raises(ValueError, match="6 heads"):
        kept_heads(tmp_path / "heads.pt", folds=5, seeds=2)


def test_scaling_and_threshold_know_only_the_radiographs_that_they_are_given():
    data = made_up("o" * 20 + "n" * 40)
    random = np.random.default_rng(0)
    logits = np.where(np.arange(60) < 20, 2.0, -3.0) + random.normal(0, 1.5, 60)
    among = np.arange(60) % 2 == 0
    maps = np.zeros((60, GRID, GRID), np.float32)
    known = HeldOut(logits, maps, maps, np.zeros(60, int))
    spoilt = HeldOut(np.where(among, logits, 100.0), maps, maps, np.zeros(60, int))
    truth = opacity_truth(data)
    assert scaling_and_threshold(truth, known, among) == scaling_and_threshold(truth, spoilt, among)
    assert scaling_and_threshold(truth, known, among) != scaling_and_threshold(truth, spoilt, ~among)
