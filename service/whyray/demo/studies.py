"""The studies that the demo sends: two real radiographs, a chest and a leg, and the procedural head CT."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pydicom import dcmread

from whyray.base.errors import NotFound
from whyray.demo.phantom import Scan, write_phantom

KINDS = ("sc", "seg", "sr")
"""What each study is expected to bring back."""

WITHOUT_STATEMENT = ("sc", "sr")
"""What comes back where nothing is said of a study: a page and a report that say so."""

CHEST = "RG1_UNCR.dcm"
"""PA chest with several masses: CR, MONOCHROME1, 1955 × 1841, 15 bits, no usable pixel spacing; uncompressed."""

LEG = "RG3_J2KR.dcm"
"""Non-ossifying fibroma of a distal tibia: CR, 1760 × 1760, JPEG 2000 lossless. No bundled package is made for it."""


@dataclass(frozen=True)
class DemoStudy:
    """One study to send.

    Attributes
    ----------
    package
        The package whose route it is to take.
    kinds
        The kinds of results that are to come back.
    """

    name: str
    title: str
    study_instance_uid: str
    paths: tuple[Path, ...]
    package: str
    kinds: tuple[str, ...] = KINDS


def demo_studies(out: Path, *, scan: Scan | None = None) -> list[DemoStudy]:
    """Write the demo's studies below `out`; the same call gives the same UIDs and bytes.

    Raises
    ------
    NotFound
        If pydicom-data is not installed.
    """
    return [
        _radiograph(out, "chest", "Chest radiograph", CHEST, KINDS),
        _radiograph(out, "leg", "Leg radiograph", LEG, WITHOUT_STATEMENT),
        _head(out / "head", scan or Scan()),
    ]


def sample(name: str) -> Path:
    """A file of pydicom-data (MIT): real studies, made for testing compression.

    Raises
    ------
    NotFound
        If the package is not installed, or has no such file.
    """
    try:
        path = Path(str(resources.files("data_store"))) / "data" / name
    except ModuleNotFoundError:
        path = Path(name)
    if not path.is_file():
        raise NotFound(f"{name} of pydicom-data is not installed", advice="pip install pydicom-data==1.0.0")
    return path


def _radiograph(out: Path, name: str, title: str, source: str, kinds: tuple[str, ...]) -> DemoStudy:
    path = out / name / source
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(sample(source), path)
    uid = str(dcmread(path, stop_before_pixels=True).StudyInstanceUID)
    return DemoStudy(name, title, uid, (path,), "cxr-findings", kinds)


def _head(folder: Path, scan: Scan) -> DemoStudy:
    paths = write_phantom(folder, scan)
    uid = str(dcmread(paths[0], stop_before_pixels=True).StudyInstanceUID)
    return DemoStudy("head", "Head CT phantom", uid, tuple(paths), "head-ct-tissue")
