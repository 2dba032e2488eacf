"""Small versions of overlay pictures for lists."""

from __future__ import annotations

import threading
from collections import OrderedDict

from whyray.admin.site import ResultStore
from whyray.base.preview import PREVIEW_WIDTH, preview_of_png
from whyray.catalog import ResultRow

_MOST = 128


class Previews:
    """Pictures in small: read where one is kept beside the picture, made where not. The last ones stay in memory."""

    def __init__(self, store: ResultStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._made: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def of(self, row: ResultRow, width: int) -> bytes:
        """PNG of the result's picture, at most `width` pixels wide. Raises NotFound."""
        kept = row.preview_key if width <= PREVIEW_WIDTH else None
        key = kept or row.picture_key or ""
        if kept is not None and width == PREVIEW_WIDTH:
            with self._store.open(kept) as file:
                return file.read()
        with self._lock:
            if (key, width) in self._made:
                self._made.move_to_end((key, width))
                return self._made[key, width]
        with self._store.open(key) as file:
            made = preview_of_png(file, width)
        with self._lock:
            self._made[key, width] = made
            while len(self._made) > _MOST:
                self._made.popitem(last=False)
        return made
