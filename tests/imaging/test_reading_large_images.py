"""What reading takes of memory and says of itself: of images of hundreds of megabytes, shown on small ones."""

from __future__ import annotations

import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless

import real_size
import synthetic
from whyray.base.errors import Cancelled, ResourceExhausted
from whyray.base.free_memory import memory_left, process_field
from whyray.imaging import extent, read, read_images, values_in_unit
from whyray.imaging.codestream import CodestreamHeader
from whyray.imaging.instance import Instance
from whyray.imaging.pixel_description import pixel_description
from whyray.imaging.stored_values import values_of_codestream
from whyray.packages.manifest import Intensity

SHAPE = (256, 192)


def written(folder: Path, count: int, syntax: str = ExplicitVRLittleEndian) -> Path:
    plain, shown = real_size.spotted(SHAPE, 10, (80, 70), 9)
    frames = real_size.in_frames(plain, shown, [2])
    return real_size.write_large(real_size.breast_volume(SHAPE, count), frames, count, syntax, folder / "tomo.dcm")


@pytest.mark.parametrize("signed", [False, True])
def test_a_frame_whose_codestream_says_what_the_data_set_says_is_not_widened(signed: bool) -> None:
    pixels = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256) >> 4
    header = synthetic.radiograph(pixels, bits=12)
    header.PixelRepresentation = int(signed)
    decoded = pixels.astype(np.int16) - 2048 if signed else pixels
    stated = CodestreamHeader("JPEG 2000", 256, 256, 1, 12, signed)
    tracemalloc.start()
    try:
        values, notes = values_of_codestream(decoded, stated, pixel_description(header))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.array_equal(values, decoded)
    assert values.dtype == decoded.dtype
    assert notes == ()
    assert peak < decoded.nbytes, "no copy of a mammogram in 64 bits a pixel"


def test_reading_says_how_far_it_is(tmp_path: Path) -> None:
    path, told = written(tmp_path, 8, JPEGLSLossless), []
    read_images([path], told.append).or_raise()
    assert told == [f"frame {number} of 8" for number in range(1, 9)]


def test_reading_thousands_of_frames_says_so_now_and_then(tmp_path: Path) -> None:
    planes = synthetic.stack(330, (4, 4), distance=1.0)
    told: list[str] = []
    read_images([synthetic.enhanced(np.zeros((330, 4, 4)), planes)], told.append).or_raise()
    assert told[:2] == ["frame 6 of 330", "frame 12 of 330"]
    assert len(told) == 55


def test_reading_ends_between_two_frames_where_it_is_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, decoded, decoding = written(tmp_path, 8, JPEG2000Lossless), [], read.stored_frames

    def counted(*arguments: object) -> object:
        for frame in decoding(*arguments):  # type: ignore[arg-type]
            decoded.append(frame)
            yield frame

    def told(words: str) -> None:
        if words.startswith("frame 3"):
            raise Cancelled("an administrator said so")

    monkeypatch.setattr(read, "stored_frames", counted)
    with pytest.raises(Cancelled):
        read_images([path], told)
    assert len(decoded) == 3


def test_what_a_process_may_hold_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, 60, JPEGLSLossless)
    decoded: list[object] = []
    monkeypatch.setattr(read, "stored_frames", lambda *arguments: decoded.append(arguments))
    before = resource.getrlimit(resource.RLIMIT_RSS)
    resource.setrlimit(resource.RLIMIT_RSS, (process_field(Path("/proc/self/status"), "VmRSS") + (4 << 20), before[1]))
    try:
        with pytest.raises(ResourceExhausted, match="60 frames of 256 x 192 pixels, 5 MiB"):
            read_images([path])
    finally:
        resource.setrlimit(resource.RLIMIT_RSS, before)
    assert not decoded


def test_what_a_worker_lets_its_process_hold_is_what_is_left_to_it() -> None:
    before = resource.getrlimit(resource.RLIMIT_RSS)
    try:
        resource.setrlimit(resource.RLIMIT_RSS, (1 << 20, before[1]))
        assert memory_left() == 0
    finally:
        resource.setrlimit(resource.RLIMIT_RSS, before)


def test_the_frames_of_a_cine_keep_one_shown_frame_together() -> None:
    frames = np.random.default_rng(1).integers(0, 255, (12, 256, 256), np.uint8)
    images = read_images([synthetic.cine(frames)]).or_raise()
    tracemalloc.start()
    try:
        for image in images:
            assert np.isclose(image.display[0][3, 5], frames[image.frames[0].frame_number - 1][3, 5] / 255, atol=0.01)
            assert image.modality[0].shape == image.padding[0].shape == (256, 256)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < 3 * 256 * 256 * 4, "and not one for each"
    assert images[0].display[0] is images[0].display[0]


def mapped_run(frames: np.ndarray) -> FileDataset:
    made, item, code = synthetic.cine(frames), Dataset(), Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "ms", "UCUM", "ms"
    item.MeasurementUnitsCodeSequence = [code]
    item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = 0, 255
    item.RealWorldValueSlope, item.RealWorldValueIntercept = 2.0, 0.0
    made.RealWorldValueMappingSequence = [item]
    return made


@pytest.mark.parametrize("unit", ["ms", "s"])
def test_the_frames_of_a_cine_keep_one_frame_in_their_unit_together(unit: str) -> None:
    frames = np.random.default_rng(1).integers(0, 255, (12, 256, 256), np.uint8)
    images = read_images([mapped_run(frames)]).or_raise()
    wanted = Intensity(source="modality", window=(0, 1), unit=unit)
    tracemalloc.start()
    try:
        for image in images:
            shown = values_in_unit(image, wanted)[0]
            number = image.frames[0].frame_number
            assert np.isclose(shown[3, 5], float(frames[number - 1][3, 5]) * (2 if unit == "ms" else 0.002))
            assert values_in_unit(image, wanted)[0] is shown, "what is asked for again is not made again"
        del shown
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < 3 * 256 * 256 * 4, "and not one for each"


def test_a_film_for_which_its_own_frame_leaves_too_little_is_for_another_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    film = synthetic.radiograph(np.zeros((512, 512), np.uint16))
    monkeypatch.setattr(extent, "memory_left", lambda: 4 << 20)
    with pytest.raises(ResourceExhausted, match="need some 9 MiB of memory, and 4 MiB are left"):
        read_images([film])


def test_the_same_file_given_twice_is_compared_without_its_pixels_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, 4, JPEGLSLossless)
    copy = tmp_path / "again.dcm"
    copy.write_bytes(path.read_bytes())
    read_whole: list[Path] = []
    whole = Instance.with_pixels
    monkeypatch.setattr(Instance, "with_pixels", lambda instance: read_whole.append(instance.source) or whole(instance))
    (image,) = read_images([path, copy]).or_raise()
    assert image.shape[0] == 4
    assert read_whole == []


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_process_of_jobs_knows_what_it_may_hold(device: str) -> None:
    ask = (
        "from whyray.base.free_memory import memory_left; from whyray.jobs.memory_limit import limit_this_process; "
        f"limit_this_process(200 << 20, '{device}'); print(memory_left())"
    )
    said = subprocess.run([sys.executable, "-c", ask], check=True, capture_output=True, text=True)
    assert 0 < int(said.stdout) < 200 << 20
