"""A storage over an object store, which knows names and bytes, and no files."""

from __future__ import annotations

import hashlib
import io
import secrets
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from whyray.base.errors import NotFound
from whyray.storage import Stored


class Bucket:
    """The four verbs of an object store: put, get, list and delete."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, datetime]] = {}
        self._lock = threading.Lock()

    def put(self, name: str, body: bytes) -> None:
        with self._lock:
            self._objects[name] = (body, datetime.now(UTC))

    def get(self, name: str) -> bytes | None:
        with self._lock:
            entry = self._objects.get(name)
        return None if entry is None else entry[0]

    def list(self) -> list[tuple[str, datetime]]:
        with self._lock:
            return [(name, at) for name, (_, at) in self._objects.items()]

    def delete(self, name: str) -> None:
        with self._lock:
            self._objects.pop(name, None)


class BucketWriter:
    """One object on its way: written to a local file first, put into the bucket as a whole."""

    def __init__(self, bucket: Bucket, local: Path, suffix: str, prefix: bytes) -> None:
        self._bucket, self._suffix = bucket, suffix
        self.path = local / f"writing-{secrets.token_hex(8)}"
        self._file = self.path.open("xb", buffering=0)
        self._file.write(prefix)
        self._digest = hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        self._digest.update(data)
        self._file.write(data)

    def commit(self) -> Stored:
        sha256 = self._digest.hexdigest()
        key = f"{sha256}-{secrets.token_hex(4)}{self._suffix}"
        body = self.path.read_bytes()
        self._bucket.put(key, body)
        self.discard()
        return Stored(key, sha256, len(body))

    def open(self) -> BinaryIO:
        return self.path.open("rb")

    def discard(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


class ObjectStorage:
    """`whyray.storage.Storage` over a bucket; `local` is a folder for what is being written or read."""

    def __init__(self, bucket: Bucket, local: Path) -> None:
        self.bucket, self.local = bucket, local
        self.copied = 0
        """How many local copies were asked for."""
        local.mkdir(parents=True, exist_ok=True)

    def writer(self, *, suffix: str = "", prefix: bytes = b"") -> BucketWriter:
        return BucketWriter(self.bucket, self.local, suffix, prefix)

    def put(self, source: bytes | Path | Iterable[bytes], *, suffix: str = "") -> Stored:
        if isinstance(source, Path):
            source = source.read_bytes()
        writer = self.writer(suffix=suffix)
        for piece in [source] if isinstance(source, bytes) else source:
            writer.write(piece)
        return writer.commit()

    def put_bytes(self, data: bytes, *, suffix: str = "") -> str:
        return self.put(data, suffix=suffix).key

    def open(self, key: str) -> BinaryIO:
        return io.BytesIO(self._bytes(key))

    @contextmanager
    def local_file(self, key: str) -> Iterator[Path]:
        body = self._bytes(key)
        self.copied += 1
        with tempfile.TemporaryDirectory(dir=self.local) as folder:
            file = Path(folder) / key
            file.write_bytes(body)
            yield file

    def exists(self, key: str) -> bool:
        return self.bucket.get(key) is not None

    def delete(self, key: str) -> None:
        self.bucket.delete(key)

    def hindrance(self) -> None:
        return None

    def free_bytes(self) -> int:
        return 1 << 50

    def disk_space(self) -> None:
        return None

    def stale(self, before: datetime) -> Iterator[str]:
        return (name for name, at in self.bucket.list() if at < before)

    def clear_unfinished(self, before: datetime) -> int:
        left = [file for file in self.local.glob("writing-*") if file.stat().st_mtime < before.timestamp()]
        for file in left:
            file.unlink()
        return len(left)

    def _bytes(self, key: str) -> bytes:
        body = self.bucket.get(key)
        if body is None:
            raise NotFound(f"no bytes under {key} in the bucket")
        return body
