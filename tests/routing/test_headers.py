"""Files as routing sees them."""

from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from synthetic import radiograph
from whyray.base.errors import DecodeError
from whyray.routing import read_header, series_of

PIXELS = np.zeros((4, 4), np.uint16)


def test_instances_are_grouped_into_series_with_one_header_and_their_number() -> None:
    first, second, other = (radiograph(PIXELS, number=n, series=name) for n, name in ((1, "a"), (2, "a"), (1, "b")))
    all_series = series_of(header for header in (first, other, second))
    assert [(series.uid, series.instances) for series in all_series] == [
        (first.SeriesInstanceUID, 2),
        (other.SeriesInstanceUID, 1),
    ]
    assert all_series[0].header is first


def test_a_header_is_read_without_pixels(tmp_path: Path) -> None:
    radiograph(PIXELS).save_as(tmp_path / "film.dcm", enforce_file_format=True)
    header = read_header(tmp_path / "film.dcm")
    assert header.Modality == "CR"
    assert "PixelData" not in header


@pytest.mark.parametrize("content", [b"", b"no DICOM"])
def test_what_is_no_dicom_file_is_refused_under_the_name_it_is_called_by(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "Doe Jane.dcm"
    path.write_bytes(content)
    with pytest.raises(DecodeError, match="file 3: expected a DICOM file") as error:
        read_header(path, called="file 3")
    assert "Doe" not in error.value.message


def test_the_header_of_a_deflated_file_is_read_without_its_pixels(tmp_path: Path) -> None:
    film = radiograph(PIXELS)
    film.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    film.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    header = read_header(tmp_path / "film.dcm")
    assert (header.Modality, header.StudyInstanceUID) == ("CR", film.StudyInstanceUID)
    assert "PixelData" not in header


@pytest.mark.parametrize("deflated", [True, False])
def test_a_private_element_of_any_size_costs_no_memory(tmp_path: Path, deflated: bool) -> None:
    film, size = radiograph(PIXELS), 40 << 20
    film.private_block(0x0011, "TEST", create=True).add_new(1, "OB", b"\0" * 16)
    film.save_as(tmp_path / "film.dcm", enforce_file_format=True)
    data = (tmp_path / "film.dcm").read_bytes()
    place = data.index(b"\x11\x00\x01\x10OB\0\0") + 8
    grown = data[:place] + size.to_bytes(4, "little") + bytes(size) + data[place + 4 + 16 :]
    if deflated:
        film.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        film.save_as(tmp_path / "head.dcm", enforce_file_format=True)
        head = (tmp_path / "head.dcm").read_bytes()
        meta_end = 144 + int.from_bytes(head[140:144], "little")
        plain_end = 144 + int.from_bytes(data[140:144], "little")
        packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
        grown = head[:meta_end] + packer.compress(grown[plain_end:]) + packer.flush()
    (tmp_path / "film.dcm").write_bytes(grown)
    del grown, data
    tracemalloc.start()
    header = read_header(tmp_path / "film.dcm")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert header.Modality == "CR"
    assert peak < 36 << 20
