from __future__ import annotations

from collections.abc import Iterator

import pytest

from planted import planted_package
from reader_study.afternoons import Explained, explained
from site_under_test import Clock, Site, configured, site
from whyray.catalog import Catalog, sqlite_url
from whyray.storage import FolderStorage

__all__ = ["site"]


@pytest.fixture(scope="session")
def read_only(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explained]:
    """Eight studies that a worker explained, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("explained")
    planted_package(folder / "packages", shape=(48, 48), modalities=("CR", "DX"))
    clock = Clock()
    catalog = Catalog(sqlite_url(folder / "state" / "catalog.sqlite"), clock=clock)
    made = Site(folder, clock, catalog, FolderStorage(folder / "state" / "instances"), configured(folder))
    yield Explained(made, explained(made))
    catalog.close()
