from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from onnx.external_data_helper import convert_model_to_external_data

from inference import nets
from whyray.base.errors import NotFound, PackageError
from whyray.inference import load_package
from whyray.onboarding import check_package
from whyray.packages import find_package, kept_digests, list_packages, package_digest, read_package
from whyray.packages.kept_digests import kept_digest
from whyray.packages.package import package_files


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "site" / "plain" / "1.0.0"
    shutil.copytree(nets.packed("plain"), folder)
    return folder


def test_a_manifest_with_an_unknown_key_is_refused_by_file_and_key(package: Path) -> None:
    nets.write_manifest(package, {**nets.manifest("plain"), "colour": "blue"})
    with pytest.raises(PackageError, match=r"model\.yaml: line 1: colour: is not a key"):
        read_package(package)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"targets": [{"name": "one", "calibration": [-1.0, 0.0]}]},
            "calibration of 'one' .* falls as the logit rises",
        ),
        ({"targets": [{"name": "one", "calibration": [0.0, 0.0]}]}, "calibration of 'one' .* same whatever the logit"),
        ({"targets": [{"name": "one", "calibration": [float("nan"), 0.0]}]}, "finite number"),
        ({"targets": [{"name": "one", "threshold": 42}]}, "threshold of 'one' is a probability .* found 42"),
        ({"targets": [{"name": "one", "threshold": 0}]}, "threshold of 'one' is a probability .* found 0"),
        ({"targets": [{"name": "one", "threshold": float("nan")}]}, "finite number"),
        (
            {"task": "regression", "output__activation": "none", "targets": [{"name": "age", "calibration": [1, 0]}]},
            "calibration makes probabilities, and this is a regression",
        ),
        ({"input__intensity": {"window": [40, 80]}}, "intensity.window .* source 'modality', and source is 'voi'"),
        ({"input__intensity": {"source": "modality", "window": [40, -80]}}, "width .* above 0"),
        ({"input__intensity": {"source": "modality", "window": [40, 0]}}, "width .* above 0"),
        ({"input__intensity": {"unit": "HU"}}, "intensity.unit is for source 'modality'"),
        ({"input__intensity": {"source": "modality", "window": [5, 10], "unit": "SUV"}}, "unit 'SUV': write SUVbw"),
        (
            {
                "input__intensity": {"source": "modality", "window": [5, 10], "unit": "SUVbw"},
                "input__modalities": ["CT"],
            },
            "intensity.unit SUVbw is of PT, and modalities are CT",
        ),
        (
            {"input__intensity": {"source": "modality", "window": [5, 10]}, "input__modalities": ["PT"]},
            "name in intensity.unit which",
        ),
        ({"input__intensity": {"std": [float("nan")]}}, "finite number"),
        ({"input__spacing": [1, 1, 1]}, "spacing is of volumes"),
        ({"input__pad_value": -1024}, "pad_value"),
        ({"input__channels": 0}, "channels"),
    ],
)
def test_numbers_that_would_turn_every_answer_in_silence_are_refused(
    package: Path, changes: dict[str, object], problem: str
) -> None:
    nets.write_manifest(package, nets.manifest("plain", **changes))
    with pytest.raises(PackageError, match=problem):
        read_package(package)


@pytest.mark.parametrize("threshold", [0, 1])
def test_a_threshold_that_nothing_reads_is_none_of_them(tmp_path: Path, threshold: float) -> None:
    targets = [{"name": name, "threshold": threshold, "background": name == "rest"} for name in ("rest", "one", "two")]
    folder = nets.pack(tmp_path, "unet", output__activation="softmax", targets=targets)
    assert read_package(folder).manifest.targets[1].threshold == threshold


def test_labels_that_do_not_exclude_each_other_share_no_probability_by_softmax(package: Path) -> None:
    nets.write_manifest(package, nets.manifest("plain", output__activation="softmax"))
    with pytest.raises(PackageError, match=r"of two that are there neither seems likely.* task: classification"):
        read_package(package)
    nets.write_manifest(package, nets.manifest("plain", output__activation="softmax", task="classification"))
    assert read_package(package).manifest.output.activation == "softmax"


def test_a_threshold_of_segments_that_are_not_exclusive_is_one_of_them(tmp_path: Path) -> None:
    targets = [{"name": name, "threshold": 0} for name in ("one", "two", "three")]
    folder = nets.pack(tmp_path, "unet", output__activation="sigmoid", targets=targets)
    with pytest.raises(PackageError, match="threshold of 'one' is a probability"):
        read_package(folder)


def test_a_volume_is_resampled_to_lengths_above_0(tmp_path: Path) -> None:
    folder = nets.pack(tmp_path, "plain-3d", input__spacing=[5, 0, 1])
    with pytest.raises(PackageError, match="spacing"):
        read_package(folder)


def test_a_manifest_that_is_not_yaml_is_refused_with_its_line(package: Path) -> None:
    (package / "model.yaml").write_text("name: [unclosed\ntitle: x")
    with pytest.raises(PackageError, match="line 2"):
        read_package(package)


def test_a_graph_that_is_missing_is_named(package: Path) -> None:
    (package / "model.onnx").unlink()
    with pytest.raises(PackageError, match=r"graph: model\.onnx"):
        read_package(package)


def test_a_graph_that_is_no_graph_is_refused(package: Path) -> None:
    (package / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(PackageError, match="not a readable ONNX graph"):
        load_package(package).predict(nets.image("plain").numpy())


def test_the_digest_changes_with_any_byte_and_any_name_but_not_with_the_report(package: Path) -> None:
    before = package_digest(package)
    (package / "onboarding").mkdir()
    (package / "onboarding" / "report.json").write_text("{}")
    assert package_digest(package) == before
    (package / "MODEL_CARD.md").rename(package / "CARD.md")
    renamed = package_digest(package)
    assert renamed != before
    with (package / "CARD.md").open("a") as file:
        file.write(".")
    assert package_digest(package) not in (before, renamed)


def test_a_file_that_is_written_again_with_its_old_time_and_size_changes_the_digest_that_was_kept(
    package: Path,
) -> None:
    card, files = package / "MODEL_CARD.md", package_files(package)
    later = time.time_ns() + 10_000_000_000
    before = kept_digest(package, files, now=later)
    assert kept_digest(package, files, now=later) == before == package_digest(package)
    state, text = card.stat(), card.read_text()
    card.write_text(text.replace(text[0], "~", 1))
    os.utime(card, ns=(state.st_atime_ns, state.st_mtime_ns))
    after = kept_digest(package, files, now=later)
    assert after == package_digest(package) != before


def test_no_digest_is_kept_of_files_that_were_written_just_now(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    made = kept_digests.digest_of_files
    monkeypatch.setattr(kept_digests, "digest_of_files", lambda *given: hashed.append(1) or made(*given))
    files, written = package_files(package), max(path.stat().st_ctime_ns for path in package_files(package))
    for now in (written, written + 1_000_000_000, written + 10_000_000_000):
        kept_digest(package, files, now=now)
    assert len(hashed) == 3
    kept_digest(package, files, now=written + 10_000_000_000)
    assert len(hashed) == 3


def test_a_digest_is_kept_of_the_folder_whatever_it_is_called(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []
    made = kept_digests.digest_of_files
    monkeypatch.setattr(kept_digests, "digest_of_files", lambda *given: hashed.append(1) or made(*given))
    (tmp_path / "link").symlink_to(package)
    monkeypatch.chdir(package.parent)
    later = time.time_ns() + 10_000_000_000
    called = (package, tmp_path / "link", Path(package.name), package / ".." / package.name)
    assert len({kept_digest(folder, package_files(folder), now=later) for folder in called}) == 1
    assert len(hashed) == 1


def test_no_more_digests_are_kept_than_there_may_be(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages that come and go, as those of onboarding in a folder of its own, would else stay for ever."""
    monkeypatch.setattr(kept_digests, "MOST_KEPT", 3)
    monkeypatch.setattr(kept_digests, "_kept", {})
    later = time.time_ns() + 10_000_000_000
    folders = [package.parent / str(number) for number in range(5)]
    for folder in folders:
        shutil.copytree(package, folder)
    for folder in (*folders[:3], folders[0], *folders[3:]):
        kept_digest(folder, package_files(folder), now=later)
    assert list(kept_digests._kept) == [folders[number].resolve() for number in (0, 3, 4)]


def test_a_link_that_leaves_the_package_is_refused(package: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("x")
    (package / "notes").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PackageError, match="leaves the package folder"):
        read_package(package)


def test_weights_outside_the_package_folder_are_refused(package: Path, tmp_path: Path) -> None:
    proto = onnx.load(package / "model.onnx")
    convert_model_to_external_data(proto, location="weights.bin", size_threshold=0)
    onnx.save(proto, package / "model.onnx")
    inside = load_package(package).predict(nets.image("plain").numpy())
    assert np.isfinite(inside).all()
    moved = onnx.load(package / "model.onnx", load_external_data=False)
    shutil.move(package / "weights.bin", tmp_path / "weights.bin")
    for tensor in moved.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../../../weights.bin"
    (package / "model.onnx").write_bytes(moved.SerializeToString())
    with pytest.raises(PackageError, match="outside the package folder"):
        load_package(package).predict(nets.image("plain").numpy())


def test_a_name_finds_the_newest_version_that_fits(package: Path) -> None:
    root = package.parents[1]
    for version in ("1.2.0", "1.10.0", "2.0.0"):
        nets.write_manifest(root / "plain" / version, nets.manifest("plain", version=version))
    assert find_package("plain", [root]).name == "2.0.0"
    assert find_package("plain@1", [root]).name == "1.10.0"
    assert find_package("plain@1.2", [root]).name == "1.2.0"
    assert find_package(root / "plain").name == "2.0.0"
    with pytest.raises(NotFound) as refused:
        find_package("plan", [root])
    assert "plain" in refused.value.advice


def test_a_broken_package_is_listed_with_its_problem_beside_the_good_ones(package: Path) -> None:
    root = package.parents[1]
    nets.write_manifest(root / "broken" / "1.0.0", {"name": "broken"})
    listed = {package.name: package for package in list_packages([root])}
    assert listed["plain"].problem is None
    assert listed["broken"].problem is not None
    assert "title" in listed["broken"].problem


def test_a_sound_package_has_only_the_warning_that_it_was_not_onboarded(package: Path) -> None:
    assert [finding.message for finding in check_package(package)] == [
        "not onboarded: tiers and metrics are not measured"
    ]


def test_checking_tells_of_an_activation_that_is_applied_twice(tmp_path: Path) -> None:
    import torch

    net = torch.nn.Sequential(nets.make("plain"), torch.nn.Sigmoid())
    folder = nets.pack(tmp_path, "plain", net)
    assert any("already ends in sigmoid" in finding.message for finding in check_package(folder))


def test_a_package_that_was_changed_behind_its_report_is_refused(package: Path) -> None:
    import json

    (package / "onboarding").mkdir()
    report = {"digest": package_digest(package), "tier": "T1"}
    (package / "onboarding" / "report.json").write_text(json.dumps(report))
    assert load_package(package).tier == "T1"
    content = yaml.safe_load((package / "model.yaml").read_text())
    nets.write_manifest(package, {**content, "title": "another"})
    with pytest.raises(PackageError, match="changed after it was onboarded"):
        _ = load_package(package).tier
