"""The script that trains the head-CT package: how labels are derived, what reaches the grid, that a network learns."""

from __future__ import annotations

import numpy as np
import torch
import typer
from rich.progress import Progress
from scipy import ndimage
from typer.testing import CliRunner

from whyray.demo.phantom import Scan
from whyray.packages import Manifest
from whyray_training import head_ct_tissue
from whyray_training.head_ct_card import head_manifest
from whyray_training.head_ct_data import demo_head
from whyray_training.head_ct_labels import BACKGROUND, BONE, CLASSES, SOFT_TISSUE, derive_labels
from whyray_training.head_ct_phantom import AIR
from whyray_training.unet3d import UNet3d


def grid_of_the_package():
    return Manifest.model_validate(head_manifest()).input


def rings(*radii_and_hu):
    down, across = np.mgrid[-80:80, -80:80].astype(float)
    radius = np.hypot(down, across)
    one = np.full(radius.shape, AIR, np.float32)
    for outer, hu in radii_and_hu:
        one[radius < outer] = hu
    one[(np.abs(down - 74) < 1) & (np.abs(across) < 70)] = 200
    return np.repeat(one[None], 6, axis=0)


def test_labels_tell_the_skull_from_what_it_holds_and_the_table_from_the_head():
    labels = derive_labels(rings((65, 40), (58, 900), (52, 35)), pixel=1.0, distance=5.0)[3]
    assert labels[80, 80] == SOFT_TISSUE
    assert labels[80, 80 + 55] == BONE
    assert labels[80, 80 + 62] == SOFT_TISSUE
    assert labels[80 + 74, 80] == BACKGROUND


def test_labels_close_bone_over_its_marrow():
    labels = derive_labels(rings((65, 40), (58, 900), (56, 50), (54, 900), (52, 35)), pixel=1.0, distance=5.0)[3]
    assert labels[80, 80 + 55] == BONE


def test_labels_make_no_tissue_of_the_blur_between_bone_and_air():
    dry_skull = rings((59, -150), (58, 900), (52, -150), (51, AIR))
    assert SOFT_TISSUE not in derive_labels(dry_skull, pixel=1.0, distance=5.0)[3]


def test_image_and_labels_reach_the_grid_together():
    head = demo_head(Scan(slices=16, size=96, spacing=(2.5, 2.5), tilt=12.0, seed=3), grid_of_the_package())
    inside = ndimage.binary_erosion(head.valid, iterations=2)
    bone, background = (inside & (head.labels == number) for number in (BONE, BACKGROUND))
    assert bone.sum() > 1000
    assert np.median(head.hu[bone]) > 300
    assert np.median(head.hu[background]) < -550
    assert (head.hu[inside & (head.labels == SOFT_TISSUE)] > -300).mean() > 0.98


def test_a_network_learns_every_class_of_one_head_in_few_steps():
    torch.set_num_threads(1)
    head = demo_head(Scan(slices=16, size=96, spacing=(2.5, 2.5), seed=3), grid_of_the_package())
    torch.manual_seed(0)
    with Progress(disable=True) as progress:
        network = head_ct_tissue.train(UNet3d(len(CLASSES)), [[head]], 24, 0, progress, "one head")
    measured = head_ct_tissue.measure(network, head, 0)
    assert measured["soft-tissue"]["whole"] > 0.7
    assert measured["bone"]["whole"] > 0.5


def test_the_head_script_writes_a_package_from_a_few_steps(shared_data, tmp_path):
    for name in head_ct_tissue.SERIES:
        (tmp_path / "head-ct" / name).mkdir(parents=True)
        paths = sorted((shared_data / "head-ct" / name).iterdir(), key=lambda path: (len(path.name), path.name))
        for path in paths[8:15]:
            (tmp_path / "head-ct" / name / path.name).symlink_to(path)
    out = tmp_path / "head-ct-tissue" / "1.0.0"
    arguments = ["--data", str(tmp_path), "--out", str(out), "--steps", "2", "--phantoms", "1", "--threads", "1"]
    app = typer.Typer()
    app.command()(head_ct_tissue.main)
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    assert {path.name for path in out.iterdir()} == {"model.onnx", "model.yaml", "metrics.json", "MODEL_CARD.md"}
