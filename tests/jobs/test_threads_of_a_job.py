"""A job says the same, byte by byte, on one thread of ONNX Runtime and on two (docs/reliability.md)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from whyray.demo.studies import sample
from whyray.explain import expanded
from whyray.inference import RuntimeOptions, load_package
from whyray.jobs.explanation_request import ExplanationRequest
from whyray.jobs.files import explain_files
from whyray.results import EVERY_KIND, load_templates

METHODS = ("grad-cam", "region-shares", "similar-cases", "latent-position", "latent-shift")
"""Maps with their deletion curves, sums by structure, neighbours, and counterfactuals with their gradients."""


def test_one_thread_and_two_give_the_same_objects_and_reports(tmp_path: Path) -> None:
    one, two = (made(tmp_path / str(threads), threads) for threads in (1, 2))
    assert one.keys() == two.keys()
    assert any(name.endswith(".dcm") for name in one)
    assert [name for name in one if one[name] != two[name]] == []


def made(folder: Path, threads: int) -> dict[str, bytes]:
    """Name → bytes of all that one radiograph gives; of the report all but what says how long it took."""
    options = RuntimeOptions(device="cpu", intra_op_threads=threads)
    model = load_package("cxr-findings@1.0.0", options=options)
    explain_files(
        [Path(sample("RG1_UNCR.dcm"))],
        model,
        ExplanationRequest(methods=expanded({name: {} for name in METHODS}, model), targets=("Cardiomegaly",), seed=0),
        folder,
        templates=load_templates(),
        at=datetime(2026, 1, 1, tzinfo=UTC),
        progress=lambda *_: None,
        kinds=EVERY_KIND,
    )
    return {str(path.relative_to(folder)): content(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def content(path: Path) -> bytes:
    """A file's bytes; a report without the seconds of its stages."""
    if path.suffix != ".json":
        return path.read_bytes()
    return json.dumps(without_seconds(json.loads(path.read_bytes())), sort_keys=True).encode()


def without_seconds(value: Any) -> Any:
    """The value without its stages, at any depth."""
    if isinstance(value, dict):
        return {name: without_seconds(part) for name, part in value.items() if name != "stages"}
    return [without_seconds(part) for part in value] if isinstance(value, list) else value
