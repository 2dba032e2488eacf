"""Storage in a folder of one filesystem: local disk, or a share that keeps POSIX's promises on rename and fsync.

`ROOT/incoming/` holds objects that are being written; `ROOT/ab/` the finished ones whose SHA-256 begins with ab. A key
is 'ab/<sha256>-<token><suffix>': lower-case hexadecimal, digits and a suffix, so that it is valid and distinct on
filesystems that fold case too. The token makes each write's key its own: were equal contents one file, then removing an
expired copy could take away the bytes of one that is just being acknowledged.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import BinaryIO, TypeVar

from whyray.base.errors import NotFound, ResourceExhausted
from whyray.storage.store import Stored

_KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}-[0-9a-z]{1,32}(\.[a-z0-9.]{1,16})?")
_SUFFIX = re.compile(r"(\.[a-z0-9.]{1,16})?")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_PIECE = 1 << 20

T = TypeVar("T")


def random_token() -> str:
    """Eight random hexadecimal digits."""
    return secrets.token_hex(4)


class FolderStorage:
    """Objects as files below `root`, which is made if it does not exist. Safe for threads and for several processes.

    Parameters
    ----------
    root
        A folder; everything below it is this class's.
    token
        Gives the distinguishing part of a key: 1 to 32 of [0-9a-z].
    """

    def __init__(self, root: Path, *, token: Callable[[], str] = random_token) -> None:
        self.root = root
        self._token = token
        self._incoming = root / "incoming"
        self._synced: set[str] = set()
        _guarded(self._make, self._incoming)

    def _make(self) -> None:
        self._incoming.mkdir(parents=True, exist_ok=True)
        _sync_folder(self.root.parent)

    def writer(self, *, suffix: str = "", prefix: bytes = b"") -> FolderWriter:
        """Begin an object; see `Storage.writer`."""
        if not _SUFFIX.fullmatch(suffix):
            raise ValueError(f"a key's suffix is '.' and lower-case letters or digits, not {suffix!r}")
        return FolderWriter(self.root, self._incoming, self._synced, self._token, suffix, prefix)

    def put(self, source: bytes | Path | Iterable[bytes], *, suffix: str = "") -> Stored:
        """Keep bytes, a file's content or a stream of pieces, durably; see `Storage.put`."""
        writer = self.writer(suffix=suffix)
        try:
            for piece in _pieces(source):
                writer.write(piece)
            return writer.commit()
        except BaseException:
            writer.discard()
            raise

    def put_bytes(self, data: bytes, *, suffix: str = "") -> str:
        """Keep bytes; says under which key; see `Storage.put_bytes`."""
        return self.put(data, suffix=suffix).key

    def open(self, key: str) -> BinaryIO:
        """Open for reading; see `Storage.open`."""
        try:
            return self._file(key).open("rb")
        except FileNotFoundError:
            raise _missing(key) from None

    @contextmanager
    def local_file(self, key: str) -> Iterator[Path]:
        """Give the file itself, nothing is copied; see `Storage.local_file`."""
        file = self._file(key)
        if not file.is_file():
            raise _missing(key)
        yield file

    def exists(self, key: str) -> bool:
        """Whether there is such a file."""
        return self._file(key).is_file()

    def delete(self, key: str) -> None:
        """Remove the file, if there is one."""
        self._file(key).unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Bytes free to this process on the filesystem that holds `root`."""
        return shutil.disk_usage(self.root).free

    def stale(self, before: datetime) -> Iterator[str]:
        """Keys of files last written before `before`."""
        limit = before.timestamp()
        for shard in sorted(self.root.glob("[0-9a-f][0-9a-f]")):
            for file in shard.iterdir():
                key = f"{shard.name}/{file.name}"
                if _KEY.fullmatch(key) and _written(file) < limit:
                    yield key

    def clear_unfinished(self, before: datetime) -> int:
        """Remove files in `incoming` that nobody has written to since `before`."""
        limit, removed = before.timestamp(), 0
        for file in self._incoming.iterdir():
            if _written(file) < limit:
                file.unlink(missing_ok=True)
                removed += 1
        return removed

    def _file(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise NotFound(f"{key!r} is not a key of this storage")
        return self.root / key


class FolderWriter:
    """One object on its way into a `FolderStorage`; see `Writer`."""

    def __init__(
        self, root: Path, incoming: Path, synced: set[str], token: Callable[[], str], suffix: str, prefix: bytes
    ) -> None:
        self._root, self._synced, self._token, self._suffix = root, synced, token, suffix
        self._digest = hashlib.sha256()
        self._size = 0
        self.path = incoming / f"{os.getpid()}-{secrets.token_hex(8)}"
        self._file = _guarded(lambda: self.path.open("xb", buffering=0), self.path)
        if prefix:
            self._append(prefix)

    def write(self, data: bytes) -> None:
        """Append; see `Writer.write`."""
        self._digest.update(data)
        self._append(data)

    def _append(self, data: bytes) -> None:
        _guarded(lambda: _write_all(self._file, data), self.path)
        self._size += len(data)

    def commit(self) -> Stored:
        """Sync the file, give it its name, sync the folder: in this order; see `Writer.commit`."""
        sha256 = self._digest.hexdigest()
        shard = self._root / sha256[:2]
        key = f"{shard.name}/{sha256}-{self._token()}{self._suffix}"
        try:
            _guarded(lambda: self._publish(shard, self._root / key), self.path)
        except BaseException:
            self.discard()
            raise
        return Stored(key, sha256, self._size)

    def _publish(self, shard: Path, target: Path) -> None:
        os.fsync(self._file.fileno())
        self._file.close()
        if shard.name not in self._synced:  # another process may have made it, and not have synced it yet
            shard.mkdir(exist_ok=True)
            _sync_folder(self._root)
            self._synced.add(shard.name)
        self.path.rename(target)
        _sync_folder(shard)

    def discard(self) -> None:
        """Remove what was written; see `Writer.discard`."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def _write_all(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _pieces(source: bytes | Path | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
    elif isinstance(source, Path):
        with source.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
    else:
        yield from source


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # taken away in the meantime: not stale
        return datetime.max.replace(tzinfo=UTC).timestamp()


def _missing(key: str) -> NotFound:
    return NotFound(
        f"no bytes under {key} in storage", advice="The object was removed behind WhyRay's back; send it again."
    )


def _guarded(action: Callable[[], T], place: Path) -> T:
    try:
        return action()
    except OSError as error:
        what = "is full" if error.errno in _FULL else f"can't be written ({error.strerror})"
        raise ResourceExhausted(
            f"storage at {place.parent} {what}", advice="Free disk, or correct the folder's rights; then send again."
        ) from error
