from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from inference import nets
from whyray.explain.gradients import Gradient
from whyray.inference import RuntimeOptions, load_package
from whyray.onboarding import check_package, onboard

CPU = RuntimeOptions(device="cpu", intra_op_threads=1)


@pytest.mark.parametrize("name", ["dense", "unet-3d"])
def test_the_report_says_tier_time_and_sanity_and_is_believed_afterwards(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "1.0.0"
    shutil.copytree(nets.packed(name), folder)
    images = [nets.image(name, seed).numpy() for seed in range(1, 4)]
    only = ["layer-cam", "input-x-gradient", "rise", "seg-grad-cam", "score-cam"]
    report = onboard(load_package(folder, options=CPU), images, only=only)
    assert report["tier"] == "T2"
    assert report["several items in one pass"]
    assert json.loads((folder / "onboarding" / "report.json").read_text()) == report
    page = (folder / "onboarding" / "report.html").read_text()
    for method in only:
        entry = report["methods"][method]
        assert method in page
        if "refused" not in entry:
            assert (folder / "onboarding" / f"{method}.png").stat().st_size > 100
            assert sum(entry["grades"].values()) + len(entry["refusals"]) == 3
            assert set(entry["sanity"]) >= {"passed", "SSIM of unrelated maps"}
    refused = "refused" in report["methods"]["seg-grad-cam"]
    assert refused == (name == "dense")
    assert load_package(folder).reported_tier == "T2"
    assert check_package(folder) == []


def test_a_method_that_ignores_the_weights_fails_the_sanity_check_and_one_that_uses_them_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whyray.explain import Attribution, occlusion
    from whyray.quality.cells import edge_map

    folder = tmp_path / "dense" / "1.0.0"
    shutil.copytree(nets.packed("dense"), folder)
    images = [nets.image("dense", seed).numpy() for seed in range(1, 5)]
    model = load_package(folder, options=CPU)
    honest = onboard(model, images, only=["input-x-gradient"], this_machine=False)["methods"]["input-x-gradient"][
        "sanity"
    ]
    assert honest["passed"], honest
    monkeypatch.setattr(
        occlusion.Occlusion,
        "attribute",
        lambda self, case, parameters: [Attribution(edge_map(case.x))] * len(case.targets),
    )
    edges = onboard(model, images, only=["occlusion"], this_machine=False)["methods"]["occlusion"]["sanity"]
    assert not edges["passed"], edges


def test_a_method_that_fails_is_told_in_the_report_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: object) -> None:
        raise KeyError("Doe^Jane")

    monkeypatch.setattr(Gradient, "attribute", defect)
    model = load_package(nets.pack(tmp_path, "plain"), options=CPU)
    report = onboard(model, [nets.image("plain").numpy()], only=["grad-cam", "gradient"], this_machine=False)
    assert report["methods"]["gradient"]["refused"].startswith("KeyError in explain/explain.py line ")
    assert report["methods"]["grad-cam"]["grades"]
    assert "Doe" not in model.package.report.read_text()
