"""Bytes that nobody knows: written before a crash that came ahead of their catalog row, and never acknowledged."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from itertools import islice

from whyray.storage.store import Storage

SAFE_AGE = timedelta(hours=6)
"""Far above the longest time between an object's last byte and its catalog row."""

_BATCH = 500
_log = logging.getLogger("whyray.storage")


def sweep_orphans(
    storage: Storage,
    known: Callable[[Collection[str]], Collection[str]],
    now: datetime,
    *,
    older_than: timedelta = SAFE_AGE,
) -> int:
    """Remove objects older than `older_than` that the catalog does not know, and what dead writers left; says how many.

    Parameters
    ----------
    known
        Of these keys (at most 500), those that the catalog holds: `whyray.catalog.keys.known`, bound to a session.
    """
    before = now - older_than
    removed = storage.clear_unfinished(before)
    keys = storage.stale(before)
    while batch := list(islice(keys, _BATCH)):
        for key in set(batch) - set(known(batch)):
            storage.delete(key)
            removed += 1
    if removed:
        _log.info("removed %d objects that the catalog does not know", removed)
    return removed
