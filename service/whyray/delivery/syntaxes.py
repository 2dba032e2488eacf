"""In which transfer syntaxes a file may go to a destination: as stored, converted, or compressed where both can."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from whyray.base.errors import ProcessKilled, TimeLimit
from whyray.delivery.outgoing import Outgoing

COMPRESSION_FAILED = (ProcessKilled, TimeLimit)
"""The encoder's end, not the object's fault: that goes in another transfer syntax."""
UNCOMPRESSED = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))


class Compression(Protocol):
    """Lossless compression of files, by somebody who knows pixels."""

    def syntaxes(self, sop_class_uid: str, /) -> frozenset[str]:
        """Transfer syntax UIDs that objects of this SOP Class can be compressed to."""
        ...

    def compressed(self, file: Path, transfer_syntax_uid: str, /) -> bytes:
        """The DICOM file (PS3.10) compressed. Raises one of `COMPRESSION_FAILED` if the encoder fails."""
        ...


class NoCompression:
    """Every file stays as it is."""

    def syntaxes(self, _: str, /) -> frozenset[str]:
        """None."""
        return frozenset()

    def compressed(self, file: Path, _: str, /) -> bytes:
        """The file itself."""
        return file.read_bytes()


def uncompressed(wanted: Sequence[str]) -> tuple[str, ...]:
    """Those of a destination's transfer syntaxes that any object can go in; all of them where it names none."""
    return tuple(syntax for syntax in wanted if syntax in UNCOMPRESSED) or UNCOMPRESSED


def compressions(sop_class_uid: str, wanted: Sequence[str], compression: Compression) -> list[str]:
    """Those of a destination's transfer syntaxes that objects of this class can be compressed to, preferred first."""
    others = [syntax for syntax in wanted if syntax not in UNCOMPRESSED]
    possible = compression.syntaxes(sop_class_uid) if others else frozenset()
    return [other for other in others if other in possible]


def ways(file: Outgoing, wanted: Sequence[str], compression: Compression) -> list[str]:
    """Transfer syntaxes in which this file may go, best first: the destination's order counts.

    Where the destination names several uncompressed ones, the one in which the file is stored goes before the others,
    since nothing is gained by encoding it anew. What is stored compressed goes so or not at all.
    """
    stored, plain = file.transfer_syntax_uid, uncompressed(wanted)
    syntax = UID(stored)
    if stored not in UNCOMPRESSED:
        return [stored] if syntax.is_compressed and not syntax.is_deflated else [stored, *plain]
    smaller = compressions(file.sop_class_uid, wanted, compression)
    first = next((number for number, uid in enumerate(wanted) if uid in plain), len(wanted))
    before = [uid for uid in smaller if wanted.index(uid) < first]
    after = [uid for uid in smaller if wanted.index(uid) > first]
    return [*before, *sorted(plain, key=lambda uid: uid != stored), *after]
