"""The anatomy package for radiographs: rules on a drawn chest, and the shipped network on real ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom.data
import pytest
import torch

from whyray.explain import ExplainedImage, Structure
from whyray.explain.anatomy import anatomy_in, segmented
from whyray.imaging import read_images, to_model, wrap_picture
from whyray.inference import Model, load_package
from whyray.packages import BUNDLED
from whyray_training import figures
from whyray_training.cxr_anatomy_hand import hand_drawn, outline_mask
from whyray_training.cxr_anatomy_labels import CLASSES, HEART, LEFT_LUNG, RIGHT_LUNG, implausible, label, with_centre
from whyray_training.cxr_anatomy_student import disturbed, mirrored, tidied
from whyray_training.unet2d import UNet2d

PACKAGE = BUNDLED / "cxr-anatomy" / "1.0.0"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_package("cxr-anatomy")


@pytest.fixture(scope="module")
def real_chest() -> np.ndarray:
    """(1, 1, 224, 224): the chest radiograph of pydicom-data, as the service shows it to the package."""
    image = read_images([pydicom.data.get_testdata_file("RG1_UNCR.dcm")]).or_raise()[0]
    return to_model(image, load_package("cxr-anatomy").manifest.input).tensor


def drawn_chest(*, opaque: bool = False) -> np.ndarray:
    """(256, 256) uint8: a bright trunk on black with two dark, soft-edged lungs; one of them white if `opaque`."""
    rows, columns = np.mgrid[0:256, 0:256].astype(float)
    picture = np.where(np.abs(columns - 128) < 112, 190.0, 5.0)
    for middle, width, hidden in ((82, 32, False), (174, 28, opaque)):
        inside = ((columns - middle) / width) ** 2 + ((rows - 120) / 75) ** 2
        depth = 1 / (1 + np.exp((inside - 1) * 8))
        picture -= 0 if hidden else 110 * depth
    noise = np.random.default_rng(0).normal(0, 4, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def test_the_rules_find_two_drawn_lungs_and_what_lies_between_them() -> None:
    labelled = label(drawn_chest())
    rows, columns = np.mgrid[0:128, 0:128].astype(float)
    right = ((columns - 41) / 16) ** 2 + ((rows - 60) / 37.5) ** 2 <= 1
    left = ((columns - 87) / 14) ** 2 + ((rows - 60) / 37.5) ** 2 <= 1
    assert figures.dice(labelled.labels == RIGHT_LUNG, right) > 0.78
    assert figures.dice(labelled.labels == LEFT_LUNG, left) > 0.75
    heart = np.argwhere(labelled.labels == HEART)
    assert 41 < heart[:, 1].mean() < 87
    assert labelled.labels.max() == len(CLASSES) - 1


def test_the_rules_give_no_label_where_a_lung_is_white() -> None:
    assert not label(drawn_chest(opaque=True)).accepted


def test_lungs_on_exchanged_sides_are_implausible() -> None:
    labels = label(drawn_chest()).labels
    exchanged = labels[:, ::-1].copy()
    assert implausible(with_centre(np.where(exchanged <= LEFT_LUNG, exchanged, 0).astype(np.uint8))) != ""


def test_what_disturbs_an_image_moves_its_labels_with_it() -> None:
    picture = drawn_chest()
    labels = label(picture).labels
    images = torch.from_numpy(np.stack([picture] * 16))
    pixels, moved = disturbed(images, torch.from_numpy(np.stack([labels] * 16)), torch.Generator().manual_seed(3))
    assert pixels.shape == (16, 1, 224, 224)
    assert moved.shape == (16, 112, 112)
    halved = torch.nn.functional.avg_pool2d(pixels, 2)[:, 0]
    for image, mask in zip(halved, moved, strict=True):
        lungs, centre = (mask == RIGHT_LUNG) | (mask == LEFT_LUNG), mask == HEART
        assert image[lungs].mean() < image[centre].mean()
        right, left = ((mask == side).nonzero()[:, 1].float().mean() for side in (RIGHT_LUNG, LEFT_LUNG))
        assert right < left, "the right lung is on the left side of the image, mirrored or not"


def test_mirrored_labels_exchange_the_lungs() -> None:
    labels = torch.tensor([[[1, 0, 3, 2]]])
    assert mirrored(labels).tolist() == [[[1, 3, 0, 2]]]


def test_of_each_structure_the_largest_part_is_kept_without_holes() -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[2:9, 2:9] = RIGHT_LUNG
    labels[5, 5] = 0
    labels[15, 15] = RIGHT_LUNG
    tidy = tidied(labels)
    assert tidy[5, 5] == RIGHT_LUNG
    assert tidy[15, 15] == 0


def test_the_network_answers_on_the_grid_of_its_input_whatever_the_window() -> None:
    torch.manual_seed(0)
    network = UNet2d(5).eval()
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        logits, features = network(image)
        darker = network(image * 0.5 + 0.2)[0]
    assert logits.shape == (1, 5, 64, 64)
    assert features.shape == (1, 12, 32, 32)
    torch.testing.assert_close(logits, darker, atol=0.02, rtol=0.02)


def by_name(structures: tuple[Structure, ...]) -> dict[str, np.ndarray]:
    return {structure.name: structure.mask for structure in structures}


def test_the_package_finds_all_structures_on_a_real_radiograph(model: Model, real_chest: np.ndarray) -> None:
    masks = by_name(segmented(ExplainedImage(model, real_chest)))
    assert list(masks) == ["right lung", "left lung", "heart", "mediastinum"]
    centres = {name: np.argwhere(mask).mean(axis=0) for name, mask in masks.items()}
    assert centres["right lung"][1] < centres["heart"][1] < centres["left lung"][1]
    assert centres["mediastinum"][0] < centres["heart"][0]
    assert 0.08 < masks["right lung"].mean() < 0.25
    assert 0.08 < masks["left lung"].mean() < 0.25


def test_a_mirrored_radiograph_has_mirrored_structures(model: Model, real_chest: np.ndarray) -> None:
    straight = by_name(segmented(ExplainedImage(model, real_chest)))
    turned = by_name(segmented(ExplainedImage(model, np.ascontiguousarray(real_chest[..., ::-1]))))
    for name, other in (("right lung", "left lung"), ("left lung", "right lung"), ("heart", "heart")):
        assert figures.dice(turned[name][:, ::-1], straight[other]) > 0.9


def test_a_darker_flatter_and_noisier_radiograph_has_the_same_structures(model: Model, real_chest: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, real_chest.shape)
    other = np.clip(real_chest * 0.6 + 0.1 + noise, 0, 1).astype(np.float32)
    straight, changed = (
        by_name(segmented(ExplainedImage(model, real_chest))),
        by_name(segmented(ExplainedImage(model, other))),
    )
    assert all(figures.dice(changed[name], mask) > 0.9 for name, mask in straight.items())


def test_the_findings_package_sees_the_anatomy_through_its_companion(real_chest: np.ndarray) -> None:
    findings = load_package("cxr-findings@1")
    structures = anatomy_in(findings, real_chest, zones=True)
    assert [structure.name for structure in structures][-2:] == ["heart", "mediastinum"]
    assert len(structures) == 8


def test_on_hand_drawn_radiographs_the_service_reaches_what_the_card_says(model: Model, shared_data: Path) -> None:
    """From the PNG files, through imaging; outlines were drawn before anything about these images was seen."""
    files = {path.name: path for path in (shared_data / "nih-cxr" / "images").glob("*.png")}
    drawn = hand_drawn(list(files))
    assert len(drawn) >= 12
    reported = json.loads((PACKAGE / "metrics.json").read_text())["hand_check"]["shipped"]
    dice: dict[str, list[float]] = {}
    for name, outlines in drawn.items():
        given = to_model(read_images([wrap_picture(files[name])]).or_raise()[0], model.manifest.input)
        masks = by_name(segmented(ExplainedImage(model, given.tensor)))
        for structure, corners in outlines.items():
            dice.setdefault(structure, []).append(figures.dice(outline_mask(corners, (224, 224)), masks[structure]))
    for structure, values in dice.items():
        assert np.mean(values) == pytest.approx(reported[structure]["value"], abs=0.01)
    assert min(np.mean(dice["right lung"]), np.mean(dice["left lung"])) > 0.85
    assert np.mean(dice["heart"]) > 0.8
