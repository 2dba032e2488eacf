"""Files as routing sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthetic import radiograph
from whyray.base.errors import DecodeError
from whyray.routing import read_header, series_of

PIXELS = np.zeros((4, 4), np.uint16)


def test_instances_are_grouped_into_series_with_one_header_and_their_number() -> None:
    first, second, other = (radiograph(PIXELS, number=n, series=name) for n, name in ((1, "a"), (2, "a"), (1, "b")))
    found = series_of(each for each in (first, other, second))
    assert [(each.uid, each.instances) for each in found] == [
        (first.SeriesInstanceUID, 2),
        (other.SeriesInstanceUID, 1),
    ]
    assert found[0].header is first


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
