"""One object on its way into a folder: written beside the finished ones, synced, renamed, its folder synced."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from io import BufferedReader, FileIO
from itertools import count
from pathlib import Path
from typing import BinaryIO, TypeVar

from whyray.base.disk_space import disk_space
from whyray.base.errors import StorageUnavailable
from whyray.base.sealing import Sealer, SealingKeys, Unfinished, Unsealed
from whyray.storage.store import Stored

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_BEGUN, _NUMBERS = secrets.token_hex(8), count()
"""What names files that are being written, with the number of the process: a child that was forked has another."""

T = TypeVar("T")


class Shards:
    """The folders in `root` that hold finished objects."""

    def __init__(self, root: Path) -> None:
        self._root, self._lock, self._made = root, threading.Lock(), threading.Event()

    def make(self) -> None:
        """All 256 at once, so that their parent is synced once and not in the way of each of the first objects.

        Another process may have made them, and not have synced them yet.
        """
        if self._made.is_set():
            return
        with self._lock:
            if self._made.is_set():
                return
            there = {path.name for path in self._root.iterdir()}
            for name in (f"{number:02x}" for number in range(256)):
                if name not in there:
                    (self._root / name).mkdir(exist_ok=True)
            sync_folder(self._root)
            self._made.set()


class FolderWriter:
    """One object on its way into a `FolderStorage`; see `Writer`."""

    def __init__(
        self,
        root: Path,
        incoming: Path,
        shards: Shards,
        token: Callable[[], str],
        suffix: str,
        prefix: bytes,
        keys: SealingKeys | None = None,
    ) -> None:
        self._root, self._incoming, self._shards, self._token, self._suffix = root, incoming, shards, token, suffix
        self._keys, self._sealer = keys, None if keys is None else Sealer(keys)
        self._digest = hashlib.sha256()
        self._size = 0
        # paths as text: making a Path of each takes longer than some of what is done with it
        self._path = f"{incoming}/{os.getpid()}-{_BEGUN}-{next(_NUMBERS)}"
        self._over = False
        self._file = as_unavailable(lambda: FileIO(self._path, "xb"), incoming)
        if prefix:
            self._append(prefix)

    @property
    def path(self) -> Path:
        """The file that grows; see `Writer.path`."""
        return Path(self._path)

    def write(self, data: bytes | memoryview) -> None:
        """Append; see `Writer.write`."""
        self._digest.update(data)
        self._append(data)

    def _append(self, data: bytes | memoryview) -> None:
        written = data if self._sealer is None else self._sealer.update(data)
        as_unavailable(lambda: write_all(self._file, written), self._incoming)
        self._size += len(data)

    def open(self) -> BinaryIO:
        """What has been written so far; see `Writer.open`."""
        file = self.path.open("rb")
        if self._keys is None or self._sealer is None:
            return file
        sealer = self._sealer
        unfinished = Unfinished(sealer.cipher, sealer.prefix, sealer.segments, bytes(sealer.pending))
        return BufferedReader(Unsealed(file, self._keys, unfinished))

    def commit(self) -> Stored:
        """Sync the file, give it its name, sync the folder: in this order; see `Writer.commit`."""
        sha256 = self._digest.hexdigest()
        shard = sha256[:2]
        key = f"{shard}/{sha256}-{self._token()}{self._suffix}"
        try:
            as_unavailable(lambda: self._publish(f"{self._root}/{shard}", f"{self._root}/{key}"), self._incoming)
        except BaseException:
            self.discard()
            raise
        return Stored(key, sha256, self._size)

    def replace(self, target: Path) -> None:
        """Make the object durable in the place of one that is there."""
        as_unavailable(lambda: self._publish(target.parent, target), self._incoming)

    def _publish(self, shard: Path | str, target: Path | str) -> None:
        if self._sealer is not None:
            write_all(self._file, self._sealer.finish())
        os.fsync(self._file.fileno())
        self._file.close()
        self._shards.make()
        os.rename(self._path, target)  # noqa: PTH104
        self._over = True
        sync_folder(shard)

    def discard(self) -> None:
        """Remove what was written; see `Writer.discard`."""
        if self._over:
            return
        self._over = True
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            os.unlink(self._path)  # noqa: PTH108


def write_all(file: FileIO, data: bytes | memoryview) -> None:
    """Write all of it: the system may take less at a time. Raises OSError if it can't be."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def sync_folder(folder: Path | str) -> None:
    """Make the names in a folder durable. Raises OSError if it can't be."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def as_unavailable(action: Callable[[], T], place: Path) -> T:
    """What an action gives; `place` is a folder in the storage's root, which is named where it fails.

    Raises
    ------
    StorageUnavailable
        In place of any OSError of the action: the disk is full, or the folder can't be written.
    """
    try:
        return action()
    except OSError as error:
        what = _fullness(place.parent) if error.errno in _FULL else f"can't be written ({error.strerror})"
        raise StorageUnavailable(
            f"storage at {place.parent} {what}",
            advice="Free disk, mount it, or correct the folder's rights; what was refused is to be sent again.",
        ) from error


def _fullness(folder: Path) -> str:
    """A disk that has bytes left, and no file to put them in, looks free to who asks `df` alone."""
    with suppress(OSError):
        if disk_space(folder).free_files == 0:
            return "has no inode left, whatever is free in bytes (`df -i`)"
    return "is full"
