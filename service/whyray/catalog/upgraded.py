"""The program that brings a catalog, by its URL from standard input, to the newest schema: `upgrade_apart` runs it."""

from __future__ import annotations

import sys

from whyray.catalog.database import Catalog

if __name__ == "__main__":
    Catalog(sys.stdin.read()).close()
