"""What tells one answer from another: a digest of all that it says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any

import numpy as np
from pydantic import BaseModel

from whyray.base.frame_array import FrameArray, PackedMask
from whyray.imaging import SourceImage
from whyray.results.answer import MapInSource

_CHECKED = ("values",)
"""Of a map whose `on_grid`, `grid` and `checksums` are known: a hundred times as many bytes, in the geometry of the
image. They follow from the grid but for their last bits, which another machine may round otherwise: those the checksums
tell."""
_LARGE = 1 << 12
"""Parts of so many bytes are hashed without being copied."""


def fingerprint(value: object) -> str:
    """SHA-256 (hex) of a value by its content: equal content gives the same, in every process.

    Of dataclasses, models of pydantic, arrays, mappings, sequences and plain values, nested as they like. Of a source
    image it takes the digests of its instances, its frames and its notes; of a map whose values in the source have
    checksums, these and its grid; of masks a bit a pixel; of anything else that is none of these, only the type.
    """
    digest = _Digest()
    digest.add(value)
    return digest.hexdigest()


class _Digest:
    """The SHA-256 of parts, each behind its length (8 bytes); small ones are collected and hashed together."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._small = bytearray()

    def hexdigest(self) -> str:
        self._hash.update(self._small)
        self._small.clear()
        return self._hash.hexdigest()

    def add(self, value: Any) -> None:
        """The parts of a value."""
        if value is None or isinstance(value, (str, int, float)):
            self._part(f"{type(value).__name__} {value!r}".encode("utf-8", "surrogateescape"))
        elif isinstance(value, (list, tuple)):
            self._part(b"sequence of %d" % len(value))
            for number, member in enumerate(value):
                self._part(b"%d" % number)
                self.add(member)
        elif isinstance(value, bytes):
            self._part(value)
        elif isinstance(value, (np.ndarray, np.generic)):
            self._array(np.ascontiguousarray(value))
        elif isinstance(value, PackedMask):
            self._part(f"mask {value.shape}".encode())
            for index in range(len(value)):
                self._part(value.packed(index))
        elif isinstance(value, FrameArray):
            self._part(f"array {value.dtype} {value.shape}".encode())
            self._frames(value)
        elif isinstance(value, BaseModel):
            self._part(value.model_dump_json().encode())
        elif isinstance(value, Enum):
            self.add(value.value)
        elif isinstance(value, datetime):
            self._part(value.isoformat().encode())
        elif isinstance(value, SourceImage):
            places = [(frame.sop_instance_uid, frame.frame_number) for frame in value.frames]
            self.add([value.kind, places, value.digests, value.notes])
        elif is_dataclass(value) and not isinstance(value, type):
            without = _CHECKED if isinstance(value, MapInSource) and _is_checked(value) else ()
            names = [field.name for field in fields(value) if field.compare and field.name not in without]
            self._several(type(value).__name__, [(name, getattr(value, name)) for name in names])
        elif isinstance(value, Mapping):
            self._several("mapping", sorted((fingerprint(key), entry) for key, entry in value.items()))
        elif isinstance(value, AbstractSet):
            self._several("set", sorted((fingerprint(member), None) for member in value))
        else:
            self._part(type(value).__qualname__.encode())

    def _part(self, part: Any) -> None:
        """Bytes, or whatever is laid out as bytes."""
        self._small += len(part).to_bytes(8, "little")
        if len(part) < _LARGE:
            self._small += part
            return
        self._hash.update(self._small)
        self._small.clear()
        self._hash.update(part)

    def _array(self, array: Any) -> None:
        if array.dtype.hasobject:
            self.add(array.tolist())
            return
        if array.dtype == np.bool_ and array.ndim == 3:
            self.add(PackedMask.of(array, array.shape))
            return
        self._part(f"array {array.dtype} {array.shape}".encode())
        self._part(array.reshape(-1).view(np.uint8).data)

    def _frames(self, array: FrameArray[Any]) -> None:
        """The bytes of an array as one part, a frame at a time."""
        self._small += (array.size * array.dtype.itemsize).to_bytes(8, "little")
        self._hash.update(self._small)
        self._small.clear()
        for frame in array:
            self._hash.update(np.ascontiguousarray(frame).reshape(-1).view(np.uint8).data)

    def _several(self, name: str, named: list[tuple[str, Any]]) -> None:
        self._part(f"{name} of {len(named)}".encode())
        for key, value in named:
            self._part(key.encode())
            self.add(value)


def _is_checked(heatmap: MapInSource) -> bool:
    return heatmap.on_grid is not None and heatmap.grid is not None and heatmap.checksums is not None
