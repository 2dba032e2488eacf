"""What WhyRay asks of the place where bytes live. A folder is the default; an object store can stand in for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from whyray.base.disk_space import DiskSpace
from whyray.base.errors import StorageUnavailable


@dataclass(frozen=True)
class Stored:
    """Bytes that survive a crash. `sha256` (hex) is over all but a writer's `prefix`; `size` counts all."""

    key: str
    sha256: str
    size: int


class Writer(Protocol):
    """One object on its way in: written in pieces, then committed or discarded, once."""

    @property
    def path(self) -> Path:
        """The local file that grows, maybe sealed; gone after `commit` or `discard`."""
        ...

    def open(self) -> BinaryIO:
        """The bytes written so far, prefix included, for reading and seeking; not after `commit` or `discard`."""
        ...

    def write(self, data: bytes | memoryview) -> None:
        """Append.

        Raises
        ------
        ResourceExhausted
            If the bytes can't be written: disk full, quota, read-only.
        """
        ...

    def commit(self) -> Stored:
        """Make the object durable under a new key: after this returns, not even a power cut takes it away.

        Raises
        ------
        ResourceExhausted
            As `write`; then nothing is kept.
        """
        ...

    def discard(self) -> None:
        """Remove what was written; harmless after `commit` and when called twice."""
        ...


class Storage(Protocol):
    """Durable bytes under keys. Each write gets a key of its own, so that removing one copy never takes another's."""

    def writer(self, *, suffix: str = "", prefix: bytes = b"") -> Writer:
        """Begin an object. `suffix` ends its key ('.dcm'); `prefix` comes first and is not part of its digest."""
        ...

    def put(self, source: bytes | Path | Iterable[bytes], *, suffix: str = "") -> Stored:
        """Keep bytes, a finished file's content (the file stays) or a stream of pieces, durably.

        Raises
        ------
        ResourceExhausted
            If the bytes can't be written; then nothing is kept.
        """
        ...

    def put_bytes(self, data: bytes, *, suffix: str = "") -> str:
        """`put` for who needs the key alone."""
        ...

    def open(self, key: str) -> BinaryIO:
        """Open for reading.

        Raises
        ------
        NotFound
            If there are no bytes under this key.
        StorageUnavailable
            If it can't be read, or is not there itself.
        """
        ...

    def local_file(self, key: str) -> AbstractContextManager[Path]:
        """A local file with these bytes, to be read only, and not after the context has ended.

        A folder gives the file itself, an encrypted folder the opened bytes in memory, an object store a copy that it
        removes at the end. Whoever reads pixels or
        digests later than headers, such as `whyray.imaging.read_images`, keeps the context open until then.

        Raises
        ------
        NotFound, StorageUnavailable
            When the context is entered, as `open`.
        ResourceExhausted
            When it is entered, if there is no room for a copy.
        """
        ...

    def exists(self, key: str) -> bool:
        """Whether there are bytes under this key."""
        ...

    def delete(self, key: str) -> None:
        """Remove; harmless if there is nothing."""
        ...

    def hindrance(self) -> StorageUnavailable | None:
        """Why nothing can be read from it and written to it now; None where both can."""
        ...

    def free_bytes(self) -> int:
        """How many bytes can still be written; raises StorageUnavailable where it is away."""
        ...

    def disk_space(self) -> DiskSpace | None:
        """What the file system that holds it can still take; None where it is on none of this machine's."""
        ...

    def stale(self, before: datetime) -> Iterator[str]:
        """Keys of objects that were written before `before`."""
        ...

    def clear_unfinished(self, before: datetime) -> int:
        """Remove what writers that died before `before` left behind; says how many."""
        ...
