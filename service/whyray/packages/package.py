"""A model package on disk: read, validated, and known by a digest over everything it holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml
from pydantic import ValidationError

from whyray.base.errors import PackageError
from whyray.base.yaml_parsers import load_plain_yaml
from whyray.packages.kept_digests import digest_of_files, kept_digest
from whyray.packages.manifest import Manifest
from whyray.packages.manifest_problems import manifest_problems

MANIFEST = "model.yaml"
ONBOARDING = "onboarding"
"""Sub-folder for what onboarding writes (report, pictures); not part of the digest, which the report quotes."""


@dataclass(frozen=True)
class Package:
    """A validated package. `digest` is the SHA-256 (hex) of `package_digest`."""

    folder: Path
    manifest: Manifest
    digest: str

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.folder / self.manifest.graph

    @property
    def report(self) -> Path:
        """Where onboarding leaves its measurements; the file may not exist."""
        return self.folder / ONBOARDING / "report.json"

    @property
    def references(self) -> Path:
        """Where onboarding leaves images that others are compared with: .npy, (M, *item in layout); may not exist."""
        return self.folder / ONBOARDING / "references.npy"

    @property
    def embeddings(self) -> Path:
        """Where onboarding leaves the embeddings of its images: .npy, (M, D); may not exist."""
        return self.folder / ONBOARDING / "embeddings.npy"

    def artefact(self, name: str) -> Path:
        """The file that the manifest's `artefacts` names so; PackageError where it names none."""
        if name not in self.manifest.artefacts:
            raise PackageError(
                f"{self.folder / MANIFEST}: artefacts has no {name!r}, only {sorted(self.manifest.artefacts)}",
                advice=f"Add {name!r} to artefacts in model.yaml, or take a package that has it.",
            )
        return self.folder / self.manifest.artefacts[name]


def read_package(folder: Path) -> Package:
    """Read and validate the package in `folder`; no graph is loaded.

    Raises PackageError that names the file, the key and what to do.
    """
    manifest = read_manifest(folder / MANIFEST)
    _refuse_missing_files(folder, manifest)
    return Package(folder=folder, manifest=manifest, digest=kept_digest(folder, package_files(folder)))


def read_manifest(path: Path) -> Manifest:
    """Parse and validate one `model.yaml`; PackageError names the line or the key."""
    if not path.is_file():
        raise PackageError(
            f"{path}: expected a model.yaml, found none",
            advice="A package is a folder NAME/VERSION/ with a model.yaml in it; name that folder.",
        )
    try:
        return _manifest(path, path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise PackageError(
            f"{path}: not readable as YAML: {error}", advice="Correct the line that is named."
        ) from error


@lru_cache(maxsize=64)
def _manifest(path: Path, text: str) -> Manifest:
    """By its very text: packages are looked up by all their manifests, several times a job."""
    try:
        content = load_plain_yaml(text)
    except yaml.YAMLError as error:
        raise PackageError(
            f"{path}: not readable as YAML: {error}", advice="Correct the line that is named."
        ) from error
    if not isinstance(content, dict):
        raise PackageError(
            f"{path}: expected keys and values, found {type(content).__name__}",
            advice="Start from a bundled package's model.yaml.",
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        problems = manifest_problems(text, error)
        listed = f" {problems[0]}" if len(problems) == 1 else "".join(f"\n  {problem}" for problem in problems)
        raise PackageError(
            f"{path}:{listed}", advice="Correct the lines that are named; docs/packages.md explains every key."
        ) from error


def package_digest(folder: Path) -> str:
    """SHA-256 over the relative names, sizes and bytes of all files, in the order of their names.

    The onboarding folder and hidden files are left out: the report quotes this digest, so it can't be part of it.
    A link that leaves the folder is refused, since what it points to could change unseen.
    """
    return digest_of_files(folder, package_files(folder))


def package_files(folder: Path) -> list[Path]:
    """The files of which a package consists, in the order of their names. Raises as `package_digest`."""
    root, files = folder.resolve(), []
    for path in sorted(folder.rglob("*"), key=lambda entry: entry.relative_to(folder).as_posix()):
        relative = path.relative_to(folder)
        if not path.is_file() or relative.parts[0] == ONBOARDING or any(part[0] == "." for part in relative.parts):
            continue
        if not path.resolve().is_relative_to(root):
            raise PackageError(f"{path}: a link that leaves the package folder", advice="Put the file itself there.")
        files.append(path)
    return files


def _refuse_missing_files(folder: Path, manifest: Manifest) -> None:
    named = {"graph": manifest.graph} | {f"artefacts.{key}": path for key, path in manifest.artefacts.items()}
    missing = [f"{key}: {path}" for key, path in named.items() if not (folder / path).is_file()]
    if missing:
        raise PackageError(
            f"{folder / MANIFEST}: names files that are not there: {', '.join(missing)}",
            advice="Copy the files into the package folder, or correct their names in model.yaml.",
        )
