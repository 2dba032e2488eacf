"""What tells one instance from another of the same UIDs: a digest of its bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag


def digest_of(source: Path | Dataset) -> str:
    """SHA-256 (hex) of a file's bytes, as the catalog keeps it of what was stored; of a data set, of all its values."""
    if isinstance(source, Dataset):
        return _of_values(source)
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_values(source: Dataset) -> str:
    digest = hashlib.sha256()
    left = [("", source)]
    while left:  # no recursion: sequences may be nested deeper than the stack allows
        path, holder = left.pop()
        for tag in sorted(holder.keys()):
            place = f"{path}/{tag}"
            representation, value = _element(holder, tag)
            if isinstance(value, list):
                left += [(f"{place}/{number}", item) for number, item in enumerate(value)]
                value = str(len(value))
            written = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
            digest.update(f"{place} {representation} {len(written)} ".encode())
            digest.update(written)
    return digest.hexdigest()


def _element(holder: Dataset, tag: BaseTag) -> tuple[str, list[Dataset] | bytes | str]:
    """VR and value, the same whether an element has been looked at before or not; what can't be read as it stands."""
    try:
        element = holder[tag]
    except Exception:  # whatever a value makes the library raise
        raw = holder.get_item(tag)
        return str(getattr(raw, "VR", "")), (raw.value or b"") if isinstance(raw, RawDataElement) else b""
    if element.VR == "SQ":
        return "SQ", list(element.value or ())
    return str(element.VR), element.value if isinstance(element.value, bytes) else str(element.value)
