"""What a file system can still take: bytes, and files, of which many have a number that is fixed when they are made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DiskSpace:
    """What is free to this process on one file system, and which it is."""

    free_bytes: int
    free_files: int | None
    """Inodes that are left; None where the file system makes them as they are needed."""
    device: int = 0


def disk_space(folder: Path) -> DiskSpace:
    """What is free on the file system that holds a folder. Raises OSError."""
    figures = os.statvfs(folder)
    free_files = figures.f_favail if figures.f_files else None
    return DiskSpace(figures.f_bavail * figures.f_frsize, free_files, folder.stat().st_dev)
