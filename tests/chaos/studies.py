"""What is sent: radiographs in masses, a CT of 3,000 slices, a cine of 500 MB, and studies that are poison."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless

from intake.scu import encode
from synthetic import cine, compress, radiograph, slices, stack

DEFLATED = "1.2.840.10008.1.2.1.99"
_BOMB = 256 << 20
"""Bytes that the deflated poison inflates to."""


@dataclass(frozen=True)
class Encoded:
    """One instance as it goes over the wire."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    data: bytes


@dataclass(frozen=True)
class OutgoingStudy:
    """A study to be sent. `kind` says what should come of it: film, ct, cine, poison, hung, greedy."""

    study_instance_uid: str
    kind: str
    instances: Sequence[Encoded]
    count: int
    """How many instances there are, where `instances` makes them one by one."""
    name: str = ""

    @property
    def healthy(self) -> bool:
        """Whether results have to come of it."""
        return self.kind in ("film", "ct", "cine")


def encoded(data: Dataset, syntax: str | None = None) -> Encoded:
    """An instance in its own transfer syntax, or in an uncompressed or deflated one."""
    own = str(data.file_meta.TransferSyntaxUID)
    as_it_is = syntax is None and own != ExplicitVRLittleEndian
    body = _as_it_is(data) if as_it_is else encode(data, syntax or own)
    return Encoded(str(data.SOPInstanceUID), str(data.SOPClassUID), syntax or own, body)


def _as_it_is(data: Dataset) -> bytes:
    file = BytesIO()
    data.save_as(file, enforce_file_format=True)
    content = file.getvalue()
    (length,) = struct.unpack("<I", content[140:144])  # (0002,0000), the group's length
    return content[144 + length :]


def film(name: str, number: int = 1, *, body_part: str = "CHEST") -> Dataset:
    """A radiograph of 40 × 40 pixels with one bright spot."""
    pixels = np.full((40, 40), 300, np.uint16)
    pixels[10:16, 20:26] = 4000
    return radiograph(pixels, study=name, series=name, number=number, body_part=body_part)


def films(name: str, count: int) -> OutgoingStudy:
    """A study of so many radiographs in one series."""
    made = [film(name, number + 1) for number in range(count)]
    return OutgoingStudy(str(made[0].StudyInstanceUID), "film", tuple(map(encoded, made)), count, name)


def of_bad_model(kind: str, name: str) -> OutgoingStudy:
    """A healthy radiograph that the route gives to a bad model: `kind` is hung or greedy."""
    made = film(name, body_part=kind.upper())
    return OutgoingStudy(str(made.StudyInstanceUID), kind, (encoded(made),), 1, name)


class _Slices(Sequence[Encoded]):
    """The slices of a CT, made as they are asked for."""

    def __init__(self, name: str, count: int, matrix: int) -> None:
        self._name, self._planes, self._matrix = name, stack(count, (matrix, matrix), distance=0.3), matrix
        self.study_instance_uid = str(self._one(0).StudyInstanceUID)

    def _one(self, index: int) -> Dataset:
        volume = np.full((1, self._matrix, self._matrix), -500.0, np.float32)
        middle = self._matrix // 2
        if abs(index - len(self._planes) // 2) < len(self._planes) // 20:
            volume[0, middle - 8 : middle + 8, middle - 8 : middle + 8] = 1200
        (data,) = slices(volume, [self._planes[index]], study=self._name, series=self._name)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"{data.SOPInstanceUID[:-4]}{index:04d}"
        data.InstanceNumber = index + 1
        return data

    def __len__(self) -> int:
        return len(self._planes)

    def __getitem__(self, index: int) -> Encoded:  # type: ignore[override]
        if index >= len(self):
            raise IndexError(index)
        return encoded(self._one(index), DEFLATED)


def computed_tomography(name: str, count: int = 3000, matrix: int = 512) -> OutgoingStudy:
    """A CT of so many slices; deflated on the way, since most of it is air."""
    made = _Slices(name, count, matrix)
    return OutgoingStudy(made.study_instance_uid, "ct", made, count, name)


def multi_frame(name: str, size: int = 500 << 20) -> OutgoingStudy:
    """A cine of `size` bytes in one instance, not compressed."""
    frames = np.zeros((max(1, size // (512 * 1024)), 512, 1024), np.uint8)
    frames[:, 200:260, 500:580] = 250
    data = cine(frames, study=name, series=name)
    return OutgoingStudy(str(data.StudyInstanceUID), "cine", (encoded(data),), 1, name)


# --- poison ------------------------------------------------------------------------------------------------------
def _poison(name: str, which: str, instance: Encoded, study_instance_uid: str) -> OutgoingStudy:
    return OutgoingStudy(study_instance_uid, "poison", (instance,), 1, f"{which}: {name}")


def _truncated(name: str) -> OutgoingStudy:
    whole = encoded(film(name))
    cut = Encoded(whole.sop_instance_uid, whole.sop_class_uid, whole.transfer_syntax_uid, whole.data[:-1001])
    return _poison(name, "truncated", cut, str(film(name).StudyInstanceUID))


def _no_pixels(name: str) -> OutgoingStudy:
    data = film(name)
    del data.PixelData
    return _poison(name, "no pixel data", encoded(data), str(data.StudyInstanceUID))


def _half_the_pixels(name: str) -> OutgoingStudy:
    data = film(name)
    data.PixelData = data.PixelData[: len(data.PixelData) // 2]
    return _poison(name, "half the pixels", encoded(data), str(data.StudyInstanceUID))


def _codestream(name: str, which: str, change: Callable[[bytes], bytes]) -> OutgoingStudy:
    data = compress(film(name), JPEG2000Lossless)
    (frame,) = generate_frames(data.PixelData, number_of_frames=1)
    data.PixelData = encapsulate([change(frame)])
    data["PixelData"].is_undefined_length = True
    return _poison(name, which, encoded(data), str(data.StudyInstanceUID))


def _cut_codestream(name: str) -> OutgoingStudy:
    return _codestream(name, "half a codestream", lambda frame: frame[: len(frame) // 4 * 2])


def _huge_codestream(name: str) -> OutgoingStudy:
    """A JPEG 2000 header that claims 65535 × 65535 pixels around 40 × 40."""

    def claimed(frame: bytes) -> bytes:
        size = frame.index(b"\xff\x51") + 6  # SIZ: marker, length, capabilities, then Xsiz, Ysiz, XOsiz, YOsiz, XTsiz …
        huge = struct.pack(">II", 65535, 65535)
        return frame[:size] + huge + frame[size + 8 : size + 16] + huge + frame[size + 24 :]

    return _codestream(name, "a codestream that claims 65535 × 65535", claimed)


def _bomb(name: str) -> OutgoingStudy:
    """Zeros in a private element that deflate a thousandfold."""
    data = film(name)
    data.add_new(0x00990010, "LO", "CHAOS")
    plain = encode(data)
    element = struct.pack("<HH2sHI", 0x0099, 0x1001, b"OB", 0, _BOMB)
    place = plain.index(struct.pack("<HH", 0x0099, 0x0010))
    place += 8 + struct.unpack("<H", plain[place + 6 : place + 8])[0]
    deflater = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = [deflater.compress(plain[:place] + element)]
    body += [deflater.compress(bytes(1 << 20)) for _ in range(_BOMB >> 20)]
    body += [deflater.compress(plain[place:]), deflater.flush()]
    joined = b"".join(body)
    joined += b"\0" * (len(joined) % 2)
    instance = Encoded(str(data.SOPInstanceUID), str(data.SOPClassUID), DEFLATED, joined)
    return _poison(name, "a deflated bomb", instance, str(data.StudyInstanceUID))


def _nested(name: str) -> OutgoingStudy:
    """Sequences of undefined length, 2,000 deep."""
    data = film(name)
    plain = encode(data)
    sequence = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 2**32 - 1
    )
    ends = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    place = plain.index(struct.pack("<HH2s", 0x7FE0, 0x0010, b"OW"))
    body = plain[:place] + sequence * 2000 + ends * 2000 + plain[place:]
    instance = Encoded(str(data.SOPInstanceUID), str(data.SOPClassUID), ExplicitVRLittleEndian, body)
    return _poison(name, "sequences 2,000 deep", instance, str(data.StudyInstanceUID))


POISON: Mapping[str, Callable[[str], OutgoingStudy]] = {
    "truncated": _truncated,
    "no-pixel-data": _no_pixels,
    "half-the-pixels": _half_the_pixels,
    "half-a-codestream": _cut_codestream,
    "huge-codestream": _huge_codestream,
    "deflated-bomb": _bomb,
    "nested-sequences": _nested,
}
"""Poison by its name."""
