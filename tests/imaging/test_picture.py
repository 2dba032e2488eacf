"""Pictures that scientists have become instances that invent nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from whyray.base.errors import DecodeError, ImageError
from whyray.imaging import is_picture, read_images, wrap_picture

GREY = np.arange(7 * 9, dtype=np.uint8).reshape(7, 9) * 4
DEEP = np.arange(7 * 9, dtype=np.uint16).reshape(7, 9) * 1000


def save(picture: np.ndarray, path: Path, mode: str | None = None) -> Path:
    image = Image.fromarray(picture)
    (image.convert(mode) if mode else image).save(path)
    return path


@pytest.mark.parametrize("mode", [None, "RGB", "RGBA", "P"])
def test_eight_bit_greys_are_read_as_they_are_however_the_file_keeps_them(mode: str | None, tmp_path: Path) -> None:
    data = wrap_picture(save(GREY, tmp_path / "a.png", mode))
    (image,) = read_images([data]).images
    np.testing.assert_array_equal(image.modality[0], GREY)
    np.testing.assert_allclose(image.display[0], GREY / 255, atol=1e-6)


def test_sixteen_bit_greys_keep_their_depth(tmp_path: Path) -> None:
    (image,) = read_images([wrap_picture(save(DEEP, tmp_path / "a.png"))]).images
    np.testing.assert_array_equal(image.modality[0], DEEP)
    assert any("no window" in note.detail for note in image.notes)


def test_a_jpeg_says_that_it_was_compressed_with_loss(tmp_path: Path) -> None:
    assert wrap_picture(save(GREY, tmp_path / "a.jpg")).LossyImageCompression == "01"
    assert wrap_picture(save(GREY, tmp_path / "a.png")).LossyImageCompression == "00"


def test_the_same_pixels_are_the_same_instance_and_others_are_another(tmp_path: Path) -> None:
    first = wrap_picture(save(GREY, tmp_path / "a.png"))
    same = wrap_picture(save(GREY, tmp_path / "b.png", "RGB"))
    other = wrap_picture(save(GREY + 1, tmp_path / "c.png"))
    turned = wrap_picture(save(GREY.reshape(9, 7), tmp_path / "d.png"))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        assert first[keyword].value == same[keyword].value
        assert len({dataset[keyword].value for dataset in (first, other, turned)}) == 3
    assert len({first.StudyInstanceUID, first.SeriesInstanceUID, first.SOPInstanceUID}) == 3


def test_no_patient_and_no_geometry_is_invented(tmp_path: Path) -> None:
    data = wrap_picture(save(GREY, tmp_path / "a.png"))
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "BodyPartExamined"):
        assert not data[keyword].value
    (image,) = read_images([data]).images
    assert image.frames[0].spacing is None
    assert image.frames[0].to_patient is None


def test_what_is_no_grey_picture_is_refused_by_name(tmp_path: Path) -> None:
    colour = np.zeros((8, 8, 3), np.uint8)
    colour[..., 0] = 9
    with pytest.raises(ImageError, match=r"colour.png: expected grey values, found colours"):
        wrap_picture(save(colour, tmp_path / "colour.png"))
    clear = np.full((8, 8, 4), 7, np.uint8)
    with pytest.raises(ImageError, match=r"clear.png.* without transparency"):
        wrap_picture(save(clear, tmp_path / "clear.png"))


def test_a_truncated_picture_is_refused_by_name(tmp_path: Path) -> None:
    whole = save(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8), tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DecodeError, match=r"cut.png: expected a whole PNG"):
        wrap_picture(tmp_path / "cut.png")


def test_pictures_are_known_by_their_bytes_not_by_their_name(tmp_path: Path) -> None:
    save(GREY, tmp_path / "a.png").rename(tmp_path / "radiograph")
    assert is_picture(tmp_path / "radiograph")
    (tmp_path / "b.png").write_bytes(b"\0" * 128 + b"DICM")
    assert not is_picture(tmp_path / "b.png")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.png", "read_images([wrap_picture(path)])"),
        ("a.jpg", "read_images([wrap_picture(path)])"),
        ("a.nii", 'read_images(wrap_nifti(path, "CT").instances)'),
    ],
)
def test_a_picture_or_volume_that_is_given_as_it_is_is_refused_with_the_function_that_takes_it(
    name: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if path.suffix == ".nii":
        path.write_bytes(bytes(400))
    else:
        save(GREY, path)
    with pytest.raises(DecodeError) as refused:
        read_images([path]).or_raise()
    assert said in refused.value.advice
