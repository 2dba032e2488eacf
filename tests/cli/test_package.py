"""`whyray package`: what there is, what is in it, what is wrong with it, what explains it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from cli.conftest import Cli
from planted import BRIGHT
from whyray.explain import methods


def test_list_shows_bundled_packages_and_those_of_a_folder_and_what_is_wrong_with_a_broken_one(
    cli: Cli, packages: Path
) -> None:
    broken = packages / "broken" / "1.0.0"
    broken.mkdir(parents=True)
    (broken / "model.yaml").write_text("name: [broken]")
    said = cli("package", "list", "--folder", packages)
    assert said.code == 0
    for words in ("cxr-findings@1.0.0", "planted@1.0.0", "planar 64 × 64", "broken@1.0.0", "model.yaml"):
        assert words in said.everything


def test_show_tells_identity_tier_targets_and_every_method_with_its_parameters(cli: Cli, planted: Path) -> None:
    said = cli("package", "show", planted)
    assert said.code == 0
    for words in ("planted@1.0.0", "sha256", "Apache-2.0", BRIGHT, "Tier T", "For tests only"):
        assert words in said.everything
    for method in methods():
        assert method.name in said.out
    assert "masks=4000" in said.everything
    assert "seg-grad-cam explains segmentation" in said.everything
    assert "Map for radiologists: grad-cam: nothing was measured against boxes at onboarding" in said.everything
    assert "`explain: radiologist` stands for, in this order: grad-cam" in said.everything


def test_show_names_the_parameters_that_the_package_prefers(cli: Cli, planted: Path) -> None:
    with (planted / "model.yaml").open("a") as manifest:
        manifest.write("methods: {rise: {masks: 123}}\n")
    assert "masks=123" in cli("package", "show", planted, "--no-card").everything


def test_methods_are_listed_with_tier_and_defaults(cli: Cli) -> None:
    said = cli("package", "methods")
    assert said.code == 0
    for method in methods():
        assert method.name in said.out
    assert "masks=4000" in said.everything
    assert "Petsiuk" in said.everything


@pytest.mark.parametrize("command", [("list",), ("methods",), ("show", "cxr-findings", "--no-card")])
def test_tables_fold_on_a_narrow_terminal_and_cut_nothing(
    command: tuple[str, ...], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "44")
    said = cli("package", *command)
    assert said.code == 0
    assert "…" not in said.out


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("kind: planar", "kind: planar\n  channels: 3"),
        ("kind: planar", "kind: solid"),
        ("title:", "graph: other.onnx\ntitle:"),
        ("", ""),
    ],
)
def test_check_never_advises_to_check_nor_speaks_of_routes(was: str, becomes: str, cli: Cli, planted: Path) -> None:
    manifest = planted / "model.yaml"
    if was:
        assert was in manifest.read_text("utf-8")
        manifest.write_text(manifest.read_text("utf-8").replace(was, becomes), "utf-8")
    else:
        (planted / "model.onnx").write_bytes(b"no graph")
    said = cli("package", "check", planted)
    assert said.code == 1, said.everything
    assert "package check" not in said.everything
    assert "route" not in said.everything


@pytest.mark.parametrize("method", [method.name for method in methods()])
def test_every_method_tells_about_itself(cli: Cli, method: str) -> None:
    said = cli("package", "methods", method)
    assert said.code == 0
    assert re.search(r"\b(19|20)\d\d\b", said.out), "the year of its paper"
    for name in next(candidate for candidate in methods() if candidate.name == method).Parameters.model_fields:
        assert name in said.out


def test_a_method_that_there_is_not_is_refused_with_the_nearest(cli: Cli) -> None:
    cli("package", "methods", "gradcam").refused("gradcam", "Did you mean 'grad-cam'?")


def test_check_names_a_package_whatever_way_its_folder_is_written(
    cli: Cli, planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(planted.parent)
    said = cli("package", "check", f"./{planted.name}")
    assert "planted@1.0.0 is in order" in said.everything
    assert "the folder is" not in said.everything


def test_check_passes_what_is_in_order_and_names_what_is_wrong(cli: Cli, planted: Path) -> None:
    good = cli("package", "check", planted)
    assert good.code == 0, good.everything
    assert "planted@1.0.0 is in order" in good.everything
    (planted / "model.onnx").write_bytes(b"not a graph")
    bad = cli("package", "check", planted)
    assert bad.code == 1
    assert "error" in bad.out
    assert "model.onnx" in bad.everything


@pytest.mark.parametrize("command", ["show", "check"])
def test_a_package_that_there_is_not_is_refused_with_the_nearest(cli: Cli, command: str) -> None:
    cli("package", command, "cxr-finding").refused("NotFound", "cxr-finding", "Did you mean 'cxr-findings")
    cli("package", command, "./nowhere").refused("nowhere")


def test_check_and_explain_refuse_a_manifest_that_contradicts_the_graph_in_the_same_words(
    cli: Cli, planted: Path, tmp_path: Path
) -> None:
    proto = onnx.load(planted / "model.onnx")
    name = proto.graph.output[0].name
    (last,) = (node for node in proto.graph.node if name in node.output)
    last.output[list(last.output).index(name)] = "before"
    proto.graph.node.append(onnx.helper.make_node("Sigmoid", ["before"], ["probabilities"]))
    proto.graph.node.append(onnx.helper.make_node("Flatten", ["probabilities"], [name]))
    onnx.save(proto, planted / "model.onnx")
    Image.fromarray(np.full((70, 60), 9, np.uint8)).save(tmp_path / "film.png")
    words = "already ends in sigmoid (Sigmoid), and model.yaml applies sigmoid to it again"
    said = cli("package", "check", planted)
    assert said.code == 1
    assert words in said.everything
    cli("explain", tmp_path / "film.png", "-p", planted, "-o", tmp_path / "out").refused(
        words, "output.activation to none"
    )
    assert not (tmp_path / "out").exists()


def test_check_tells_the_layer_of_the_class_activation_maps_with_its_grid_and_channels(cli: Cli, planted: Path) -> None:
    said = cli("package", "check", planted)
    assert said.code == 0
    assert re.search(
        r"class activation maps: of '\S+' \((chosen|named in model\.yaml)\), grid \d+ × \d+, \d+ channels", said.out
    )


@pytest.mark.parametrize(("place", "named"), [(".", "."), (".", "../1.0.0"), ("onboarding", ".."), ("..", "1.0.0")])
def test_a_package_is_found_by_a_folder_without_a_name(
    place: str, named: str, cli: Cli, planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (planted / "onboarding").mkdir(exist_ok=True)
    monkeypatch.chdir(planted / place)
    said = cli("package", "check", named)
    assert said.code == 0, said.everything
    assert "planted@1.0.0 is in order" in said.everything


def test_a_folder_in_this_one_is_a_package_where_none_is_called_so(
    cli: Cli, planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(planted.parent.parent)
    assert cli("package", "check", "planted").code == 0
    (planted.parent.parent / "cxr-findings").mkdir()
    assert cli("package", "show", "cxr-findings", "--no-card").code == 0, "the bundled one comes first"


def test_a_folder_that_is_no_package_is_told_with_what_makes_one(cli: Cli) -> None:
    cli("package", "check", ".").refused("NotFound", "model.yaml", "whyray package onboard")
