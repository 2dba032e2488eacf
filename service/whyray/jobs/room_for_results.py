"""Whether storage takes what a job is going to make: asked before it computes for nothing."""

from __future__ import annotations

from whyray.base.errors import StorageUnavailable
from whyray.storage import Storage

LEAST_ROOM = 64 << 20
"""Free bytes without which no job is begun: what a study's objects take, roughly. Far below where senders are refused
by default, so that what was acknowledged is still worked on then, and retention can remove it."""


def check_room(storage: Storage, refused_below: int) -> None:
    """Refuse to begin a job whose results could not be stored: what it would compute would be thrown away.

    Parameters
    ----------
    refused_below
        Free bytes below which instances are refused, where an administrator has set less than `LEAST_ROOM`.

    Raises
    ------
    StorageUnavailable
        If storage is away, can't be written, or has no room.
    """
    hindrance = storage.hindrance()
    if hindrance is not None:
        raise hindrance
    try:
        space = storage.disk_space()
    except OSError as error:  # it went between two questions
        raise StorageUnavailable(f"storage can't be read ({error.strerror})") from error
    if space is None:
        return
    if space.free_files == 0:
        raise StorageUnavailable("storage has no room for results: no inode is left, whatever is free in bytes")
    if space.free_bytes < max(1, min(refused_below, LEAST_ROOM)):
        raise StorageUnavailable(f"storage has no room for results: {space.free_bytes >> 20} MiB are free")
