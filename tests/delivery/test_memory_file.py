"""A file in memory holds what it was given, and is gone when nobody holds it."""

from __future__ import annotations

import os
from pathlib import Path

from whyray.delivery.memory_file import MemoryFile


def inode(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None


def test_a_file_in_memory_is_read_by_its_path_until_it_is_let_go() -> None:
    content = os.urandom(1 << 20)
    file = MemoryFile(content)
    path = Path(file)
    assert path.read_bytes() == content
    was = inode(path)
    del file
    assert was != inode(path)


def test_a_closed_file_in_memory_is_gone_and_may_be_closed_again() -> None:
    file = MemoryFile(b"something")
    path = Path(file)
    was = inode(path)
    file.close()
    file.close()
    assert was != inode(path)
