"""Files with attributes that no writer should write: raw bytes and value representations, as they reach a reader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.tag import Tag

_LONG_FORM = {"OB", "SQ", "UN", "UT"}


def write_raw(data: Dataset, raw: Mapping[str | int, tuple[str, bytes]], path: Path) -> Path:
    """Write an instance in Explicit VR Little Endian with these elements as given: VR and the bytes of the value."""
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    file.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(file, data.file_meta, enforce_standard=True)
    odd = {Tag(attribute): element for attribute, element in raw.items()}
    for tag in sorted({*data.keys(), *odd}):
        if tag not in odd:
            write_dataset(file, data[tag : tag + 1], data.get("SpecificCharacterSet") or "iso8859")
            continue
        representation, value = odd[tag]
        long = representation in _LONG_FORM
        file.write(tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little") + representation.encode())
        file.write((b"\0\0" if long else b"") + len(value).to_bytes(4 if long else 2, "little") + value)
    path.write_bytes(file.getvalue())
    return path
