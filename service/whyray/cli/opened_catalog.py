"""The catalog of an installation, opened for one command, and who gives the command."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whyray.catalog import Catalog

_LONGEST = 64


@contextmanager
def opened_catalog(config: Path) -> Iterator[Catalog]:
    """The catalog that this configuration names, or the one in force where the file can't be obeyed; closed at the end.

    Raises ConfigError if the configuration can't be read, and what `Catalog` raises if the catalog can't be.
    """
    from whyray.app.context import sealing_keys
    from whyray.app.kept_config import config_to_ask_by
    from whyray.catalog import Catalog

    settings = config_to_ask_by(config)
    catalog = Catalog(settings.catalog_url, keys=sealing_keys(settings))
    try:
        yield catalog
    finally:
        catalog.close()


def acting_user() -> str:
    """Who gives the command, as far as the machine knows (that is not proved); at most 64 characters."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"command line, {user}"[:_LONGEST]
