"""The bytes of an instance that has just been written: first and last from memory, others from its file when asked."""

from __future__ import annotations

from collections.abc import Callable
from mmap import ACCESS_READ, mmap
from typing import BinaryIO


class ReceivedBytes:
    """A `Buffer` of `size` bytes that begin with `first` and end with `last`; `open_file` gives all of them, and is
    not asked before.
    """

    def __init__(self, first: bytes, size: int, open_file: Callable[[], BinaryIO], last: bytes = b"") -> None:
        self._first, self._size, self._open_file, self._last = first, size, open_file, last
        self._last_begins = size - len(last)
        self._file: BinaryIO | None = None
        self._mapped: mmap | None = None

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: slice) -> bytes:
        start, end, _ = index.indices(self._size)
        if end <= len(self._first) or start >= end:
            return self._first[start:end]
        if start >= self._last_begins:
            return self._last[start - self._last_begins : end - self._last_begins]
        if self._file is None:
            self._open()
        if self._mapped is not None:
            return self._mapped[start:end]
        assert self._file is not None
        self._file.seek(start)
        return self._file.read(max(0, end - start))

    def _open(self) -> None:
        self._file = file = self._open_file()
        try:
            number = file.fileno()
        except OSError:  # io.UnsupportedOperation is one: of a sealed file, which is read piece by piece
            return
        self._mapped = mmap(number, 0, access=ACCESS_READ)

    def close(self) -> None:
        """Let go of the file."""
        if self._mapped is not None:
            self._mapped.close()
        if self._file is not None:
            self._file.close()
