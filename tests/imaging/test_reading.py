"""Whatever arrives is read rightly or refused by name: real odd files, damaged files, every transfer syntax."""

from __future__ import annotations

import base64
import random
import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import HTJ2KLossless, RLELossless

import synthetic
from whyray.base.errors import DecodeError, GeometryError, ImageError, WhyRayError
from whyray.imaging import NoteKind, SourceImage, StudyImages, read_images
from whyray.imaging.isolated import IsolatedGdcm

WHEEL = Path(pydicom.__file__).parent / "data" / "test_files"
DATA_STORE = Path(pydicom.__file__).parents[1] / "data_store" / "data"
SLOW = {"color3d_jpeg_baseline.dcm"}

REFUSED = {
    "JPEG2000-embedded-sequence-delimiter.dcm": DecodeError,
    "MR_truncated.dcm": DecodeError,
    "emri_small_jpeg_2k_lossless_too_short.dcm": DecodeError,
    "liver.dcm": ImageError,
    "rtdose.dcm": ImageError,
    "rtplan.dcm": ImageError,
    "test-SR.dcm": ImageError,
    "waveform_ecg.dcm": ImageError,
    "DICOMDIR": ImageError,
    "rtplan.dump": DecodeError,
    "SC_rgb_jls_lossy_line.dcm": ImageError,
}
"""Files that are no image, are broken, or name no series; every other file with the header of an image is read."""


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in SLOW)


def image_of(path: Path) -> SourceImage:
    return read_images([path]).or_raise()[0]


@pytest.mark.parametrize("folder", [WHEEL, DATA_STORE], ids=["wheel", "pydicom-data"])
def test_every_file_of_pydicoms_own_tests_is_read_or_refused_by_name(folder: Path) -> None:
    if not folder.is_dir():
        pytest.skip(f"pydicom's test files are not installed at {folder.name}")
    for path in files_in(folder):
        study_images = read_images([path])
        assert bool(study_images.images) != bool(study_images.refusals), path.name
        for refusal in study_images.refusals:
            assert isinstance(refusal.error, WhyRayError)
            assert refusal.error.advice
        for image in study_images.images:
            assert np.isfinite(image.modality).all(), path.name
            assert image.display.min() >= 0, path.name
            assert image.display.max() <= 1, path.name
            assert all("PixelData" not in header for header in image.headers.values())
        if path.name in REFUSED and study_images.refusals:
            assert isinstance(study_images.refusals[0].error, REFUSED[path.name]), path.name
        elif not study_images.images:
            assert not _is_whole_image(path), f"{path.name}: {study_images.refusals[0].error.message}"


def _is_whole_image(path: Path) -> bool:
    try:
        data = pydicom.dcmread(path)
    except Exception:
        return False
    kind = str(data.get("SOPClassUID", ""))
    derived = any(word in pydicom.uid.UID(kind).name for word in ("Segmentation", "Dose"))
    return "PixelData" in data and "SeriesInstanceUID" in data and not derived and path.name not in REFUSED


PAIRS = [
    ("MR_small.dcm", "MR_small_RLE.dcm"),
    ("MR_small.dcm", "MR_small_jp2klossless.dcm"),
    ("MR_small.dcm", "MR_small_jpeg_ls_lossless.dcm"),
    ("MR_small.dcm", "MR_small_bigendian.dcm"),
    ("MR_small.dcm", "MR_small_implicit.dcm"),
    ("emri_small.dcm", "emri_small_RLE.dcm"),
    ("emri_small.dcm", "emri_small_jpeg_2k_lossless.dcm"),
    ("emri_small.dcm", "emri_small_jpeg_ls_lossless.dcm"),
    ("emri_small.dcm", "emri_small_big_endian.dcm"),
    ("RG1_UNCR.dcm", "RG1_J2KR.dcm"),
    ("RG3_UNCR.dcm", "RG3_J2KR.dcm"),
    ("693_UNCR.dcm", "693_J2KR.dcm"),
    ("MR2_UNCR.dcm", "MR2_J2KR.dcm"),
    ("US1_UNCR.dcm", "US1_J2KR.dcm"),
    ("JPEG2000_UNC.dcm", "JPEG2000.dcm"),
    ("OBXXXX1A.dcm", "OBXXXX1A_rle.dcm"),
    ("SC_rgb.dcm", "SC_rgb_rle.dcm"),
    ("color-px.dcm", "color-pl.dcm"),
]


@pytest.mark.parametrize(("plain", "compressed"), PAIRS)
def test_a_compressed_file_and_its_uncompressed_twin_give_the_same_pixels(plain: str, compressed: str) -> None:
    folder = {path.name: path for folder in (WHEEL, DATA_STORE) if folder.is_dir() for path in files_in(folder)}
    if plain not in folder or compressed not in folder:
        pytest.skip("pydicom-data is not installed")
    first, second = read_images([folder[plain]]).images, read_images([folder[compressed]]).images
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.modality, other.modality)
        np.testing.assert_array_equal(one.display, other.display)


@pytest.mark.parametrize("syntax", synthetic.COMPRESSED, ids=lambda uid: uid.name)
@pytest.mark.parametrize("kind", ["radiograph", "signed slice", "enhanced"])
def test_lossless_transfer_syntaxes_change_nothing(syntax: str, kind: str) -> None:
    planes = synthetic.stack(4, (40, 36), distance=2.0)
    volume = np.random.default_rng(1).integers(-1000, 2000, (4, 40, 36)).astype(np.int16)
    made = {
        "radiograph": lambda: synthetic.radiograph(volume[0] + 1000, photometric="MONOCHROME1"),
        "signed slice": lambda: synthetic.slices(volume, planes, rescale=(1.0, 0.0))[0],
        "enhanced": lambda: synthetic.enhanced(volume, planes),
    }[kind]()
    (plain,) = read_images([made]).or_raise()
    (packed,) = read_images([synthetic.compress(made, syntax)]).or_raise()
    np.testing.assert_array_equal(plain.modality, packed.modality)
    np.testing.assert_array_equal(plain.display, packed.display)


def test_twelve_bit_jpeg_extended_is_decoded_without_a_gpl_decoder() -> None:
    for name in ("JPGExtended.dcm", "JPEG-lossy.dcm"):
        values = image_of(WHEEL / name).modality[0]
        # Read from the same files with libjpeg-turbo's 12-bit decoder.
        assert (values[420, 140], values[230, 120]) == (244, 95)
        assert (values.max(), values.sum(dtype=np.float64)) == (264, 3_767_007)


HTJ2K_RAMP = base64.b64decode(
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQ"
    "kJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAH4AAf+TwAAmSfYFB3QAAMAAEsAAEwAiAYd0AEbyA4d0AMAAE0AA"
    "E4AQyAECdAAe6ZEAw1QAwAAVEAAFYIZhGKpwgnUAfvTDDz/+wFKB7LYAwAArIAAWkO7u7u7nwKenp8J4AP79/f39/f39/Yxge/Yxgey6AP/Z"
)
"""np.arange(256) * 16 as 16 x 16 uint16, lossless, encoded by OpenJPH 0.26.3: no encoder is among the dependencies."""


def test_high_throughput_jpeg_2000_is_decoded() -> None:
    ramp = (np.arange(256).reshape(16, 16) * 16).astype(np.uint16)
    made = synthetic.radiograph(ramp)
    made.PixelData = pydicom.encaps.encapsulate([HTJ2K_RAMP])
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = HTJ2KLossless
    (image,) = read_images([made]).or_raise()
    np.testing.assert_array_equal(image.modality[0], ramp)


def test_files_that_end_early_or_are_damaged_are_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    chance = random.Random(5)
    planes = synthetic.stack(3, (40, 36), distance=2.0)
    volume = np.random.default_rng(1).integers(-1000, 2000, (3, 40, 36)).astype(np.int16)
    made = [
        synthetic.radiograph(volume[0] + 1000),
        synthetic.enhanced(volume, planes),
        *[synthetic.compress(synthetic.radiograph(volume[0] + 1000), syntax) for syntax in synthetic.COMPRESSED],
    ]
    for index, data in enumerate(made):
        whole = synthetic.write([data], tmp_path / str(index))[0].read_bytes()
        damaged = tmp_path / "damaged.dcm"
        for _ in range(40):
            content = bytearray(whole[: chance.randrange(len(whole))])
            for _ in range(chance.choice([0, 0, 3])):
                if len(content) > 140:
                    content[chance.randrange(132, len(content))] = chance.randrange(256)
            damaged.write_bytes(content)
            study_images = read_images([damaged])
            assert isinstance(study_images, StudyImages)
            assert all(isinstance(refusal.error, ImageError) for refusal in study_images.refusals)
            assert not (study_images.images and len(content) < len(whole) - 64), "half an image is not an image"


def test_bytes_flipped_anywhere_never_raise_another_exception(tmp_path: Path) -> None:
    chance = random.Random(6)
    whole = synthetic.write([synthetic.radiograph(np.zeros((16, 16)))], tmp_path)[0].read_bytes()
    damaged = tmp_path / "damaged.dcm"
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            content[chance.randrange(132, len(whole) - 512)] = chance.randrange(256)
        damaged.write_bytes(content)
        read_images([damaged])


def test_a_decoder_that_dies_costs_one_instance_and_the_next_is_decoded() -> None:
    data = pydicom.dcmread(WHEEL / "SC_rgb_jpeg_gdcm.dcm")
    codestream = pydicom.encaps.get_frame(data.PixelData, 0, number_of_frames=1)
    description = {
        **{"rows": 100, "columns": 100, "samples_per_pixel": 3, "planar_configuration": 0, "number_of_frames": 1},
        **{"bits_allocated": 8, "bits_stored": 8, "pixel_representation": 0},
        **{"photometric_interpretation": "RGB", "pixel_keyword": "PixelData"},
    }
    with IsolatedGdcm() as isolated:
        whole = isolated.frame(codestream, data.file_meta.TransferSyntaxUID, description)
        assert isolated._child is not None
        isolated._child.kill()
        isolated._child.wait()
        with pytest.raises(ValueError, match="died of this data"):
            isolated.frame(codestream, data.file_meta.TransferSyntaxUID, description)
        again = isolated.frame(codestream, data.file_meta.TransferSyntaxUID, description)
    np.testing.assert_array_equal(whole, again)
    assert isolated._child is None


def test_an_rle_decoder_that_panics_is_a_decode_error() -> None:
    made = synthetic.compress(synthetic.radiograph(np.zeros((40, 36))), RLELossless)
    frame = next(pydicom.encaps.generate_frames(made.PixelData, number_of_frames=1))
    run_of_128_zeros, start_of_second = b"\x81\x00", int.from_bytes(frame[8:12], "little")
    overlong = frame[64:start_of_second] + run_of_128_zeros
    offsets = frame[:8] + (64 + len(overlong)).to_bytes(4, "little") + frame[12:64]
    made.PixelData = pydicom.encaps.encapsulate([offsets + overlong + frame[start_of_second:]])
    study_images = read_images([made])
    assert isinstance(study_images.refusals[0].error, DecodeError)


def _of_unknown_type(tag: bytes, folder: Path) -> list[Path]:
    made = synthetic.slices(np.zeros((2, 8, 8), np.int16), synthetic.stack(2, (8, 8)))
    paths = synthetic.write(made, folder)
    content = paths[0].read_bytes()
    start = content.index(tag)
    paths[0].write_bytes(content[: start + 4] + b"Dg" + content[start + 6 :])
    return paths


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        (b"\x28\x00\x53\x10", r"Rescale Slope \(0028,1053\)"),
        (b"\x20\x00\x32\x00", r"Image Position \(Patient\) \(0020,0032\)"),
        (b"\x28\x00\x04\x00", r"Photometric Interpretation \(0028,0004\)"),
    ],
)
def test_an_attribute_of_an_unknown_type_refuses_its_image_by_name_and_raises_nothing(
    tag: bytes, name: str, tmp_path: Path
) -> None:
    study_images = read_images(_of_unknown_type(tag, tmp_path))
    assert study_images.refusals
    assert all(isinstance(refusal.error, ImageError) for refusal in study_images.refusals)
    assert re.search(name, study_images.refusals[0].error.message)


def test_a_window_of_an_unknown_type_is_passed_over_with_a_note(tmp_path: Path) -> None:
    (image,) = read_images(_of_unknown_type(b"\x28\x00\x50\x10", tmp_path)).or_raise()
    assert any("Window Center (0028,1050)" in note.detail for note in image.notes)


def test_truncated_pixel_data_is_refused_and_names_the_instance() -> None:
    made = synthetic.radiograph(np.zeros((16, 16)))
    made.PixelData = made.PixelData[:100]
    with pytest.raises(DecodeError, match=str(made.SOPInstanceUID)):
        read_images([made]).or_raise()


def test_an_image_without_pixel_data_is_a_decode_error() -> None:
    made = synthetic.radiograph(np.zeros((16, 16)))
    del made.PixelData
    with pytest.raises(DecodeError, match="found none"):
        read_images([made]).or_raise()


def test_nothing_at_all_is_refused() -> None:
    with pytest.raises(ImageError, match="at least one instance"):
        read_images([]).or_raise()


def test_a_slice_that_can_not_be_decoded_is_left_out_of_its_volume_with_a_note() -> None:
    values = np.broadcast_to(np.arange(4, dtype=np.int16)[:, None, None], (4, 8, 8))
    made = synthetic.slices(values, synthetic.stack(4, (8, 8)))
    made[1].PixelData = made[1].PixelData[:10]
    study_images = read_images(made)
    (image,) = study_images.images
    assert image.modality[:, 0, 0].tolist() == [0, 2, 3]
    assert [note.kind for note in image.notes] == [NoteKind.GAP, NoteKind.LEFT_OUT]
    assert study_images.refusals[0].sop_instance_uids == (made[1].SOPInstanceUID,)
    for message in (study_images.refusals[0].error.message, image.notes[1].detail):
        assert str(made[1].SOPInstanceUID) in message


def test_a_volume_of_which_most_slices_can_not_be_decoded_is_refused() -> None:
    made = synthetic.slices(np.zeros((6, 8, 8), np.int16), synthetic.stack(6, (8, 8)))
    for data in made[2:]:
        data.PixelData = data.PixelData[:10]
    study_images = read_images(made)
    assert not study_images.images
    assert set(study_images.refusals[0].sop_instance_uids) == {data.SOPInstanceUID for data in made}


def test_the_same_instance_given_twice_counts_once() -> None:
    made = synthetic.slices(np.zeros((4, 8, 8), np.int16), synthetic.stack(4, (8, 8)))
    (image,) = read_images([*made, *made]).or_raise()
    assert image.shape == (4, 8, 8)


@pytest.mark.parametrize("patient", [synthetic.JAPANESE, synthetic.CYRILLIC, synthetic.UNICODE])
def test_headers_keep_names_in_every_script_and_errors_keep_them_out(
    patient: synthetic.Patient, tmp_path: Path
) -> None:
    made = synthetic.radiograph(np.zeros((8, 8)), patient=patient)
    image = image_of(synthetic.write([made], tmp_path)[0])
    assert str(image.header.PatientName) == patient.name
    del made.PixelData
    study_images = read_images([made])
    for part in (patient.identifier, *patient.name.replace("=", "^").split("^")):
        assert part not in study_images.refusals[0].error.message


def test_a_data_set_given_in_memory_keeps_its_pixels_and_the_header_has_none() -> None:
    made = synthetic.radiograph(np.zeros((8, 8)))
    (image,) = read_images([made]).or_raise()
    assert "PixelData" in made
    assert "PixelData" not in image.header
    assert isinstance(image.header, Dataset)


def test_slices_without_positions_are_refused_as_geometry() -> None:
    made = synthetic.slices(np.zeros((4, 8, 8), np.int16), synthetic.stack(4, (8, 8)))
    for data in made:
        del data.ImagePositionPatient
    with pytest.raises(GeometryError, match="4 of 4 slices without"):
        read_images(made).or_raise()
