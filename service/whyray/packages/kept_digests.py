"""Digests of files, kept for as long as the files are what they were: a package is looked up at every job.

What a network weighs is hashed in 2 ms a megabyte; that nothing was written since is told by the files' own times.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_STILL = 2_000_000_000
"""Nanoseconds since the last change after which a digest is kept: file systems count times in steps of up to 2 s, and
within one step a file may change without another time."""


@dataclass(frozen=True)
class _State:
    """What changes with any change of a file: the kernel sets `changed`, and nobody else can.

    `name` is the path below the package's folder.
    """

    name: str
    device: int
    inode: int
    size: int
    written: int
    changed: int


MOST_KEPT = 256
"""Packages whose digests are kept, those that were looked up last: more than a site has, and no more than fit."""
_kept: dict[Path, tuple[tuple[_State, ...], str]] = {}
"""By resolved folder, the one looked up last at the end."""


def digest_of_files(folder: Path, files: Sequence[Path]) -> str:
    """SHA-256 (hex) over the names below `folder`, sizes and bytes of files, in their order."""
    digest = hashlib.sha256()
    for path in files:
        relative = path.relative_to(folder).as_posix()
        digest.update(relative.encode() + b"\0" + path.stat().st_size.to_bytes(8, "big"))
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def kept_digest(folder: Path, files: Sequence[Path], *, now: int | None = None) -> str:
    """`digest_of_files`; that of the last time where the files are the same ones, unchanged since.

    `now` in nanoseconds since 1970, by the clock that counts the files' times.
    """
    now, before = time.time_ns() if now is None else now, _states(folder, files)
    place = folder.resolve()
    known = _kept.pop(place, None)
    if known is not None and known[0] == before:
        _kept[place] = known
        return known[1]
    digest = digest_of_files(folder, files)
    last_change = max((max(state.written, state.changed) for state in before), default=0)
    if last_change + _STILL < now and _states(folder, files) == before:
        _kept[place] = before, digest
        for oldest in list(_kept)[:-MOST_KEPT]:
            _kept.pop(oldest, None)  # another thread may have been faster
    return digest


def _states(folder: Path, files: Sequence[Path]) -> tuple[_State, ...]:
    found = [(path.relative_to(folder).as_posix(), path.stat()) for path in files]
    return tuple(
        _State(name, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        for name, state in found
    )
