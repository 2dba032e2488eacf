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


def why_unusable(folder: Path) -> str | None:
    """Why this process can't read and write in a folder now, in words that follow its name; None where it can."""
    try:
        folder.stat()
    except FileNotFoundError:
        return "is not there"
    except OSError as error:  # a share that does not answer, or a folder above it that may not be entered
        return f"can't be read ({error.strerror})"
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return "can't be read and written: its rights were changed, or it is mounted read-only"
    return None


def disk_space(folder: Path) -> DiskSpace:
    """What is free on the file system that holds a folder. Raises OSError."""
    figures = os.statvfs(folder)
    free_files = figures.f_favail if figures.f_files else None
    return DiskSpace(figures.f_bavail * figures.f_frsize, free_files, folder.stat().st_dev)
