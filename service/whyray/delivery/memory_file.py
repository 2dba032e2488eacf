"""Files that no disk ever holds: what was compressed for one peer must not be left behind."""

from __future__ import annotations

import os
import weakref


class MemoryFile:
    """Bytes under a path that this process can open, until it is closed or let go.

    Raises
    ------
    OSError
        If the system has no such files, or no room for one.
    """

    def __init__(self, content: bytes) -> None:
        if not hasattr(os, "memfd_create"):
            raise OSError("files in memory are Linux's")
        handle = os.memfd_create("whyray-outgoing", os.MFD_CLOEXEC)
        self.close = weakref.finalize(self, os.close, handle)
        self._path = f"/proc/self/fd/{handle}"
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]

    def __fspath__(self) -> str:
        return self._path
