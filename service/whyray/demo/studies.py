"""The studies that the demo sends: a real chest radiograph, plain and compressed, and the procedural head CT."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from pydicom import dcmread

from whyray.base.errors import NotFound
from whyray.demo.phantom import Scan, write_phantom

KINDS = ("sc", "seg", "sr")
"""What each study is expected to bring back."""

_NAMESPACE = uuid.UUID("c1a3b8c6-8f0b-4f2b-9a0e-95a3f6c7d2e1")


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
        _chest(out / "chest", "RG1_UNCR.dcm", "Chest radiograph", "chest", renamed=False),
        _chest(out / "chest-j2k", "RG1_J2KR.dcm", "Chest radiograph, JPEG 2000", "chest-j2k", renamed=True),
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


def _chest(folder: Path, source: str, title: str, name: str, *, renamed: bool) -> DemoStudy:
    """A study of one instance of RG1 (PA chest, MONOCHROME1, 1955 × 1841, 15 bits, no usable pixel spacing).

    The compressed copies belong to the study and series of the plain one: sent as they are they would be one study, so
    they are `renamed`, deterministically.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = dcmread(sample(source))
    if renamed:
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(data, keyword, f"2.25.{uuid.uuid5(_NAMESPACE, str(data[keyword].value)).int}")
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    path = folder / source
    data.save_as(path)
    return DemoStudy(name, title, str(data.StudyInstanceUID), (path,), "cxr-findings")


def _head(folder: Path, scan: Scan) -> DemoStudy:
    paths = write_phantom(folder, scan)
    uid = str(dcmread(paths[0], stop_before_pixels=True).StudyInstanceUID)
    return DemoStudy("head", "Head CT phantom", uid, tuple(paths), "head-ct-tissue")
