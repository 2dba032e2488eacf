"""Pictures are stored beside the making of results: once each, and what goes wrong is told to who asks for the key."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from whyray.base.errors import ResourceExhausted
from whyray.jobs.result_storing import ResultStore
from whyray.results import Result, encode, png_file
from whyray.storage import FolderStorage


def picture(value: int) -> np.ndarray:
    return np.full((64, 48, 3), value, np.uint8)


def _dataset() -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.3"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def test_a_picture_that_was_begun_is_stored_once_and_one_that_was_not_when_it_is_asked_for(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    begun, other = picture(10), picture(20)
    with ResultStore(storage) as pictures:
        pictures.begin(begun)
        pictures.begin(begun)
        keys = [pictures.keys(one) for one in (begun, begun, other)]
        assert pictures.keys(None) == (None, None)
    assert keys[0] == keys[1]
    for (key, small), drawn in zip(keys[1:], (begun, other), strict=True):
        assert key is not None
        assert small is not None
        with storage.open(key) as file:
            assert file.read() == png_file(drawn)
    assert len([path for path in tmp_path.rglob("*.png") if path.is_file()]) == 4


def test_a_result_that_was_begun_is_encoded_and_stored_once(tmp_path: Path) -> None:
    result = Result("sr", _dataset(), None, None, "report")
    storage = FolderStorage(tmp_path)
    with ResultStore(storage) as storing:
        first, second = storing.begin_result(result), storing.begin_result(result)
        assert first is second
        with storage.open(first.result().key) as file:
            assert file.read() == encode(result.dataset)


def test_what_goes_wrong_is_raised_to_who_asks_for_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = FolderStorage(tmp_path)

    def full(*_: Any, **__: Any) -> Any:
        raise ResourceExhausted("the disk is full")

    monkeypatch.setattr(storage, "put", full)
    with ResultStore(storage) as pictures:
        drawn = picture(1)
        pictures.begin(drawn)
        with pytest.raises(ResourceExhausted, match="full"):
            pictures.keys(drawn)


def test_files_are_stored_beside_each_other_and_no_more_wait_than_may(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    contents = [bytes([number]) * 100 for number in range(20)]
    with ResultStore(storage) as storing:
        begun = [storing.put(content) for content in contents]
        keys = [file.result().key for file in begun]
    for key, content in zip(keys, contents, strict=True):
        with storage.open(key) as file:
            assert file.read() == content


def test_a_file_that_cant_be_stored_is_told_to_who_waits_for_it_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = FolderStorage(tmp_path)
    whole = storage.put

    def full(content: bytes, **options: Any) -> Any:
        if content == b"too much":
            raise ResourceExhausted("the disk is full")
        return whole(content, **options)

    monkeypatch.setattr(storage, "put", full)
    with ResultStore(storage) as storing:
        begun = [storing.put(content) for content in (b"one", *[b"too much"] * 9, b"two")]
        assert storage.exists(begun[0].result().key)
        assert storage.exists(begun[-1].result().key)
        for failed in begun[1:-1]:
            with pytest.raises(ResourceExhausted, match="full"):
                failed.result()


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_a_job_stored_before_it_went_wrong_is_removed_also_what_was_still_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt left a set of files, which lay there for six hours."""
    storage = FolderStorage(tmp_path)
    whole, went_wrong = storage.put, threading.Event()

    def slow(content: bytes, **options: Any) -> Any:
        if content == b"slow":
            assert went_wrong.wait(30)
        if content == b"refused":
            raise ResourceExhausted("the disk is full")
        return whole(content, **options)

    monkeypatch.setattr(storage, "put", slow)

    def goes_wrong() -> None:
        with ResultStore(storage) as storing:
            storing.begin_result(Result("sr", _dataset(), None, None, "report")).result()
            storing.keys(picture(10))
            storing.put(b"refused")
            storing.put(b"slow")
            assert len(_files(tmp_path)) == 3
            threading.Timer(0.1, went_wrong.set).start()
            raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        goes_wrong()
    assert not _files(tmp_path)


def test_what_the_catalog_may_name_stays_whatever_goes_wrong(tmp_path: Path) -> None:
    """A commit may have been made though its answer was lost."""
    storage = FolderStorage(tmp_path)

    def goes_wrong() -> None:
        with ResultStore(storage) as storing:
            storing.put(b"a result").result()
            storing.keep()
            raise ValueError("the commit")

    with pytest.raises(ValueError, match="the commit"):
        goes_wrong()
    assert len(_files(tmp_path)) == 1


def test_what_cant_be_removed_is_left_to_the_sweep_and_hides_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    storage = FolderStorage(tmp_path)

    def away(_: str) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(storage, "delete", away)

    def goes_wrong() -> None:
        with ResultStore(storage) as storing:
            storing.put(b"a result").result()
            raise ValueError("a defect")

    with caplog.at_level("INFO", logger="whyray"), pytest.raises(ValueError, match="a defect"):
        goes_wrong()
    assert len(_files(tmp_path)) == 1
    assert "left to the sweep" in caplog.text
