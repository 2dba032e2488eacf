"""Native pixels of which each frame is read from the file when it is asked for give what reading all of them gives."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

import synthetic
from whyray.base.errors import DecodeError
from whyray.imaging import pixels_in_file, read_images
from whyray.imaging.decode import stored_frames
from whyray.imaging.instance import open_instance
from whyray.imaging.isolated import IsolatedGdcm

COUNT = 5


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels_in_file, "LEAST", 8)


def cine(**changes: object) -> FileDataset:
    """Frames of 7 x 9 pixels, so that those of 8 bits have an odd length."""
    grey = np.random.default_rng(3).integers(0, 255, (COUNT, 7, 9), np.uint8)
    data = synthetic.cine(np.repeat(grey[..., None], 3, axis=-1) if "SamplesPerPixel" in changes else grey)
    for keyword, value in changes.items():
        setattr(data, keyword, value)
    samples = 2 if data.PhotometricInterpretation == "YBR_FULL_422" else data.SamplesPerPixel
    bits = COUNT * data.Rows * data.Columns * samples * data.BitsAllocated
    content = np.random.default_rng(4).integers(0, 255, -(-bits // 8), np.uint8).tobytes()
    data.PixelData = content + b"\0" * (len(content) % 2)
    return data


def write(data: Dataset, folder: Path) -> Path:
    path = folder / "run.dcm"
    data.save_as(path, enforce_file_format=True)
    return path


def frames(data: Dataset, in_file: pixels_in_file.PixelsInFile | None) -> list[np.ndarray]:
    with IsolatedGdcm() as isolated:
        wanted = range(1, COUNT + 1)
        return [frame.values for frame in stored_frames(data, "1.2", wanted, isolated, in_file)]


COLOUR = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1},
        {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0},
        {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31},
        COLOUR,
        {**COLOUR, "PlanarConfiguration": 1},
        {**COLOUR, "PhotometricInterpretation": "YBR_FULL_422", "Columns": 10},
    ],
)
def test_each_frame_is_what_it_is_among_all_of_them(changes: dict[str, object], syntax: str, tmp_path: Path) -> None:
    data = cine(**changes)
    data.file_meta.TransferSyntaxUID = syntax
    instance = open_instance(write(data, tmp_path))
    with_header, in_file = instance.with_pixels_in_file()
    assert in_file is not None
    assert "PixelData" not in with_header
    for own, whole in zip(frames(with_header, in_file), frames(instance.with_pixels(), None), strict=True):
        np.testing.assert_array_equal(own, whole)
        assert own.dtype == whole.dtype


def test_a_file_in_the_other_representation_than_it_says_is_read_as_it_is(tmp_path: Path) -> None:
    path = write(cine(), tmp_path)
    content = path.read_bytes()
    implicit = bytes(ImplicitVRLittleEndian, "ascii") + b"\0"
    explicit = bytes(ExplicitVRLittleEndian, "ascii") + b"\0"
    other = cine()
    other.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    plain = write(other, tmp_path).read_bytes()
    start = plain.index(b"\x08\x00\x05\x00")
    mixed = content[: content.index(b"\x08\x00\x05\x00CS")] + plain[start:]
    assert explicit[:-2] in mixed[:400]
    assert implicit[:-1] in plain[:400]
    path.write_bytes(mixed)
    with_header, in_file = open_instance(path).with_pixels_in_file()
    assert in_file is not None
    for own, whole in zip(frames(with_header, in_file), frames(open_instance(path).with_pixels(), None), strict=True):
        np.testing.assert_array_equal(own, whole)


def test_frames_of_a_bit_a_pixel_that_begin_within_a_byte_are_read(tmp_path: Path) -> None:
    data = cine(BitsAllocated=1, BitsStored=1, HighBit=0)
    bits = np.unpackbits(np.frombuffer(data.PixelData, np.uint8), bitorder="little")[: COUNT * 63]
    with_header, in_file = open_instance(write(data, tmp_path)).with_pixels_in_file()
    for found in (frames(data, None), frames(with_header, in_file)):
        np.testing.assert_array_equal(np.array(found), bits.reshape(COUNT, 7, 9))


def test_big_endian_words_and_what_stands_twice_are_read_whole(tmp_path: Path) -> None:
    data = cine()
    data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    path = tmp_path / "big.dcm"
    dcmwrite(path, data, implicit_vr=False, little_endian=False, force_encoding=True)
    assert open_instance(path).with_pixels_in_file()[1] is None
    twice = write(cine(), tmp_path)
    twice.write_bytes(twice.read_bytes() + twice.read_bytes()[-12 - 2 * (COUNT * 63 // 2 + 1) :])
    assert open_instance(twice).with_pixels_in_file()[1] is None


@pytest.mark.parametrize("shape", [(3, 3, 5), (5, 8, 4), (7, 13, 9), (1, 8, 8), (4, 5, 5)])
@pytest.mark.parametrize("representation", ["OW", "OB"])
@pytest.mark.parametrize("bits", [1, 8])
def test_pixels_of_a_bit_or_a_byte_lie_in_the_words_of_a_big_endian_file(
    bits: int, representation: str, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    """PS3.5 section 8.1.1 and annex D: the first pixel is in the low bits of a word, which is the second byte there."""
    wanted = np.random.default_rng(5).integers(0, 2**bits, shape, np.uint8)
    content = (np.packbits(wanted, bitorder="little") if bits == 1 else wanted).tobytes()
    content += b"\0" * (len(content) % 2)
    data = synthetic.cine(wanted)
    data.BitsAllocated = data.BitsStored = bits
    data.HighBit = bits - 1
    data.PixelData = np.frombuffer(content, "<u2").astype(">u2").tobytes() if representation == "OW" else content
    data["PixelData"].VR = representation
    data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    path = tmp_path / "big.dcm"
    dcmwrite(path, data, implicit_vr=False, little_endian=False, force_encoding=True)
    with IsolatedGdcm() as isolated:
        numbers = range(1, shape[0] + 1)
        found = [frame.values for frame in stored_frames(open_instance(path).with_pixels(), "1.2", numbers, isolated)]
    np.testing.assert_array_equal(np.array(found), wanted)


def test_big_endian_words_that_end_within_one_are_refused() -> None:
    data = synthetic.cine(np.zeros((3, 3, 5), np.uint8))
    data.PixelData, data["PixelData"].VR = data.PixelData[:45], "OW"
    data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    with IsolatedGdcm() as isolated, pytest.raises(DecodeError, match="words of 2 bytes"):
        next(stored_frames(data, "1.2", [1], isolated))


def test_too_few_and_too_many_bytes_are_refused_with_their_number(tmp_path: Path) -> None:
    for frames_said in (COUNT - 1, COUNT + 1):
        data = cine()
        data.NumberOfFrames = frames_said
        (refusal,) = read_images([write(data, tmp_path)]).refusals
        assert isinstance(refusal.error, DecodeError)
        assert f"{frames_said} frames of 7 rows" in refusal.error.message


def test_a_file_that_ends_within_its_pixels_is_refused(tmp_path: Path) -> None:
    path = write(cine(), tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    (refusal,) = read_images([path]).refusals
    assert isinstance(refusal.error, DecodeError)


def test_an_instance_of_many_frames_is_never_in_memory_twice(tmp_path: Path) -> None:
    pixels = np.zeros((40, 128, 128), np.uint8)
    path = write(synthetic.cine(pixels), tmp_path)
    tracemalloc.start()
    try:
        read_images([path]).or_raise()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.8 * pixels.nbytes
