"""Pixel data are what the data set describes, or the instance is refused or noted, by attribute and value."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import jpeg_ls
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, encapsulate_extended, get_frame
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

import synthetic
from whyray.base.errors import ImageError
from whyray.imaging import SourceImage, StudyImages, read_images

PIXELS = (np.arange(48 * 40).reshape(48, 40) * 2).astype(np.uint16)
WHEEL = Path(pydicom.__file__).parent / "data" / "test_files"


def file_of(data: FileDataset, folder: Path, **changed: Any) -> Path:
    for keyword, value in changed.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    path = folder / "one.dcm"
    pydicom.dcmwrite(path, data, enforce_file_format=False)
    return path


def read(data: FileDataset, folder: Path, **changed: Any) -> StudyImages:
    return read_images([file_of(data, folder, **changed)])


def image_of(study_images: StudyImages) -> SourceImage:
    (image,) = study_images.or_raise()
    return image


def words_of(study_images: StudyImages) -> str:
    assert not study_images.images
    return study_images.refusals[0].error.message


def jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray((pixels >> 4).astype(np.uint8)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def compressed(syntax: UID) -> FileDataset:
    if syntax != JPEGBaseline8Bit:
        return synthetic.compress(synthetic.radiograph(PIXELS), syntax)
    data = synthetic.radiograph(PIXELS, bits=8)
    data.BitsAllocated = 8
    data.PixelData = encapsulate([jpeg(PIXELS)])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    return data


def frame_of(data: FileDataset) -> bytes:
    return get_frame(data.PixelData, 0, number_of_frames=1)


CODECS = [JPEGBaseline8Bit, JPEG2000Lossless, JPEGLSLossless]


@pytest.mark.parametrize("syntax", CODECS, ids=lambda uid: uid.name)
@pytest.mark.parametrize(("rows", "columns"), [(40, 48), (24, 80), (47, 40), (49, 40)])
def test_a_compressed_frame_of_another_shape_is_refused(syntax: UID, rows: int, columns: int, tmp_path: Path) -> None:
    words = words_of(read(compressed(syntax), tmp_path, Rows=rows, Columns=columns))
    assert "48 rows, 40 columns" in words
    assert f"Rows (0028,0010) {rows}" in words


@pytest.mark.parametrize("syntax", CODECS, ids=lambda uid: uid.name)
def test_a_frame_that_claims_to_be_huge_is_refused_by_its_header(syntax: UID, tmp_path: Path) -> None:
    data = compressed(syntax)
    frame = bytearray(frame_of(data))
    if syntax == JPEG2000Lossless:
        frame[8:16] = struct.pack(">2L", 65535, 65535)
    else:
        marker = b"\xff\xf7" if syntax == JPEGLSLossless else b"\xff\xc0"
        start = frame.index(marker)
        frame[start + 5 : start + 9] = b"\xff" * 4
    assert "has 65535 rows, 65535 columns" in words_of(read(data, tmp_path, PixelData=encapsulate([bytes(frame)])))


def test_a_jpeg_lossless_frame_of_another_shape_is_refused(tmp_path: Path) -> None:
    data = pydicom.dcmread(WHEEL / "SC_rgb_jpeg_gdcm.dcm")
    assert data.file_meta.TransferSyntaxUID == JPEGLosslessSV1
    assert "100 rows, 100 columns" in words_of(read(data, tmp_path, Rows=50, Columns=200))


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.1.98", "1.2.840.113619.5.2"])
def test_a_transfer_syntax_that_nothing_decodes_is_refused_in_those_words(syntax: str) -> None:
    """JPEG XL, encapsulated uncompressed frames, and a manufacturer's own: pydicom knows the second of them."""
    data = synthetic.radiograph(PIXELS)
    data.file_meta.TransferSyntaxUID = UID(syntax)
    data.PixelData = encapsulate([PIXELS.tobytes()])
    (refusal,) = read_images([data]).refusals
    assert refusal.error.message.endswith("can't be decoded: no decoder for this transfer syntax")


@pytest.mark.parametrize("rows", [47, 49])
def test_run_lengths_of_another_count_of_pixels_are_refused_by_name(rows: int, tmp_path: Path) -> None:
    words = words_of(read(compressed(RLELossless), tmp_path, Rows=rows))
    assert f"Rows (0028,0010) {rows}" in words


def test_a_frame_of_a_few_bytes_that_claims_gigabytes_is_refused_by_its_header(tmp_path: Path) -> None:
    data = compressed(JPEG2000Lossless)
    frame = bytearray(frame_of(data))
    for side, words in (
        (30_000, f"the data set claims 900000000 samples of a compressed frame of {len(frame)} bytes"),
        (65_535, "expected at most 4096 MiB of pixels in an image, found 1 frames of 65535 x 65535 pixels"),
    ):
        frame[8:16] = struct.pack(">2L", side, side)
        claims = read(data, tmp_path, Rows=side, Columns=side, PixelData=encapsulate([bytes(frame)]))
        assert words in words_of(claims)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless], ids=lambda uid: uid.name)
def test_fewer_bits_stored_than_the_frame_has_are_refused_and_more_are_noted(syntax: UID, tmp_path: Path) -> None:
    assert "Bits Stored (0028,0101) 10" in words_of(read(compressed(syntax), tmp_path, BitsStored=10, HighBit=9))
    image = image_of(read(compressed(syntax), tmp_path, BitsStored=16, HighBit=15))
    np.testing.assert_array_equal(image.modality[0], PIXELS)
    assert "samples of 12 bits" in image.notes[0].detail


def test_a_jpeg_ls_frame_that_the_first_decoder_refuses_is_read_by_the_second(tmp_path: Path) -> None:
    data = compressed(JPEGLSLossless)
    frame = frame_of(data).rstrip(b"\0")[:-2] + b"\0\xff\xd9"  # a byte of padding before the end, as older writers left
    with pytest.raises(RuntimeError, match="start byte"):
        jpeg_ls.decode_pixel_data(frame)
    image = image_of(read(data, tmp_path, PixelData=encapsulate([frame])))
    np.testing.assert_array_equal(image.modality[0], PIXELS)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless, JPEG2000Lossless], ids=lambda uid: uid.name)
def test_signed_values_keep_their_sign_through_a_compressed_frame(syntax: UID, tmp_path: Path) -> None:
    values = (PIXELS.astype(np.int32) - 2048).astype(np.int16)
    data = synthetic.radiograph(PIXELS, bits=16, window=(0, 4096))
    data.PixelData, data.PixelRepresentation = values.tobytes(), 1
    image = image_of(read(synthetic.compress(data, syntax), tmp_path))
    np.testing.assert_array_equal(image.modality[0], values)
    assert image.notes == ()


def test_an_unsigned_codestream_of_signed_values_is_read_with_a_note(tmp_path: Path) -> None:
    values = (PIXELS.astype(np.int32) - 2048).astype(np.int16)
    data = synthetic.radiograph(values.view(np.uint16), bits=16)
    image = image_of(read(synthetic.compress(data, JPEG2000Lossless), tmp_path, PixelRepresentation=1))
    np.testing.assert_array_equal(image.modality[0], values)
    assert "Pixel Representation (0028,0103) 1" in image.notes[0].detail


def test_a_signed_codestream_of_negative_values_in_an_unsigned_data_set_is_refused(tmp_path: Path) -> None:
    values = (PIXELS.astype(np.int32) - 2048).astype(np.int16)
    data = synthetic.radiograph(PIXELS, bits=16)
    data.PixelData, data.PixelRepresentation = values.tobytes(), 1
    words = words_of(read(synthetic.compress(data, JPEG2000Lossless), tmp_path, PixelRepresentation=0))
    assert "Pixel Representation (0028,0103) 0" in words


@pytest.mark.parametrize("bits", [8, 16])
def test_palettes_are_read_in_the_byte_order_of_the_file(bits: int, tmp_path: Path) -> None:
    made = []
    for syntax, order in ((None, "<"), (ImplicitVRLittleEndian, "<"), (ExplicitVRBigEndian, ">")):
        data = synthetic.radiograph(PIXELS % 200)
        data.PixelData = (PIXELS % 200).astype(f"{order}u2").tobytes()
        data.PhotometricInterpretation = "PALETTE COLOR"
        for colour, scale in (("Red", 1.0), ("Green", 0.5), ("Blue", 0.25)):
            entries = (np.linspace(0, 2**bits - 1, 256) * scale).astype(np.uint16)
            setattr(data, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, bits])
            data[f"{colour}PaletteColorLookupTableDescriptor"].VR = "US"
            setattr(data, f"{colour}PaletteColorLookupTableData", entries.astype(f"{order}u2").tobytes())
            data[f"{colour}PaletteColorLookupTableData"].VR = "OW"
        if syntax is not None:
            data.file_meta.TransferSyntaxUID = syntax
        made.append(image_of(read(data, tmp_path)))
    ramp = (PIXELS % 200) / 255
    for image in made:
        np.testing.assert_allclose(image.display[0], ramp[..., None] * [1, 0.5, 0.25], atol=0.01)


@pytest.mark.parametrize("name", ["SC_rgb_jpeg_gdcm.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm"])
def test_planar_configuration_has_no_say_over_a_compressed_frame(name: str, tmp_path: Path) -> None:
    plain = image_of(read_images([WHEEL / name]))
    other = image_of(read(pydicom.dcmread(WHEEL / name), tmp_path, PlanarConfiguration=1))
    np.testing.assert_array_equal(plain.display, other.display)
    assert "Planar Configuration (0028,0006)" in other.notes[0].detail


def test_an_eight_bit_jpeg_with_sixteen_bits_allocated_is_read(tmp_path: Path) -> None:
    plain = image_of(read(compressed(JPEGBaseline8Bit), tmp_path))
    other = image_of(read(compressed(JPEGBaseline8Bit), tmp_path, BitsAllocated=16))
    np.testing.assert_array_equal(plain.modality, other.modality)


def test_native_pixel_data_for_more_frames_than_described_are_refused(tmp_path: Path) -> None:
    data = synthetic.radiograph(PIXELS)
    words = words_of(read(data, tmp_path, PixelData=data.PixelData * 3))
    assert "3 frames of that size" in words
    assert "Number of Frames (0028,0008)" in words


def test_a_few_bytes_after_the_last_frame_are_passed_over_with_a_note(tmp_path: Path) -> None:
    data = synthetic.radiograph(PIXELS)
    image = image_of(read(data, tmp_path, PixelData=data.PixelData + b"abcd"))
    np.testing.assert_array_equal(image.modality[0], PIXELS)
    assert "4 bytes after the last frame" in image.notes[0].detail


def test_rows_after_the_last_that_are_not_padding_are_refused(tmp_path: Path) -> None:
    assert "expected 3760 bytes" in words_of(read(synthetic.radiograph(PIXELS), tmp_path, Rows=47))


@pytest.mark.parametrize("syntax", [*CODECS, RLELossless], ids=lambda uid: uid.name)
@pytest.mark.parametrize("told", [None, 2, 4])
def test_another_number_of_compressed_frames_is_refused(syntax: UID, told: int | None, tmp_path: Path) -> None:
    data = compressed(syntax)
    data.PixelData = encapsulate([frame_of(data)] * 3)
    if told is not None:
        data.NumberOfFrames = told
    assert "Pixel Data holds 3 compressed frames" in words_of(read(data, tmp_path))


@pytest.mark.parametrize("syntax", [*CODECS, RLELossless], ids=lambda uid: uid.name)
def test_a_second_frame_in_the_same_fragment_is_refused(syntax: UID, tmp_path: Path) -> None:
    data = compressed(syntax)
    words = words_of(read(data, tmp_path, PixelData=encapsulate([frame_of(data) * 2])))
    assert "second compressed frame" in words


@pytest.mark.parametrize("syntax", [*CODECS, RLELossless], ids=lambda uid: uid.name)
def test_frames_are_found_whatever_the_offset_table_says(syntax: UID, tmp_path: Path) -> None:
    data = compressed(syntax)
    frame = frame_of(data)
    whole = encapsulate([frame] * 2, fragments_per_frame=2)
    right = read(data, tmp_path, PixelData=whole, NumberOfFrames=2)
    assert len(right.images) == 2
    assert not any("Offset Table" in note.detail for image in right.images for note in image.notes)
    wrong = read(data, tmp_path, PixelData=whole[:12] + struct.pack("<L", 10) + whole[16:], NumberOfFrames=2)
    for one, other in zip(right.images, wrong.images, strict=True):
        np.testing.assert_array_equal(one.modality, other.modality)
        assert any("Basic Offset Table" in note.detail for note in other.notes)


def test_a_wrong_extended_offset_table_is_noted(tmp_path: Path) -> None:
    data = compressed(JPEG2000Lossless)
    pixels, offsets, lengths = encapsulate_extended([frame_of(data)] * 2)
    tables = {"PixelData": pixels, "ExtendedOffsetTableLengths": lengths, "NumberOfFrames": 2}
    assert len(read(data, tmp_path, ExtendedOffsetTable=offsets, **tables).images) == 2
    study_images = read(data, tmp_path, ExtendedOffsetTable=offsets[:8] + b"\5" + offsets[9:], **tables)
    assert all("(7FE0,0001)" in image.notes[0].detail for image in study_images.images)


@pytest.mark.parametrize("written", [b"  ", b"\0\0", b"0 "])
def test_a_number_of_frames_that_says_nothing_is_one_frame_with_a_note(written: bytes, tmp_path: Path) -> None:
    path = file_of(synthetic.radiograph(PIXELS), tmp_path, NumberOfFrames=11)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x28\0\x08\0IS\2\0" + b"11", b"\x28\0\x08\0IS\2\0" + written))
    image = image_of(read_images([path]))
    np.testing.assert_array_equal(image.modality[0], PIXELS)
    assert "Number of Frames (0028,0008)" in image.notes[0].detail


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("big", [False, True])
def test_stored_bits_are_those_below_high_bit(signed: bool, big: bool, tmp_path: Path) -> None:
    values = PIXELS.astype(np.int32) - (2048 if signed else 0)
    cells = ((values << 4) & 0xFFF0 | 0x5).astype(np.uint16)
    data = synthetic.radiograph(PIXELS)
    data.PixelData = cells.astype(">u2" if big else "<u2").tobytes()
    data.HighBit, data.PixelRepresentation = 15, int(signed)
    if big:
        data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    image = image_of(read(data, tmp_path))
    np.testing.assert_array_equal(image.modality[0], values)
    assert "High Bit (0028,0102) is 15" in image.notes[0].detail


def test_a_high_bit_above_all_pixels_is_refused(tmp_path: Path) -> None:
    assert "High Bit (0028,0102)" in words_of(read(synthetic.radiograph(PIXELS), tmp_path, HighBit=15))


@pytest.mark.parametrize(
    ("keyword", "value", "name"),
    [
        ("BitsStored", None, "Bits Stored (0028,0101)"),
        ("BitsStored", 17, "Bits Stored (0028,0101)"),
        ("BitsAllocated", 12, "Bits Allocated (0028,0100)"),
        ("PixelRepresentation", None, "Pixel Representation (0028,0103)"),
        ("PixelRepresentation", 2, "Pixel Representation (0028,0103)"),
        ("PhotometricInterpretation", None, "Photometric Interpretation (0028,0004)"),
        ("PhotometricInterpretation", "GREY", "Photometric Interpretation (0028,0004)"),
        ("SamplesPerPixel", 3, "Samples per Pixel (0028,0002)"),
        ("Rows", None, "Rows"),
    ],
)
def test_a_description_that_can_not_be_right_is_refused_by_attribute(
    keyword: str, value: object, name: str, tmp_path: Path
) -> None:
    assert name in words_of(read(synthetic.radiograph(PIXELS), tmp_path, **{keyword: value}))


@pytest.mark.parametrize("organization", ["TILED_FULL", "TILED_SPARSE"])
def test_tiles_are_refused_by_name(organization: str, tmp_path: Path) -> None:
    words = words_of(read(synthetic.radiograph(PIXELS), tmp_path, DimensionOrganizationType=organization))
    assert f"Dimension Organization Type (0020,9311) '{organization}'" in words


def test_whole_slides_are_refused_by_name(tmp_path: Path) -> None:
    study_images = read(synthetic.radiograph(PIXELS), tmp_path, SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.6")
    assert isinstance(study_images.refusals[0].error, ImageError)
    assert "Whole Slide" in words_of(study_images)


def table_item(order: str, kind: str) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.LUTDescriptor = [4096, 0, 16]
    item["LUTDescriptor"].VR = "US"
    entries = np.linspace(0, 65535, 4096).astype(np.uint16)
    item.LUTData = entries.tolist() if kind == "US" else entries.astype(f"{order}u2").tobytes()
    item["LUTData"].VR = kind
    return item


@pytest.mark.parametrize("kind", ["US", "OW"])
@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
def test_lut_data_are_read_in_the_byte_order_of_the_file(kind: str, sequence: str, tmp_path: Path) -> None:
    made = []
    for syntax, order in ((None, "<"), (ImplicitVRLittleEndian, "<"), (ExplicitVRBigEndian, ">")):
        data = synthetic.radiograph(PIXELS, window=(30000, 60000) if sequence.startswith("Modality") else None)
        data.PixelData = PIXELS.astype(f"{order}u2").tobytes()
        if syntax is not None:
            data.file_meta.TransferSyntaxUID = syntax
        made.append(image_of(read(data, tmp_path, **{sequence: [table_item(order, kind)]})))
    assert np.asarray(made[0].display).std() > 0.1
    for other in made[1:]:
        np.testing.assert_array_equal(made[0].display, other.display)


def test_a_broken_window_is_passed_over_with_a_note(tmp_path: Path) -> None:
    path = file_of(synthetic.radiograph(PIXELS, window=(2048, 4096)), tmp_path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"DS\4\x002048", b"DS\4\x0020,8"))
    image = image_of(read_images([path]))
    assert "Window Center (0028,1050) '20,8'" in image.notes[0].detail


def test_a_broken_voi_lut_gives_way_to_the_window_and_a_broken_modality_lut_refuses(tmp_path: Path) -> None:
    item = table_item("<", "US")
    item.LUTDescriptor = None
    plain = image_of(read(synthetic.radiograph(PIXELS, window=(2048, 4096)), tmp_path))
    image = image_of(read(synthetic.radiograph(PIXELS, window=(2048, 4096)), tmp_path, VOILUTSequence=[item]))
    np.testing.assert_array_equal(plain.display, image.display)
    assert "LUT Descriptor (0028,3002)" in image.notes[0].detail
    words = words_of(read(synthetic.radiograph(PIXELS), tmp_path, ModalityLUTSequence=[item]))
    assert "Modality LUT Sequence (0028,3000)" in words


def test_a_ratio_stands_for_a_missing_spacing_and_is_no_length(tmp_path: Path) -> None:
    (frame,) = image_of(read(synthetic.radiograph(PIXELS, spacing=None), tmp_path, PixelAspectRatio=["2", "1"])).frames
    assert frame.pixel_aspect == 2
    assert frame.spacing is None


def test_a_spacing_that_contradicts_the_ratio_counts_and_is_noted(tmp_path: Path) -> None:
    image = image_of(read(synthetic.radiograph(PIXELS), tmp_path, PixelAspectRatio=["2", "1"]))
    assert image.frames[0].pixel_aspect == 1
    assert "Pixel Aspect Ratio (0028,0034)" in image.notes[0].detail
