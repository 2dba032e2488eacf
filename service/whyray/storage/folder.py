"""Storage in a folder of one filesystem: local disk, or a share that keeps POSIX's promises on rename and fsync.

`ROOT/incoming/` holds objects that are being written; `ROOT/ab/` the finished ones whose SHA-256 begins with ab. A key
is 'ab/<sha256>-<token><suffix>': lower-case hexadecimal, digits and a suffix, so that it is valid and distinct on
filesystems that fold case too. The token makes each write's key its own: were equal contents one file, then removing an
expired copy could take away the bytes of one that is just being acknowledged.

With keys all that is written is sealed (see `whyray.base.sealing`); SHA-256 and size remain those of the plain bytes.
What was written before there were keys is read as it is.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BufferedReader, FileIO
from pathlib import Path
from typing import BinaryIO, TypeVar

from whyray.base.disk_space import DiskSpace, disk_space, why_unusable
from whyray.base.errors import NotFound, ResourceExhausted, StorageUnavailable
from whyray.base.failures import raise_unreadable
from whyray.base.sealing import (
    MAGIC,
    SealingKeys,
    Unsealed,
    is_sealed,
    pieces,
    sealed_with,
    unsealed,
)
from whyray.storage.folder_writer import FolderWriter, Shards, as_unavailable, sync_folder, write_all
from whyray.storage.store import Stored

INCOMING = "incoming"
SHARD = re.compile(r"[0-9a-f]{2}")
_KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}-[0-9a-z]{1,32}(\.[a-z0-9.]{1,16})?")
_SUFFIX = re.compile(r"(\.[a-z0-9.]{1,16})?")
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
    keys
        With what is sealed; plain where left out. `whyray.storage.open_folder` sees that they fit what is there.
    """

    def __init__(self, root: Path, *, token: Callable[[], str] = random_token, keys: SealingKeys | None = None) -> None:
        self.root = root
        self.keys = keys
        self._token = token
        self._incoming = root / INCOMING
        self._shards = Shards(root)
        as_unavailable(self._make, self._incoming)

    def _make(self) -> None:
        self._incoming.mkdir(parents=True, exist_ok=True)
        sync_folder(self.root.parent)

    def make_shards(self) -> None:
        """Make the folders of all keys now, and not in the way of the first object; harmless where they are there.

        Raises
        ------
        StorageUnavailable
            If they can't be made.
        """
        as_unavailable(self._shards.make, self.root)

    def writer(self, *, suffix: str = "", prefix: bytes = b"") -> FolderWriter:
        """Begin an object; see `Storage.writer`."""
        if not _SUFFIX.fullmatch(suffix):
            raise ValueError(f"a key's suffix is '.' and lower-case letters or digits, not {suffix!r}")
        return FolderWriter(self.root, self._incoming, self._shards, self._token, suffix, prefix, self.keys)

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
        file = self._opened(key)
        if self.keys is None:
            return file
        try:
            beginning = file.read(len(MAGIC))
            file.seek(0)
            return unsealed(file, self.keys) if is_sealed(beginning) else file
        except BaseException:
            file.close()
            raise

    @contextmanager
    def local_file(self, key: str) -> Iterator[Path]:
        """Give the file itself, nothing is copied; a sealed one is opened into memory. See `Storage.local_file`."""
        file = self._file(key)
        self._opened(key).close()  # whether it can be: whoever reads it may take what can't be read for damaged
        if self.keys is None:
            yield file
            return
        with self.open(key) as source:
            if not isinstance(source.raw if isinstance(source, BufferedReader) else source, Unsealed):
                yield file
                return
            with _in_memory(source) as path:
                yield path

    def exists(self, key: str) -> bool:
        """Whether there is such a file."""
        return self._file(key).is_file()

    def delete(self, key: str) -> None:
        """Remove the file, if there is one."""
        self._file(key).unlink(missing_ok=True)

    def reseal(self, key: str) -> bool:
        """Seal what lies under `key` with the current key, in place; False where it is so already, or gone.

        Readers that have it open go on with what they have. What is removed in this very moment may come back: the
        sweep of orphans takes it away again.

        Raises
        ------
        ValueError
            If this storage has no key.
        StorageUnavailable
            If it can't be read or written now.
        """
        if self.keys is None:
            raise ValueError("this storage has no key")
        file = self._file(key)
        try:
            with file.open("rb") as stream:
                if sealed_with(stream.read(16)) == self.keys.current_id:
                    return False
            with self.open(key) as source:
                writer = self.writer()
                try:
                    for piece in pieces(source):
                        writer.write(piece)
                    writer.replace(file)
                except BaseException:
                    writer.discard()
                    raise
        except (NotFound, FileNotFoundError):
            return False
        return True

    def hindrance(self) -> StorageUnavailable | None:
        """Why nothing can be read from it and written to it now; see `Storage.hindrance`."""
        words = why_unusable(self._incoming)
        return None if words is None else StorageUnavailable(f"storage at {self.root} {words}")

    def free_bytes(self) -> int:
        """Bytes free to this process on the filesystem that holds `root`."""
        try:
            return shutil.disk_usage(self.root).free
        except OSError as error:
            raise StorageUnavailable(f"storage at {self.root} can't be read ({error.strerror})") from error

    def disk_space(self) -> DiskSpace | None:
        """What its file system can still take; see `Storage.disk_space`."""
        return disk_space(self.root)

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

    def _opened(self, key: str) -> BinaryIO:
        """A file that holds an object; raises NotFound or StorageUnavailable."""
        file = self._file(key)
        try:
            return file.open("rb")
        except FileNotFoundError:
            raise self._missing(key) from None
        except OSError as error:
            raise_unreadable(error, f"{key} in storage at {self.root}")
            raise

    def _missing(self, key: str) -> NotFound | StorageUnavailable:
        """Why there is no such file: where the folder that was made when the storage was opened is gone, all is."""
        if not self._incoming.is_dir():
            return StorageUnavailable(f"storage at {self.root} is not there: what lay in it is not found")
        return NotFound(
            f"no bytes under {key} in storage", advice="The object was removed behind WhyRay's back; send it again."
        )

    def _file(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise NotFound(f"{key!r} is not a key of this storage")
        return self.root / key


@contextmanager
def _in_memory(source: BinaryIO) -> Iterator[Path]:
    """A file that no disk ever holds, and that is gone with this process: opened bytes must not be left behind."""
    handle = _kept_in_memory(lambda: os.memfd_create("whyray-opened", os.MFD_CLOEXEC))
    try:
        with FileIO(handle, "wb", closefd=False) as file:
            for piece in pieces(source):
                _kept_in_memory(lambda piece=piece: write_all(file, piece))  # type: ignore[misc]
        # by number of process, so that a process of ours that decodes can open it too
        yield Path(f"/proc/{os.getpid()}/fd/{handle}")
    finally:
        os.close(handle)


def _kept_in_memory(action: Callable[[], T]) -> T:
    """What is refused is this machine's memory, or this process met its limits: no outage of the folder for all."""
    try:
        return action()
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "an error without a number")
        raise ResourceExhausted(
            f"an encrypted object can't be opened in memory: {name}",
            advice="Look at this machine's memory, and at the process's limits on files and their size (`ulimit -a`).",
        ) from error


def _pieces(source: bytes | Path | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
    elif isinstance(source, Path):
        with source.open("rb") as file:
            yield from pieces(file, _PIECE)
    else:
        yield from source


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:  # taken away in the meantime: not stale
        return datetime.max.replace(tzinfo=UTC).timestamp()
