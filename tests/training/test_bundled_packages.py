"""What the shipped packages promise: valid manifests, graphs that load, figures that agree with their cards."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import yaml

from whyray.inference import load_package
from whyray.packages import BUNDLED, Manifest, find_artefact
from whyray_training.cxr_anatomy_card import anatomy_card, anatomy_manifest
from whyray_training.cxr_autoencoder_card import autoencoder_card, autoencoder_manifest
from whyray_training.cxr_captioner_card import captioner_card, captioner_manifest
from whyray_training.cxr_captions import Phrasebook
from whyray_training.cxr_card import chest_card, chest_manifest
from whyray_training.cxr_concepts_card import abnormal_card, abnormal_manifest
from whyray_training.cxr_data import FINDINGS
from whyray_training.cxr_local_findings_card import findings_card, findings_manifest
from whyray_training.cxr_opacity_card import opacity_card, opacity_manifest
from whyray_training.cxr_prototypes_card import prototypes_card, prototypes_manifest
from whyray_training.cxr_scope_card import scope_card, scope_manifest
from whyray_training.head_ct_card import head_card, head_manifest

PACKAGES = sorted(BUNDLED.glob("*/*/model.yaml"))


def reference(manifest: Path) -> str:
    """NAME@MAJOR of the package of this manifest."""
    return f"{manifest.parent.parent.name}@{manifest.parent.name.partition('.')[0]}"


WRITERS: dict[str, tuple[Callable[[Any], str], Callable[[Any], dict[str, Any]]]] = {
    "cxr-abnormal@1": (abnormal_card, abnormal_manifest),
    "cxr-anatomy@1": (anatomy_card, lambda _: anatomy_manifest()),
    "cxr-autoencoder@1": (autoencoder_card, lambda _: autoencoder_manifest()),
    "cxr-captioner@1": (captioner_card, lambda _: captioner_manifest(Phrasebook(FINDINGS))),
    "cxr-findings@1": (chest_card, chest_manifest),
    "cxr-findings@2": (findings_card, findings_manifest),
    "cxr-opacity@1": (opacity_card, opacity_manifest),
    "cxr-prototypes@1": (prototypes_card, prototypes_manifest),
    "cxr-scope@1": (scope_card, lambda _: scope_manifest()),
    "head-ct-tissue@1": (head_card, lambda _: head_manifest()),
}
"""Each package's card and manifest, as its training script writes them from the figures."""
EMBEDDING = 1520
"""Numbers in the embedding of cxr-findings, which the captioner's encoder gives."""


@pytest.fixture(params=PACKAGES, ids=[reference(path) for path in PACKAGES])
def folder(request: pytest.FixtureRequest) -> Path:
    return request.param.parent


def manifest_of(folder: Path) -> Manifest:
    return Manifest.model_validate(yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8")))


def test_every_package_has_a_writer_that_its_card_and_manifest_can_be_checked_against():
    assert {reference(path) for path in PACKAGES} == set(WRITERS)


def test_the_manifest_is_valid_and_names_its_own_folder(folder):
    manifest = manifest_of(folder)
    assert (folder.parent.name, folder.name) == (manifest.name, manifest.version)


def test_the_graph_is_small_and_holds_its_own_weights(folder):
    graphs = {path.name: path.stat().st_size for path in folder.iterdir() if path.suffix in {".onnx", ".data"}}
    assert set(graphs) == {"model.onnx"} | {name for name in manifest_of(folder).artefacts.values() if "onnx" in name}
    assert sum(graphs.values()) <= 12_000_000


def test_a_batch_of_three_equals_three_singles(folder):
    manifest = manifest_of(folder)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    shape = (3, manifest.input.channels, *manifest.input.shape)
    batch = np.random.default_rng(0).random(shape, dtype=np.float32)
    together = session.run([manifest.output.name], {manifest.input.name: batch})[0]
    singles = [session.run([manifest.output.name], {manifest.input.name: batch[i : i + 1]})[0] for i in range(3)]
    width = {"autoencoder": manifest.input.channels, "captioner": EMBEDDING}.get(manifest.task, len(manifest.targets))
    assert together.shape[1] == width
    np.testing.assert_allclose(together, np.concatenate(singles), atol=1e-4 * np.abs(together).max())


def test_the_tensors_that_explanations_tap_have_the_names_in_the_manifest(folder):
    manifest = manifest_of(folder)
    graph = onnx.load(folder / "model.onnx").graph
    tensors = {output for node in graph.node for output in node.output}
    assert {manifest.output.features, manifest.output.embedding} - {None} <= tensors
    assert [output.name for output in graph.output] == [manifest.output.name]


def test_every_figure_in_the_card_and_the_manifest_is_a_measured_one(folder):
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    write_card, write_manifest = WRITERS[reference(folder / "model.yaml")]
    assert card == write_card(metrics)
    written = Manifest.model_validate(write_manifest(metrics))
    shipped = manifest_of(folder)
    assert shipped.artefacts.items() >= written.artefacts.items()
    assert shipped.model_copy(update={"artefacts": written.artefacts}) == written, "other artefacts' scripts name them"


def test_every_artefact_is_of_this_graph_and_says_where_it_comes_from(folder):
    model = load_package(folder)
    for kind in (kind for kind, file in model.manifest.artefacts.items() if file.endswith(".npz")):
        artefact = find_artefact(model, kind)
        assert artefact is not None
        assert artefact.facts.package == model.identity
        assert artefact.facts.source
        assert artefact.facts.licence
