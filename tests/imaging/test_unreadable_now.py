"""A file that the machine refuses to read for now is no damaged image: no slice is left out for it."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from synthetic import ball, slices, stack, volume_of, write
from whyray.base.errors import ResourceExhausted, StorageUnavailable, WhyRayError
from whyray.imaging import instance, is_segmentation, read_images
from whyray.imaging.other_objects import sop_class_of


def _series(folder: Path) -> list[Path]:
    planes = stack(8)
    return write(slices(volume_of(planes, ball((0, 0, 10), 8)), planes), folder)


def _refusing(real: Callable[..., Any], refused: Path, number: int, times: int) -> Callable[..., Any]:
    """Reads as `real` does; of one file, the read of this number fails as the machine says it."""
    seen = 0

    def read(source: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal seen
        if source == refused:
            seen += 1
            if seen == times:
                raise OSError(number, os.strerror(number))
        return real(source, *arguments, **options)

    return read


@pytest.mark.parametrize("which", ["header", "pixels"])
@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ESTALE, StorageUnavailable),
        (errno.EACCES, StorageUnavailable),
        (errno.ENOTCONN, StorageUnavailable),
        (errno.EIO, ResourceExhausted),
        (errno.EMFILE, ResourceExhausted),
    ],
)
def test_a_volume_is_read_whole_or_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str, number: int, kind: type[WhyRayError]
) -> None:
    """A share that stumbled over one slice of a CT left a gap in it, which was answered as a whole and sent."""
    paths = _series(tmp_path)
    with monkeypatch.context() as patch:
        if which == "header":
            patch.setattr(instance, "_header_of", _refusing(instance._header_of, paths[3], number, 1))
        else:
            patch.setattr(pydicom, "dcmread", _refusing(pydicom.dcmread, paths[3], number, _reads(paths)))
        with pytest.raises(kind) as caught:
            read_images(paths).or_raise()
    assert caught.value.retriable
    (image,) = read_images(paths).or_raise()
    assert not [note for note in image.notes if "missing" in str(note)]


def _reads(paths: list[Path]) -> int:
    """Which read of a file is that of its pixels: the last one."""
    count, real = 0, pydicom.dcmread

    def read(source: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += source == paths[3]
        return real(source, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydicom, "dcmread", read)
        read_images(paths).or_raise()
    assert count
    return count


def test_a_damaged_file_is_still_the_files_fault(tmp_path: Path) -> None:
    paths = _series(tmp_path)
    paths[3].write_bytes(paths[3].read_bytes()[:-5000])
    (refusal,) = read_images(paths).refusals
    assert refusal.error.code == "DecodeError"


@pytest.mark.parametrize("look", [is_segmentation, sop_class_of])
def test_what_a_file_is_is_not_guessed_while_it_can_t_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: Callable[[Path], object]
) -> None:
    """A segmentation that a share did not give was passed over, and another outline was taken without a word."""
    path = _series(tmp_path)[0]
    module = sys.modules[look.__module__]
    with monkeypatch.context() as patch:
        patch.setattr(module, "dcmread", _refusing(pydicom.dcmread, path, errno.ESTALE, 1))
        with pytest.raises(StorageUnavailable):
            look(path)
    path.write_bytes(b"nonsense")
    assert look(path) in (False, ("", False))
