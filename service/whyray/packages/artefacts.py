"""Reference artefacts of a package: what explanation methods need beside the graph, as plain arrays with their origin.

An artefact is one .npz file (no pickles) that a site makes with its own images (`whyray package index`, `whyray
concepts fit`) or that came inside the package. It belongs to one graph, whose SHA-256 it names: made with another
graph, its embeddings would mean something else, so it is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from whyray.base.errors import ArtefactMissing, PackageError
from whyray.packages.manifest import Manifest
from whyray.packages.package import ONBOARDING, Package

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FACTS = "facts"


class ArtefactFacts(BaseModel):
    """Where an artefact comes from. It holds no identity of a patient: whoever makes one sees to that.

    Attributes
    ----------
    kind
        What it is, and the stem of its file: 'reference-index', 'concepts', 'units' …
    graph
        SHA-256 (hex) of the ONNX file that it was made with.
    package
        NAME@VERSION, for people.
    made
        The day.
    count
        How many images (or concept examples) it was made of.
    source, licence
        In words: which images, and under what terms what was learned from them may be used.
    synthetic
        Whether the pictures in it, if any, are made by a decoder rather than by a scanner.
    details
        What the kind itself wants to remember: names, parameters, measured figures.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    graph: str
    package: str
    made: date
    count: int = Field(ge=0)
    source: str
    licence: str
    synthetic: bool = False
    details: dict[str, Any] = Field(default_factory=dict)


class _ArtefactFolders(Protocol):
    @property
    def artefacts(self) -> Sequence[Path]: ...


class ArtefactOwner(Protocol):
    """A loaded package, as far as its artefacts go: what it is, where it lies, and the site's own folders."""

    @property
    def identity(self) -> str:
        """NAME@VERSION."""

    @property
    def manifest(self) -> Manifest:
        """What model.yaml says."""

    @property
    def package(self) -> Package:
        """Where the files lie."""

    @property
    def options(self) -> _ArtefactFolders:
        """Folders in which a site keeps artefacts of its own."""


@dataclass(frozen=True)
class Artefact:
    """One artefact, read and checked. `digest` is the SHA-256 (hex) of the file."""

    path: Path
    facts: ArtefactFacts
    arrays: Mapping[str, NDArray[Any]]
    digest: str

    @property
    def short(self) -> str:
        """Kind and digest in a few letters: what an explanation's parameters say of it."""
        return f"{self.facts.kind} {self.digest[:12]}"


def write_artefact(path: Path, facts: ArtefactFacts, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write whole or not at all; the same content gives the same bytes.

    Raises PackageError for an array of objects, which only a pickle could hold.
    """
    import numpy as np

    for name, array in arrays.items():
        if array.dtype.hasobject or name == _FACTS:
            raise PackageError(f"{path}: the array {name!r} can't be kept ({array.dtype})")
    text = json.dumps(facts.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        held: dict[str, Any] = {_FACTS: np.frombuffer(text.encode(), np.uint8), **dict(sorted(arrays.items()))}
        np.savez_compressed(file, **held)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read_artefact(path: Path) -> Artefact:
    """Read and check; PackageError where the file is no artefact."""
    import numpy as np

    try:
        raw = path.read_bytes()
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = ArtefactFacts.model_validate_json(arrays.pop(_FACTS).tobytes())
    except (OSError, ValueError, KeyError, ValidationError) as error:
        raise PackageError(f"{path}: not an artefact: {error}", advice="Make it again.") from error
    return Artefact(path, facts, arrays, hashlib.sha256(raw).hexdigest())


def artefact_paths(model: ArtefactOwner, kind: str) -> list[Path]:
    """Where an artefact may lie, best first: the site's folders, what onboarding left, what the package brought."""
    manifest, package = model.manifest, model.package
    paths = [artefact / manifest.name / manifest.version / f"{kind}.npz" for artefact in model.options.artefacts]
    paths.append(package.folder / ONBOARDING / f"{kind}.npz")
    if kind in manifest.artefacts:
        paths.append(package.folder / manifest.artefacts[kind])
    return paths


def find_artefact(model: ArtefactOwner, kind: str) -> Artefact | None:
    """The first that exists; None without one. PackageError where it is of another graph or another kind."""
    path = next((candidate for candidate in artefact_paths(model, kind) if candidate.is_file()), None)
    return None if path is None else _fitting(read_artefact(path), model, kind)


def require_artefact(model: ArtefactOwner, kind: str, *, method: str, advice: str) -> Artefact:
    """As `find_artefact`; ArtefactMissing where there is none, with the method that needs it and what makes it."""
    artefact = find_artefact(model, kind)
    if artefact is None:
        raise ArtefactMissing(f"{method} needs the artefact {kind!r}, and {model.identity} has none", advice=advice)
    return artefact


def graph_digest(model: ArtefactOwner) -> str:
    """SHA-256 (hex) of the package's ONNX file."""
    return hashlib.sha256(model.package.graph.read_bytes()).hexdigest()


def _fitting(artefact: Artefact, model: ArtefactOwner, kind: str) -> Artefact:
    facts = artefact.facts
    if facts.kind != kind:
        raise PackageError(f"{artefact.path}: expected {kind!r}, found {facts.kind!r}", advice="Make it again.")
    if facts.graph != graph_digest(model):
        raise PackageError(
            f"{artefact.path}: made with another graph ({facts.package}, {facts.graph[:12]}) than that of "
            f"{model.identity}",
            advice="Make it again with this package.",
        )
    return artefact
