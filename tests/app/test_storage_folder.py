"""A storage folder that is not the one that was here: a disk that is not mounted when the service starts."""

from __future__ import annotations

import pytest

from site_under_test import Site, film, site
from whyray.app.context import Context
from whyray.base.errors import StorageUnavailable

__all__ = ["site"]


def test_a_start_without_the_disk_of_storage_is_refused_and_nothing_is_begun_beside_it(site: Site) -> None:
    """Images were acknowledged into the folder below the disk, and out of sight once it was mounted."""
    site.receive([film()])
    root = site.storage.root
    disk = root.with_name("disk")
    root.rename(disk)
    for there in (False, True):  # where a disk is to be mounted, an empty folder may be
        if there:
            root.mkdir()
        with pytest.raises(StorageUnavailable, match="holds nothing, and the catalog names what lay in it") as caught:
            Context.open(site.folder / "whyray.yaml")
        assert caught.value.retriable, "it starts by itself once the disk is there"
        assert "Mount the disk" in caught.value.advice
        assert not root.exists() or list(root.iterdir()) == []
    root.rmdir()
    disk.rename(root)
    Context.open(site.folder / "whyray.yaml").close()


def test_what_is_lost_for_good_can_be_gone_on_without(site: Site) -> None:
    site.receive([film()])
    root = site.storage.root
    root.rename(root.with_name("lost"))
    (root / "incoming").mkdir(parents=True)
    context = Context.open(site.folder / "whyray.yaml")
    assert context.storage.put(b"new").size == 3
    context.close()


def test_a_first_start_makes_the_folder(site: Site) -> None:
    root = site.storage.root
    root.rename(root.with_name("elsewhere"))
    Context.open(site.folder / "whyray.yaml").close()
    assert (root / "incoming").is_dir()
