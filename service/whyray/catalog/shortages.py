"""What keeps instances from being taken in: a disk that is full or nearly so, or that can't be written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from whyray.base.disk_space import DiskSpace
from whyray.base.errors import StorageUnavailable
from whyray.catalog.attention_item import Attention
from whyray.catalog.event_kinds import EventKind
from whyray.catalog.tables import Event

LOW_SPACE = 5 * 2**30
"""Free bytes below which storage is called short: about ten CT studies."""
LOW_FILES = 20_000
"""Free inodes below which storage is called short: an instance takes one, a result up to three."""
LOW_SPACE_OF_CATALOG = 2**30
_LATELY = timedelta(minutes=10)
"""A refusal is an event once a minute while senders go on; so long after the last one it counts as over."""
_REFUSALS: tuple[EventKind, ...] = ("intake.storage-failed", "intake.catalog-down")
_GIB = 2**30


@dataclass(frozen=True)
class Disks:
    """What the disks of storage and catalog can still take; None where nobody knows, or none of this machine's."""

    storage: DiskSpace | None = None
    catalog: DiskSpace | None = None
    refused_below: int = 0
    """Free bytes of storage below which instances are refused: `listener.limits.min_free_disk`."""
    storage_away: str | None = None
    """Why nothing can be read from storage and written to it, in words; None where it answers."""


def shortages(session: Session, now: datetime, disks: Disks) -> list[Attention]:
    """What is short, and what was refused lately for want of it."""
    return [*_away(disks), *_storage(disks), *_catalog(disks), *_refused(session, now)]


def _away(disks: Disks) -> Iterator[Attention]:
    if disks.storage_away is not None:
        yield Attention(
            severity="error",
            kind="storage.away",
            title="Images and results can be neither read nor written",
            message=disks.storage_away,
            advice=f"{StorageUnavailable.default_advice} Senders are answered A700, jobs and deliveries wait, and all "
            "goes on by itself.",
        )


def _storage(disks: Disks) -> Iterator[Attention]:
    space = disks.storage
    if space is None:
        return
    free = f"{_size(space.free_bytes)} are free"
    refused_below = f"{_size(disks.refused_below)} (listener.limits.min_free_disk)"
    if space.free_bytes < disks.refused_below:
        yield Attention(
            severity="error",
            kind="storage.low",
            title="Instances are refused, for storage is full",
            message=f"{free}; senders are answered A700 below {refused_below}, and keep what they have",
            advice="Free disk or shorten the retention; it goes on by itself then, when the senders send again.",
        )
    elif space.free_bytes < LOW_SPACE:
        yield Attention(
            severity="error",
            kind="storage.low",
            title="Storage is nearly full",
            message=f"{free}, {LOW_SPACE / _GIB:.0f} GiB are wanted",
            advice=f"Free disk or shorten the retention; new instances are refused below {refused_below}.",
        )
    if space.free_files is not None and space.free_files < LOW_FILES:
        yield Attention(
            severity="error",
            kind="storage.few-files",
            title="Storage is nearly out of inodes",
            message=f"{space.free_files:,} more files can be made, {LOW_FILES:,} are wanted; {free}",
            advice="Shorten the retention, or make the file system anew with more inodes (`df -i` tells how many it "
            "has); new instances are refused when none is left.",
        )


def _size(count: int) -> str:
    """'2.0 GiB', '37 MiB', '0 KiB': in GiB, a disk that is nearly full has none."""
    if count >= _GIB:
        return f"{count / _GIB:.1f} GiB"
    return f"{count >> 20} MiB" if count >= 2**20 else f"{count >> 10} KiB"


def _catalog(disks: Disks) -> Iterator[Attention]:
    space = disks.catalog
    if space is None or (disks.storage is not None and disks.storage.device == space.device):
        return
    if space.free_bytes < LOW_SPACE_OF_CATALOG or space.free_files == 0:
        yield Attention(
            severity="error",
            kind="catalog.low",
            title="The disk of the catalog is nearly full",
            message=f"{space.free_bytes / 2**20:,.0f} MiB are free, {LOW_SPACE_OF_CATALOG / 2**20:,.0f} MiB are wanted",
            advice="Free that disk. When nothing is left, senders are answered A701, no job begins, and roles that run "
            "are called silent here, for their signs of life can't be written.",
        )


def _refused(session: Session, now: datetime) -> Iterator[Attention]:
    lately = (Event.kind.in_(_REFUSALS), Event.at >= now - _LATELY)
    newest = session.scalar(select(Event).where(*lately).order_by(Event.at.desc()).limit(1))
    if newest is not None:
        yield Attention(
            severity="error",
            kind="intake.refused",
            title="Instances were refused within the last 10 minutes",
            message=newest.message,
            advice="Free the disk that is named, or correct the rights on its folder. What was refused is not here: "
            "the sender has it, and most send again by themselves.",
            since=newest.at,
        )
