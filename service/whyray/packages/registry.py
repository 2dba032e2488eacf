"""Which packages there are: those that came with WhyRay, and those in the folders that a site names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from whyray.base.errors import NotFound, PackageError
from whyray.packages.manifest import NAME, VERSION, Manifest
from whyray.packages.package import MANIFEST, read_manifest

BUNDLED = Path(__file__).resolve().parents[1] / "bundled"
_REFERENCE = re.compile(rf"(?P<name>{NAME.pattern})(@(?P<version>\d+(\.\d+){{0,2}}))?")


@dataclass(frozen=True)
class PackageEntry:
    """One `NAME/VERSION/` folder; `problem` says why it can't be used, and then there may be no manifest."""

    name: str
    version: str
    folder: Path
    manifest: Manifest | None
    problem: str | None = None


def list_packages(search: Iterable[Path] = ()) -> list[PackageEntry]:
    """All packages in the folders of `search` and the bundled ones, by name, newest version first.

    A site's package hides a bundled one of the same name and version. A broken package is listed with its problem.
    """
    entries: dict[tuple[str, str], PackageEntry] = {}
    for folder in _version_folders(search):
        name, version = folder.parent.name, folder.name
        if (name, version) in entries:
            continue
        try:
            manifest = read_manifest(folder / MANIFEST)
            problem = None
            if (manifest.name, manifest.version) != (name, version):
                problem = f"{folder / MANIFEST}: says {manifest.name} {manifest.version}, its folder {name} {version}"
            entries[name, version] = PackageEntry(name, version, folder, manifest, problem)
        except PackageError as error:
            entries[name, version] = PackageEntry(name, version, folder, None, str(error))
    newest_first = sorted(entries.values(), key=lambda entry: _numbers(entry.version), reverse=True)
    return sorted(newest_first, key=lambda entry: entry.name)


def find_package(reference: str | Path, search: Iterable[Path] = ()) -> Path:
    """The folder of a package: `reference` is a folder, or NAME[@VERSION], VERSION being 1, 1.2 or 1.2.3.

    The newest version that fits is taken; a folder without a slash in its name, where no package is called so. Raises
    NotFound, naming what there is.
    """
    if isinstance(reference, Path) or "/" in reference or "\\" in reference:
        return _as_folder(Path(reference))
    is_folder = Path(reference).is_dir()
    if is_folder and not NAME.fullmatch(reference):  # . and .. and 1.0.0
        return _as_folder(Path(reference))
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise NotFound(
            f"{reference!r} is not a package: expected NAME, NAME@VERSION or a folder",
            advice="Names are lower-case letters, digits and hyphens; versions are 1, 1.2 or 1.2.3.",
        )
    packages = list_packages(search)
    version = match["version"]
    for entry in packages:
        if entry.name == match["name"] and (version is None or f"{entry.version}.".startswith(f"{version}.")):
            return entry.folder
    if is_folder:
        return _as_folder(Path(reference))
    known = sorted({f"{package.name}@{package.version}" for package in packages})
    near = difflib.get_close_matches(reference, known + [package.name for package in packages], n=1, cutoff=0.5)
    raise NotFound(
        f"no package {reference!r}; there is: {', '.join(known) or 'none'}",
        advice=f"Did you mean {near[0]!r}?" if near else "`whyray package list` shows all packages.",
    )


def _as_folder(path: Path) -> Path:
    if path.name in ("", "..") or len(path.parts) == 1:
        # '.', '..' and '1.0.0' don't say what folder they are in
        path = path.resolve() if ".." in path.parts else path.absolute()
    if (path / MANIFEST).is_file():
        return path
    versions = [folder for folder in path.glob("*") if VERSION.fullmatch(folder.name) and (folder / MANIFEST).is_file()]
    if versions:
        return max(versions, key=lambda folder: _numbers(folder.name))
    raise NotFound(
        f"{path}: expected a package folder with a model.yaml, found none",
        advice="Name the folder NAME/VERSION/ that `whyray package onboard MODEL.onnx --out packages/` makes.",
    )


def _version_folders(search: Iterable[Path]) -> Iterator[Path]:
    for root in (*search, BUNDLED):
        if root.is_dir():
            for manifest in sorted(root.glob(f"*/*/{MANIFEST}")):
                if VERSION.fullmatch(manifest.parent.name):
                    yield manifest.parent


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
