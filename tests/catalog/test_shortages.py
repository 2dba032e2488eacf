"""What the overview says while senders are refused: of bytes, of inodes, of the catalog's own disk, of rights."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from catalog.rows import NOON
from whyray.base.disk_space import DiskSpace, disk_space
from whyray.catalog import Catalog, events
from whyray.catalog.attention import attention
from whyray.catalog.attention_item import Attention
from whyray.catalog.shortages import Disks

PLENTY = DiskSpace(2**45, 10**8, device=1)


def told(catalog: Catalog, disks: Disks, *, after: timedelta = timedelta()) -> list[Attention]:
    with catalog.read() as session:
        return list(attention(session, NOON + after, destinations=[], disks=disks))


def test_plenty_of_all_needs_nobody(catalog: Catalog) -> None:
    assert told(catalog, Disks(PLENTY, PLENTY, 2**31)) == []
    assert told(catalog, Disks()) == []


def test_a_file_system_that_makes_files_as_they_are_needed_is_not_out_of_them(catalog: Catalog) -> None:
    assert told(catalog, Disks(DiskSpace(2**45, None))) == []


def test_a_disk_with_bytes_and_no_inodes_is_told(catalog: Catalog) -> None:
    """Every instance was refused, and nothing was stuck."""
    (item,) = told(catalog, Disks(DiskSpace(2**45, 0)))
    assert (item.severity, item.kind) == ("error", "storage.few-files")
    assert "df -i" in item.advice


def test_instances_that_are_refused_for_want_of_space_are_told_whatever_the_least_is_set_to(catalog: Catalog) -> None:
    """With `min_free_disk: 50 GiB` all were refused at 40 GiB, and nothing was stuck."""
    (item,) = told(catalog, Disks(DiskSpace(40 * 2**30, None), refused_below=50 * 2**30))
    assert item.kind == "storage.low"
    assert "Instances are refused" in item.title
    assert "50.0 GiB (listener.limits.min_free_disk)" in item.message
    (near,) = told(catalog, Disks(DiskSpace(4 * 2**30, None), refused_below=2 * 2**30))
    assert "refused below 2.0 GiB" in near.advice


def test_what_is_free_is_told_in_a_unit_of_which_there_is_some(catalog: Catalog) -> None:
    """ "0.0 GiB are free, below 0.0 GiB" helps nobody."""
    (item,) = told(catalog, Disks(DiskSpace(37 * 2**20, None), refused_below=100 * 2**20))
    assert "37 MiB are free" in item.message
    assert "below 100 MiB (" in item.message
    (item,) = told(catalog, Disks(DiskSpace(4096, None)))
    assert "4 KiB are free" in item.message


def test_the_catalogs_own_disk_is_watched_where_it_is_another(catalog: Catalog) -> None:
    full = DiskSpace(0, 5, device=2)
    (item,) = told(catalog, Disks(PLENTY, full))
    assert item.kind == "catalog.low"
    assert "A701" in item.advice
    assert [item.kind for item in told(catalog, Disks(DiskSpace(0, None, device=2), full))] == ["storage.low"]


def test_what_was_refused_lately_is_told_and_then_forgotten(catalog: Catalog) -> None:
    """A folder whose rights were changed has bytes and inodes in plenty."""
    with catalog.begin() as session:
        events.record(session, NOON, "error", "intake.storage-failed", "storage at /data can't be written (EACCES)")
    (item,) = told(catalog, Disks(PLENTY), after=timedelta(minutes=5))
    assert (item.severity, item.kind) == ("error", "intake.refused")
    assert "/data" in item.message
    assert told(catalog, Disks(PLENTY), after=timedelta(minutes=11)) == []


def test_where_a_catalog_lies_is_known_of_a_file_and_of_no_server(catalog: Catalog) -> None:
    space = catalog.disk_space()
    if catalog.engine.dialect.name == "postgresql":
        assert space is None
        return
    assert space is not None
    assert space.free_bytes > 0
    assert space.device == disk_space(Path(str(catalog.url.database)).parent).device
