"""Reports that are given away with a package: honest about what its weights have seen, and about no machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from inference import nets
from whyray.inference import Model, RuntimeOptions, load_package
from whyray.onboarding import OnboardingImage, onboard
from whyray.packages.localisation_report import localisation_in
from whyray.quality import randomised

CPU = RuntimeOptions(device="cpu", intra_op_threads=1, cache=None)


def fresh(tmp_path: Path, name: str = "plain") -> Model:
    folder = tmp_path / name / "1.0.0"
    shutil.copytree(nets.packed(name), folder)
    return load_package(folder, options=CPU)


def boxed(patient: str, seed: int) -> OnboardingImage:
    truth = np.zeros((32, 32), bool)
    truth[2:12, 3 + seed : 13 + seed] = True
    return OnboardingImage(nets.image("plain", seed).numpy(), {"two": truth}, patient=patient)


def forwards_of_a_twin(folder: Path) -> int:
    model = load_package(folder, options=CPU)
    model.gradients.twin("a test")
    return model.session.forwards


def test_gradients_that_a_report_proved_are_not_proven_again_unless_what_proved_them_is_another(tmp_path: Path) -> None:
    model = fresh(tmp_path)
    report = onboard(model, [nets.image("plain").numpy()], only=["gradient"], explained=1, this_machine=False)
    assert [proof["engine"] for proof in report["proofs"]] == ["input gradient"]
    believed = forwards_of_a_twin(model.package.folder)
    report["proofs"][0]["versions"]["torch"] = "another"
    model.package.report.write_text(json.dumps(report))
    assert forwards_of_a_twin(model.package.folder) > believed
    report["proofs"] = "as no version writes them"
    model.package.report.write_text(json.dumps(report))
    assert forwards_of_a_twin(model.package.folder) > believed


def test_where_maps_point_is_told_by_weights_that_had_not_seen_the_patient(tmp_path: Path) -> None:
    model = fresh(tmp_path)
    _, other = next(iter(randomised(model, np.random.default_rng(3))))
    images = [boxed(patient, seed) for seed, patient in enumerate(("a", "b", "seen", "b"))]
    arguments = {"only": ["layer-cam", "eigen-cam"], "explained": 1, "this_machine": False}
    own = onboard(model, images, **arguments)
    report = onboard(model, images, held_out={"a": other, "b": other}, **arguments)
    told = localisation_in(report, model.package)["layer-cam"]
    assert (told.held_out, told.boxes, told.patients) == (True, 3, 2)
    assert "of patients it had not learned from" in told.words
    assert not localisation_in(own, model.package)["layer-cam"].held_out
    again = onboard(load_package(model.package.folder, options=CPU), [images[0], images[1], images[3]], **arguments)
    its = localisation_in(again, model.package)["layer-cam"]
    assert told.baselines == its.baselines
    assert told.maps != its.maps


def test_a_report_that_is_given_away_says_nothing_of_the_machine_that_made_it(tmp_path: Path) -> None:
    report = onboard(fresh(tmp_path), [nets.image("plain").numpy()], only=["layer-cam"], this_machine=False)
    assert not {"batch", "compiled"} & set(report)


def test_dear_maps_are_put_to_a_part_of_the_boxes_and_maps_of_other_maps_cost_what_those_cost(tmp_path: Path) -> None:
    images = [boxed(str(seed), seed) for seed in range(4)]
    report = onboard(
        fresh(tmp_path), images, only=["layer-cam", "gradient"], explained=1, this_machine=False, forwards=4
    )
    boxes = {name: entry["localisation"]["boxes"] for name, entry in report["methods"].items()}
    assert boxes == {"layer-cam": 4, "gradient": 1}


@pytest.mark.parametrize("held_out", [None, {}])
def test_without_a_model_for_any_patient_nothing_is_said_of_where_maps_point(
    tmp_path: Path, held_out: dict[str, Model] | None
) -> None:
    report = onboard(
        fresh(tmp_path), [boxed("a", 0)], only=["layer-cam"], explained=1, this_machine=False, held_out=held_out
    )
    assert ("localisation" in report["methods"]["layer-cam"]) == (held_out is None)
