"""`whyray package init`: what an ONNX file says of itself, and what it can't say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from onnx import TensorProto, helper, save

from planted import planted_package
from whyray.base.errors import PackageError
from whyray.packages import draft_manifest, install_package, read_manifest

FILLED = {
    **{"title": "A model", "manufacturer": "A clinic", "licence": "MIT", "intended_use": "Tests only."},
    "task": "multi-label",
}


def graph(path: Path, shape: list[int | str], outputs: list[int | str], *, ending: str = "Identity") -> Path:
    """A graph of the right form; it is read and never run."""
    made = helper.make_graph(
        [helper.make_node(ending, ["image"], ["said"])],
        "form",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("said", TensorProto.FLOAT, outputs)],
    )
    save(helper.make_model(made), path)
    return path


def test_a_draft_is_refused_until_it_is_filled_in_and_then_installed(tmp_path: Path) -> None:
    onnx_file = planted_package(tmp_path) / "model.onnx"
    draft = tmp_path / "model.yaml"
    draft.write_text(draft_manifest(onnx_file))
    with pytest.raises(PackageError) as refused:
        read_manifest(draft)
    for key in (*FILLED, "targets.0.name", "input.shape", "input.fit", "input.intensity", "output.activation"):
        assert key in refused.value.message
    content = yaml.safe_load(draft.read_text()) | FILLED
    content["targets"][0]["name"] = "Bright spot"
    content["input"] |= {"shape": [64, 64], "fit": "pad", "intensity": {"source": "voi"}}
    content["output"]["activation"] = "sigmoid"
    draft.write_text(yaml.safe_dump(content))
    assert install_package(onnx_file, draft, tmp_path / "out") == tmp_path / "out" / "model" / "1.0.0"


@pytest.mark.parametrize(
    ("shape", "outputs", "ending", "said"),
    [
        ([1, 3, 320, 256], [1, 5], "Identity", ("NCHW", "planar", [320, 256], 3, None, None, 5)),
        (["n", 299, 299, 3], ["n", 2], "Softmax", ("NHWC", "planar", [299, 299], 3, None, "none", 2)),
        ([1, 1, "h", "w"], [1, 1], "Sigmoid", ("NCHW", "planar", None, 1, None, "none", 1)),
        (
            [1, 1, 32, 64, 64],
            [1, 4, 32, 64, 64],
            "Identity",
            ("NCDHW", "volume", [32, 64, 64], 1, "segmentation", None, 4),
        ),
    ],
)
def test_names_shapes_and_the_number_of_targets_are_the_graphs(
    tmp_path: Path, shape: list[int | str], outputs: list[int | str], ending: str, said: tuple[object, ...]
) -> None:
    draft = yaml.safe_load(draft_manifest(graph(tmp_path / "My Model (2).onnx", shape, outputs, ending=ending)))
    given = draft["input"]
    assert draft["name"] == "my-model-2"
    assert (given["name"], draft["output"]["name"]) == ("image", "said")
    assert said == (
        *(given["layout"], given["kind"], given["shape"], given["channels"]),
        *(draft["task"], draft["output"]["activation"], len(draft["targets"])),
    )


def test_what_takes_no_image_is_refused_with_what_it_takes(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="found image"):
        draft_manifest(graph(tmp_path / "table.onnx", [1, 12], [1, 2]))
    (tmp_path / "no.onnx").write_bytes(b"not a graph")
    with pytest.raises(PackageError, match="not a readable ONNX graph"):
        draft_manifest(tmp_path / "no.onnx")


def test_what_is_empty_is_told_with_its_line_and_what_belongs_there(tmp_path: Path) -> None:
    draft = tmp_path / "model.yaml"
    draft.write_text(draft_manifest(graph(tmp_path / "net.onnx", [1, 3, 32, 32], [1, 2])))
    with pytest.raises(PackageError) as refused:
        read_manifest(draft)
    lines = draft.read_text().splitlines()
    told = refused.value.message.splitlines()[1:]
    at = {key: next(n for n, line in enumerate(lines, 1) if line.strip().startswith(f"{key}:")) for key in FILLED}
    for key, line in at.items():
        (words,) = (words for words in told if f"line {line}: {key}: " in words)
        assert "is empty" in words
    assert any("targets.1.name: is empty (what channel 1 says)" in words for words in told)
    assert [int(words.split(":")[0].split()[1]) for words in told] == sorted(
        int(words.split(":")[0].split()[1]) for words in told
    )


def test_a_key_that_is_missing_or_unknown_is_told_with_the_line_of_what_it_belongs_to(tmp_path: Path) -> None:
    onnx_file = planted_package(tmp_path)
    content = yaml.safe_load((onnx_file / "model.yaml").read_text())
    content["input"].pop("shape")
    content["input"]["sizes"] = [64, 64]
    text = yaml.safe_dump(content, sort_keys=False)
    (onnx_file / "model.yaml").write_text(text)
    with pytest.raises(PackageError) as refused:
        read_manifest(onnx_file / "model.yaml")
    lines = text.splitlines()
    assert f"line {lines.index('input:') + 1}: input.shape: is missing" in refused.value.message
    line = next(number for number, line in enumerate(lines, 1) if "sizes:" in line)
    assert f"line {line}: input.sizes: " in refused.value.message


def test_a_draft_of_a_volume_names_the_spacing_that_a_network_of_patches_needs(tmp_path: Path) -> None:
    text = draft_manifest(graph(tmp_path / "net.onnx", [1, 1, 32, 64, 64], [1, 2, 32, 64, 64]))
    assert "# spacing: " in text
    assert "unit: HU" in text
    assert "# spacing: " not in draft_manifest(graph(tmp_path / "flat.onnx", [1, 1, 64, 64], [1, 2]))


@pytest.mark.parametrize(
    ("shape", "outputs", "keys"),
    [
        ([1, 1, 64, 64], [1, 2], {"card", "companions", "scope"}),
        ([1, 1, 32, 64, 64], [1, 2, 32, 64, 64], {"card", "scope"}),
    ],
)
def test_a_draft_names_the_keys_whose_absence_costs_trust_in_comments_that_can_be_taken_as_they_are(
    shape: list[int | str], outputs: list[int | str], keys: set[str], tmp_path: Path
) -> None:
    """A package without a scope answers about any image, and nobody was told before it was onboarded."""
    draft = draft_manifest(graph(tmp_path / "net.onnx", shape, outputs))
    assert not keys & set(yaml.safe_load(draft))
    content = yaml.safe_load(re.sub(r"^( *)# ( *[a-z_]+: )", r"\1\2", draft, flags=re.MULTILINE))
    assert keys <= set(content)
    assert {"threshold", "code"} <= set(content["targets"][0])
    del content["targets"][0]["code"]  # nothing stands in it, lest one finding bear the code of another
    content |= FILLED | ({"task": "segmentation"} if len(shape) == 5 else {})
    content["targets"] = [target | {"name": f"Target {number}"} for number, target in enumerate(content["targets"])]
    content["input"] |= {"fit": "pad", "intensity": {"source": "voi"}}
    content["output"]["activation"] = "sigmoid"
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(content))
    read = read_manifest(tmp_path / "model.yaml")
    assert read.scope.body_parts
    assert set(read.companions) == ({"scope", "anatomy"} if "companions" in keys else set())
