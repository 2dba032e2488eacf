"""Making a package of what a scientist has: an ONNX file and a manifest."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from whyray.base.errors import PackageError
from whyray.packages.manifest import Manifest
from whyray.packages.package import MANIFEST, read_manifest, read_package
from whyray.packages.subgraphs import tensors


def install_package(graph: Path, manifest: Path, out: Path) -> Path:
    """Copy a graph, its external data, its manifest and what that names into `out`/NAME/VERSION; return that folder.

    Card and artefacts are looked for beside the manifest, external data beside the graph. The folder appears when it is
    complete. Raises PackageError where it is there already, or where something is missing or not as it should be.
    """
    content = read_manifest(manifest)
    folder = out / content.name / content.version
    if folder.exists():
        raise PackageError(
            f"{folder} is there already",
            advice="Raise the version in the manifest; or measure what is there again: "
            f"`whyray package onboard {folder} --images …`, without --manifest and --out.",
        )
    unfinished = folder.with_name(f".{content.version}")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        for source, name in _files(graph, manifest, content):
            target = unfinished / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        read_package(unfinished)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    unfinished.rename(folder)
    return folder


def copy_package(source: Path, out: Path) -> Path:
    """Copy a package, without what onboarding left in it, into `out`/NAME/VERSION; return that folder."""
    content = read_package(source).manifest
    return install_package(source / content.graph, source / MANIFEST, out)


def _files(graph: Path, manifest: Path, content: Manifest) -> Iterator[tuple[Path, str]]:
    if not graph.is_file():
        raise PackageError(f"there is no file {graph}", advice="Name the ONNX file.")
    yield manifest, MANIFEST
    yield graph, content.graph
    for location in _external_data(graph):
        yield graph.parent / location, str(Path(content.graph).parent / location)
    for name in (content.card, *content.artefacts.values()):
        if (manifest.parent / name).is_file():
            yield manifest.parent / name, name


def _external_data(graph: Path) -> list[str]:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from onnx.external_data_helper import ExternalDataInfo, uses_external_data

    try:
        proto = onnx.load(graph, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise PackageError(f"{graph}: not a readable ONNX graph: {error}", advice="Export the model again.") from error
    holders = [tensor for tensor in tensors(proto) if uses_external_data(tensor)]
    locations = sorted({ExternalDataInfo(holder).location for holder in holders})
    root = graph.parent.resolve()
    for location in locations:
        path = (graph.parent / location).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise PackageError(
                f"{graph}: its weights are at {location!r}, which is not a file in the graph's folder",
                advice="Save the model with its external data beside it.",
            )
    return locations
