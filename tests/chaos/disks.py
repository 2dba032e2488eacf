"""Small filesystems that can be filled to the last byte; where root may mount none, a limit on the size of files."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def may_mount(folder: Path) -> bool:
    """Whether a tmpfs can be mounted here."""
    if os.geteuid() != 0:
        return False
    probe = folder / "mount-probe"
    probe.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", probe], capture_output=True, check=False)
    if done.returncode == 0:
        subprocess.run(["umount", probe], capture_output=True, check=False)
    probe.rmdir()
    return done.returncode == 0


class Disk:
    """A tmpfs of `size` bytes at `folder`."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self._size = folder, size
        self._filler = folder / "filler"

    def mount(self) -> None:
        """Mount it, open to all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        options = f"size={self._size},mode=0755"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.folder], check=True, capture_output=True)

    def unmount(self) -> None:
        """Unmount it, also while somebody has files open."""
        with suppress(FileNotFoundError):
            self._filler.unlink()
        subprocess.run(["umount", "--lazy", self.folder], check=False, capture_output=True)

    def fill(self, leave: int = 0) -> None:
        """Write until nothing, or `leave` bytes, can be written any more."""
        piece = bytes(1 << 20)
        with self._filler.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(piece)
        with self._filler.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(piece[:4096])
        if leave:
            os.truncate(self._filler, max(0, self._filler.stat().st_size - leave))

    def free(self) -> None:
        """Give the space back."""
        with suppress(FileNotFoundError):
            self._filler.unlink()


def limit_files(pids: Iterable[int], size: int | None) -> None:
    """Let these processes write no file beyond `size` bytes (EFBIG); None lifts that."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))
