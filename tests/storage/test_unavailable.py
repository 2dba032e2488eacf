"""Storage that is away, or that may not be read: told apart from an object that is gone, and it may pass."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from whyray.base.errors import NotFound, StorageUnavailable
from whyray.storage import FolderStorage, is_made, open_folder


def refusing(monkeypatch: pytest.MonkeyPatch, number: int, folder: Path) -> None:
    """Have the machine refuse to open what lies in a folder, as a share does that is away: root itself is let in by
    all rights."""
    opens = io.open

    def refused(file: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(file, (str, Path)) and Path(file).is_relative_to(folder):
            raise OSError(number, os.strerror(number), str(file))
        return opens(file, *arguments, **options)

    monkeypatch.setattr(io, "open", refused)
    monkeypatch.setattr(builtins, "open", refused)


def _read_all(storage: FolderStorage, key: str) -> bytes:
    with storage.open(key) as file:
        return file.read()


def _read_local(storage: FolderStorage, key: str) -> bytes:
    with storage.local_file(key) as path:
        return path.read_bytes()


both = pytest.mark.parametrize("read", [_read_all, _read_local])


@both
def test_a_file_that_was_removed_is_gone(tmp_path: Path, read: Callable[[FolderStorage, str], bytes]) -> None:
    storage = open_folder(tmp_path / "store")
    key = storage.put(b"bytes").key
    assert read(storage, key) == b"bytes"
    (storage.root / key).unlink()
    with pytest.raises(NotFound, match="no bytes under"):
        read(storage, key)


@both
def test_where_the_folder_itself_is_away_no_object_is_called_gone(
    tmp_path: Path, read: Callable[[FolderStorage, str], bytes]
) -> None:
    storage = open_folder(tmp_path / "store")
    key = storage.put(b"bytes").key
    storage.root.rename(tmp_path / "elsewhere")
    storage.root.mkdir()  # where a disk was mounted, an empty folder is left
    with pytest.raises(StorageUnavailable, match="is not there") as caught:
        read(storage, key)
    assert caught.value.retriable
    with pytest.raises(StorageUnavailable, match="can't be written"):
        storage.put(b"more")
    assert list(storage.root.iterdir()) == [], "nothing is begun beside it"
    storage.root.rmdir()
    (tmp_path / "elsewhere").rename(storage.root)
    assert read(storage, key) == b"bytes"


@both
@pytest.mark.parametrize("number", [errno.EACCES, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT])
def test_a_file_that_the_machine_refuses_may_be_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, read: Callable[[FolderStorage, str], bytes]
) -> None:
    storage = open_folder(tmp_path / "store")
    key = storage.put(b"bytes").key
    with monkeypatch.context() as patch:
        refusing(patch, number, storage.root)
        with pytest.raises(StorageUnavailable, match="can't be read"):
            read(storage, key)
    assert read(storage, key) == b"bytes"


def test_a_storage_is_there_once_it_was_opened_or_restored(tmp_path: Path) -> None:
    root = tmp_path / "store"
    assert not is_made(root)
    root.mkdir()
    (root / "lost+found").mkdir()
    assert not is_made(root)
    open_folder(root)
    assert is_made(root)
    (root / "incoming").rmdir()
    assert is_made(root)
