"""The values that a model gets are those that the standard says a viewer shows, or the scanner's own units."""

from __future__ import annotations

import subprocess
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import DataElement, Dataset
from pydicom.dataset import FileDataset

import mammography
import synthetic
from peers import require
from whyray.base.errors import ImageError
from whyray.imaging import SourceImage, pixel_frames, read_images
from whyray.imaging.photometry import Rescale, Window, shows_something
from whyray.imaging.pixel_frames import PixelFrame, any_shows_something, sample_of

RAMP = np.arange(4096).reshape(64, 64)


def read(data: FileDataset) -> SourceImage:
    return read_images([data]).or_raise()[0]


def test_monochrome1_and_its_inverted_monochrome2_twin_are_displayed_alike() -> None:
    one = read(synthetic.radiograph(4095 - RAMP, photometric="MONOCHROME1", window=(2048, 4096)))
    two = read(synthetic.radiograph(RAMP, photometric="MONOCHROME2", window=(2048, 4096)))
    np.testing.assert_allclose(one.display, two.display, atol=3e-4)
    assert one.display[0, -1, -1] > 0.99


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("LINEAR", lambda x, c, w: np.clip((x - (c - 0.5)) / (w - 1) + 0.5, 0, 1)),
        ("LINEAR_EXACT", lambda x, c, w: np.clip((x - c) / w + 0.5, 0, 1)),
        ("SIGMOID", lambda x, c, w: 1 / (1 + np.exp(-4 * (x - c) / w))),
    ],
)
def test_windows_follow_the_function_that_the_source_names(function: str, expected: object) -> None:
    data = synthetic.radiograph(RAMP, window=(1500, 900))
    data.VOILUTFunction = function
    np.testing.assert_allclose(read(data).display[0], expected(RAMP, 1500, 900), atol=1e-5)  # type: ignore[operator]


def test_the_first_of_several_windows_is_taken() -> None:
    data = synthetic.radiograph(RAMP)
    data.WindowCenter, data.WindowWidth = [1000, 3000], [500, 100]
    other = synthetic.radiograph(RAMP, window=(1000, 500))
    np.testing.assert_array_equal(read(data).display, read(other).display)


def test_a_window_of_width_one_is_a_threshold() -> None:
    display = read(synthetic.radiograph(RAMP, window=(2000, 1))).display[0]
    assert set(np.unique(display)) == {0.0, 1.0}
    assert (display == 1).sum() == (RAMP > 1999.5).sum()


@pytest.mark.parametrize("window", [(-50_000, 100), (1e6, 200)])
def test_a_window_that_fits_no_pixel_gives_way_to_percentiles_and_says_so(window: tuple[float, float]) -> None:
    image = read(synthetic.radiograph(RAMP, window=window))
    assert np.asarray(image.display).std() > 0.25
    assert "fits no pixel" in image.notes[0].detail


@given(hnp.arrays(np.float32, st.integers(1, 3000), elements=st.integers(0, 60)), st.floats(-5, 65), st.floats(0.5, 30))
@example(np.repeat(np.float32([10, 50]), [2998, 2]), 40.0, 10.0)
@example(np.repeat(np.float32([10, 50]), [2990, 10]), 40.0, 10.0)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_window_shows_something_where_one_value_in_a_thousand_lies_inside(
    values: np.ndarray, low: float, width: float
) -> None:
    lowest, highest = np.percentile(values, (0.1, 99.9))
    shown = bool(lowest == highest or (highest > low and lowest < low + width))
    assert shows_something(Window(low + width / 2, width, "LINEAR_EXACT"), values) == shown


@given(
    hnp.arrays(np.uint16, (23, 31), elements=st.integers(0, 60)),
    st.floats(-5, 65),
    st.floats(0.5, 30),
    st.sampled_from([None, (0, 20), (0, 60)]),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_part_of_the_values_says_of_a_window_what_all_of_them_say(
    stored: np.ndarray, low: float, width: float, padding: tuple[int, int] | None
) -> None:
    frames = [PixelFrame(Dataset(), frame, Rescale(), padding) for frame in (stored, stored[::-1].copy())]
    window = Window(low + width / 2, width, "LINEAR_EXACT")
    assert any_shows_something([window], frames) == shows_something(window, sample_of(frames))


@given(
    st.integers(1, 5),
    st.integers(3, 40),
    st.integers(3, 40),
    st.integers(1, 400),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.001, 0.003, 0.01, 0.3]),
    st.sampled_from([None, (0, 0), (7, 7)]),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_of_many_values_every_so_many_th_is_taken_across_frames_and_a_part_of_these_says_the_same(
    count: int, rows: int, columns: int, sample: int, seed: int, share: float, padding: tuple[int, int] | None
) -> None:
    """Every real CT has more values than are sampled."""
    random = np.random.default_rng(seed)
    stored = np.where(random.random((count, rows, columns)) < share, 7, 0).astype(np.uint16)
    frames = [PixelFrame(Dataset(), frame, Rescale(), padding) for frame in stored]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixel_frames, "SAMPLE", sample)
        step = max(1, stored.size // sample) | 1
        wanted = stored.reshape(-1)[::step]
        taken = wanted if padding is None else wanted[wanted != padding[0]]
        np.testing.assert_array_equal(sample_of(frames), taken)
        for window in (Window(5, 10, "LINEAR_EXACT"), Window(11, 10, "LINEAR_EXACT"), Window(-4, 6, "LINEAR_EXACT")):
            assert any_shows_something([window], frames) == shows_something(window, sample_of(frames))


@pytest.mark.parametrize(("bright", "shown"), [(2, False), (4, True)])
def test_a_few_bright_values_that_all_lie_in_the_part_are_still_few(
    bright: int, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of 3000 sampled values are under one in a thousand, though of the part that is looked at they are over."""
    monkeypatch.setattr(pixel_frames, "SAMPLE", 3000)
    step, part = 3, 16
    stored = np.arange(3 * 3000, dtype=np.uint16) % 2
    stored[step * part * np.arange(1, bright + 1)] = 7
    frames = [PixelFrame(Dataset(), frame, Rescale(), None) for frame in stored.reshape(3, 60, 50)]
    window = Window(10, 10, "LINEAR_EXACT")
    assert sample_of(frames).size == 3000
    assert any_shows_something([window], frames) == shows_something(window, sample_of(frames)) == shown


@pytest.mark.parametrize("width", [0, -5])
def test_a_window_without_width_counts_as_none(width: int) -> None:
    image = read(synthetic.radiograph(RAMP, window=(100, width)))
    assert np.asarray(image.display).std() > 0.25
    assert "no window" in image.notes[0].detail


def test_a_picture_of_one_value_is_read() -> None:
    assert np.isfinite(read(synthetic.radiograph(np.full((8, 8), 7))).display).all()
    assert not read(synthetic.radiograph(np.full((8, 8), 7), window=(100, 50))).notes


def test_a_voi_lut_comes_before_the_window() -> None:
    data = synthetic.radiograph(RAMP, window=(1, 2))
    table = Dataset()
    table.LUTDescriptor = [4, 1000, 8]
    table.LUTData = bytes([0, 51, 102, 255])
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    data.VOILUTSequence = [table]
    shown = read(data).display[0].ravel()
    np.testing.assert_allclose(shown[[0, 1000, 1001, 1002, 1003, 4000]], [0, 0, 0.2, 0.4, 1, 1], atol=1e-6)


def test_a_modality_lut_gives_modality_values() -> None:
    data = synthetic.radiograph(np.array([[0, 5, 6, 7, 100]]), bits=16)
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [3, 5, 16], [10, 20, 40_000]
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
    data.ModalityLUTSequence = [table]
    assert read(data).modality[0, 0].tolist() == [10, 10, 20, 40_000, 40_000]


def test_rescale_gives_hounsfield_units_of_signed_pixels() -> None:
    volume = np.linspace(-1000, 3000, 64).reshape(1, 8, 8).astype(np.int16)
    (data,) = synthetic.slices(volume, synthetic.stack(1, (8, 8), distance=[]), rescale=(0.5, -1024.0))
    np.testing.assert_allclose(read(data).modality, volume, atol=0.25)


def test_a_slope_of_zero_is_refused() -> None:
    (data,) = synthetic.slices(np.zeros((1, 8, 8), np.int16), synthetic.stack(1, (8, 8), distance=[]))
    data.RescaleSlope = 0
    with pytest.raises(ImageError, match="Rescale Slope other than 0"):
        read(data)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_marked_black_and_kept_out_of_the_window(photometric: str) -> None:
    pixels = np.where(np.indices((64, 64))[0] < 32, 60_000, 100 + RAMP // 64)
    data = synthetic.radiograph(pixels, bits=16, photometric=photometric, padding_value=60_000)  # type: ignore[arg-type]
    image = read(data)
    assert image.padding[0, :32].all()
    assert not image.padding[0, 32:].any()
    assert (image.display[0, :32] == 0).all()
    assert image.display[0, 32:].std() > 0.2, "the window is made from the image, not from the padding"


def test_a_padding_range_and_a_padding_value_of_the_wrong_sign_are_understood() -> None:
    volume = np.array([[[-2000, -1999, -1500, 0]]], np.int16)
    (data,) = synthetic.slices(volume, synthetic.stack(1, (1, 4), distance=[]), rescale=(1.0, 0.0), padding_value=-2000)
    data.PixelPaddingRangeLimit = -1999
    data["PixelPaddingRangeLimit"].VR = "SS"
    assert read(data).padding[0, 0].tolist() == [True, True, False, False]
    data["PixelPaddingValue"] = DataElement(0x00280120, "US", 2**16 - 2000)
    data["PixelPaddingRangeLimit"] = DataElement(0x00280121, "US", 2**16 - 1999)
    assert read(data).padding[0, 0].tolist() == [True, True, False, False]


def test_overlays_in_unused_bits_are_ignored() -> None:
    data = synthetic.radiograph(RAMP | 0xF000, bits=12)
    np.testing.assert_array_equal(read(data).modality[0], RAMP)


@pytest.mark.parametrize("planar", [0, 1])
def test_colour_is_red_green_blue_in_either_planar_configuration(planar: int) -> None:
    colour = np.zeros((4, 6, 3), np.uint8)
    colour[:, :2, 0], colour[:, 2:4, 1], colour[:, 4:, 2] = 255, 255, 255
    data = synthetic.radiograph(np.zeros((4, 6)))
    data.SOPClassUID, data.Modality = "1.2.840.10008.5.1.4.1.1.7", "OT"
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "RGB", planar
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    data.PixelData = (colour.transpose(2, 0, 1) if planar else colour).tobytes()
    image = read(data)
    np.testing.assert_array_equal(image.display[0], colour / 255)
    np.testing.assert_allclose(image.modality[0, 0, ::2], [76.245, 149.685, 29.07], atol=1e-3)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("shared", [False, True])
def test_a_voi_lut_of_a_frame_is_applied_as_one_of_an_instance(photometric: str, shared: bool) -> None:
    """Tomosynthesis has its tables in functional groups (PS3.3 C.7.6.16.2.10b): it was shown without, and inverted."""
    windowed = mammography.tomosynthesis("R", "CC", photometric=photometric)  # type: ignore[arg-type]
    tabled = mammography.tomosynthesis("R", "CC", tables=True, photometric=photometric)  # type: ignore[arg-type]
    if shared:
        groups = tabled.PerFrameFunctionalGroupsSequence
        tabled.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence = groups[0].FrameVOILUTSequence
        for group in groups:
            del group.FrameVOILUTSequence
    image = read(tabled)
    assert image.notes == ()
    np.testing.assert_allclose(image.display, read(windowed).display, atol=1e-3)
    assert image.display[4].max() > 0.9
    assert image.display[4].mean() < 0.5


def test_a_window_of_a_frame_comes_before_a_voi_lut_of_its_instance() -> None:
    data = mammography.tomosynthesis("R", "CC")
    expected = np.asarray(read(data).display)
    data.VOILUTSequence = [mammography.voi_table(1023 - np.arange(1024), bits=10)]
    np.testing.assert_array_equal(read(data).display, expected)


@pytest.mark.parametrize("relationship", ["LIN", "LOG", "DISP"])
@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2"])
@pytest.mark.parametrize("transform", ["table", "rescale"])
def test_angiography_and_fluoroscopy_are_shown_without_their_modality_transform_as_by_dcmtk(
    relationship: str, sop_class: str, transform: str, tmp_path: Path
) -> None:
    """Theirs leads to the intensity of the beam; applied, it showed vessels bright that viewers show dark."""
    data = synthetic.radiograph(RAMP, window=(2048, 4096))
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = sop_class
    data.Modality, data.PixelIntensityRelationship = "XA", relationship
    if transform == "table":
        table = mammography.voi_table(65535 - 16 * np.arange(4096), bits=16)
        table.ModalityLUTType, table.LUTExplanation = "US", "to the beam's intensity"
        data.ModalityLUTSequence = [table]
    else:
        data.RescaleSlope, data.RescaleIntercept, data.RescaleType = "-1", "4095", "US"
    (path,) = synthetic.write([data], tmp_path)
    shown = tmp_path / "shown.pgm"
    subprocess.run([require("dcm2pnm", "dcmtk"), "+Wi", "1", path, shown], check=True)
    np.testing.assert_allclose(read(data).display[0], np.asarray(Image.open(shown)) / 255, atol=1 / 255)
