"""A captioner of known words, built node by node: bright images are called bright, dark ones not.

The encoder gives (N, 1): mean brightness minus one half, times 40. The decoder is a table of next tokens, tilted by it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import yaml
from onnx import TensorProto, helper, numpy_helper

WORDS = ("<s>", "</s>", "bright", "edge", "##s", "is", "no", "seen", ".", "the", "heart", "nothing")


def package(folder: Path, *, size: int = 32, blind: bool = False, chatty: bool = False, words: int = 0) -> Path:
    """Write it as scribe/1.0.0. `blind`: the decoder ignores the image; `chatty`: it never ends."""
    path = folder / "scribe" / "1.0.0"
    path.mkdir(parents=True, exist_ok=True)
    _encoder(path / "model.onnx", size)
    _decoder(path / "decoder.onnx", blind, chatty)
    (path / "vocabulary.txt").write_text("\n".join(WORDS + tuple(f"w{number}" for number in range(words))) + "\n")
    manifest = {
        "name": "scribe",
        "version": "1.0.0",
        "title": "Scribe",
        "manufacturer": "tests",
        "task": "captioner",
        "licence": "Apache-2.0",
        "intended_use": "tests",
        "input": {"name": "image", "shape": [size, size]},
        "output": {"name": "memory", "activation": "none"},
        "artefacts": {"decoder": "decoder.onnx", "vocabulary": "vocabulary.txt"},
        "caption": {"at_most": 20, "mentions": {"edges": ["edges", "edge"]}},
    }
    (path / "model.yaml").write_text(yaml.safe_dump(manifest))
    (path / "MODEL_CARD.md").write_text("for tests")
    return path


def _encoder(path: Path, size: int) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Sub", ["flat", "half"], ["shifted"]),
        helper.make_node("Mul", ["shifted", "gain"], ["memory"]),
    ]
    constants = {"half": np.array([0.5], np.float32), "gain": np.array([40.0], np.float32)}
    _save(path, nodes, constants, [("image", TensorProto.FLOAT, ["n", 1, size, size])], ("memory", ["n", 1]))


def _decoder(path: Path, blind: bool, chatty: bool) -> None:
    """Bright: 'bright is seen. no edges. the heart.'; dark: 'no bright is seen. edges. the heart.'"""
    number = {word: place for place, word in enumerate(WORDS)}
    always, tilted = np.full((len(WORDS),) * 2, -20, np.float32), np.zeros((len(WORDS),) * 2, np.float32)
    for first, then in [("bright", "is"), ("is", "seen"), ("seen", "."), ("edge", "##s"), ("##s", "."), ("heart", ".")]:
        always[number[first], number[then]] = 20
    always[number["<s>"], [number["bright"], number["no"]]] = 20
    tilted[number["<s>"], [number["bright"], number["no"]]] = (1, -1)
    always[number["no"], number["bright"]] = 20
    always[number["."], number["." if chatty else "</s>"]] = 20
    if blind:
        tilted[:] = 0
        always[number["<s>"], number["no"]] = 25
    nodes = [
        helper.make_node("Gather", ["tokens", "last"], ["token"], axis=1),
        helper.make_node("Gather", ["always", "token"], ["base"]),
        helper.make_node("Gather", ["tilted", "token"], ["tilt"]),
        helper.make_node("Mul", ["tilt", "memory"], ["by"]),
        helper.make_node("Add", ["base", "by"], ["logits"]),
    ]
    constants = {"last": np.array(-1, np.int64), "always": always, "tilted": tilted}
    inputs = [("memory", TensorProto.FLOAT, ["n", 1]), ("tokens", TensorProto.INT64, ["n", "t"])]
    _save(path, nodes, constants, inputs, ("logits", ["n", len(WORDS)]))


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray],
    inputs: list[tuple[str, int, list[object]]],
    output: tuple[str, list[object]],
) -> None:
    graph = helper.make_graph(
        nodes,
        "scribe",
        [helper.make_tensor_value_info(*declared) for declared in inputs],
        [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
