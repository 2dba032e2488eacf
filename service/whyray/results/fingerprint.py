"""What tells one answer from another: a digest of all that it says."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
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


def fingerprint(value: object) -> str:
    """SHA-256 (hex) of a value by its content: equal content gives the same, in every process.

    Of dataclasses, models of pydantic, arrays, mappings, sequences and plain values, nested as they like. Of a source
    image it takes the digests of its instances, its frames and its notes; of a map whose values in the source have
    checksums, these and its grid; of masks a bit a pixel; of anything else that is none of these, only the type.
    """
    digest = hashlib.sha256()
    for part in _parts(value):
        digest.update(len(part).to_bytes(8, "little"))
        for chunk in part if isinstance(part, _InChunks) else (part,):
            digest.update(chunk)
    return digest.hexdigest()


class _InChunks:
    """The bytes of an array, a frame at a time."""

    def __init__(self, array: FrameArray[Any]) -> None:
        self._array = array

    def __len__(self) -> int:
        return self._array.size * self._array.dtype.itemsize

    def __iter__(self) -> Iterator[Any]:
        return (np.ascontiguousarray(frame).reshape(-1).view(np.uint8).data for frame in self._array)


def _parts(value: Any) -> Iterator[Any]:
    if value is None or isinstance(value, (str, int, float)):
        yield f"{type(value).__name__} {value!r}".encode("utf-8", "surrogateescape")
    elif isinstance(value, bytes):
        yield value
    elif isinstance(value, (np.ndarray, np.generic)):
        array = np.ascontiguousarray(value)
        if array.dtype.hasobject:
            yield from _parts(array.tolist())
            return
        if array.dtype == np.bool_ and array.ndim == 3:
            yield from _parts(PackedMask.of(array, array.shape))
            return
        yield f"array {array.dtype} {array.shape}".encode()
        yield array.reshape(-1).view(np.uint8).data
    elif isinstance(value, PackedMask):
        yield f"mask {value.shape}".encode()
        yield from (value.packed(index) for index in range(len(value)))
    elif isinstance(value, FrameArray):
        yield f"array {value.dtype} {value.shape}".encode()
        yield _InChunks(value)
    elif isinstance(value, BaseModel):
        yield value.model_dump_json().encode()
    elif isinstance(value, Enum):
        yield from _parts(value.value)
    elif isinstance(value, datetime):
        yield value.isoformat().encode()
    elif isinstance(value, SourceImage):
        places = [(frame.sop_instance_uid, frame.frame_number) for frame in value.frames]
        yield from _parts([value.kind, places, value.digests, value.notes])
    elif is_dataclass(value) and not isinstance(value, type):
        without = _CHECKED if isinstance(value, MapInSource) and _is_checked(value) else ()
        names = [field.name for field in fields(value) if field.compare and field.name not in without]
        yield from _several(type(value).__name__, [(name, getattr(value, name)) for name in names])
    elif isinstance(value, Mapping):
        yield from _several("mapping", sorted((fingerprint(key), entry) for key, entry in value.items()))
    elif isinstance(value, AbstractSet):
        yield from _several("set", sorted((fingerprint(member), None) for member in value))
    elif isinstance(value, (list, tuple)):
        yield from _several("sequence", [(str(number), member) for number, member in enumerate(value)])
    else:
        yield type(value).__qualname__.encode()


def _is_checked(heatmap: MapInSource) -> bool:
    return heatmap.on_grid is not None and heatmap.grid is not None and heatmap.checksums is not None


def _several(name: str, named: list[tuple[str, Any]]) -> Iterator[Any]:
    yield f"{name} of {len(named)}".encode()
    for key, value in named:
        yield key.encode()
        yield from _parts(value)
