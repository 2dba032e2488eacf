"""Which associations are open, whichever process serves them, and whether one more may be."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Protocol

from whyray.config import Listener
from whyray.intake.admission import Rejection, too_many
from whyray.intake.door import Caps


class AssociationCount(Protocol):
    """Counts associations, each under a key of its own."""

    def begin(self, key: Hashable, calling: str, address: str, *, named: bool) -> Rejection | None:
        """Count one more, or say why it may not be; `named`: whether `listener.peers` has its calling AE title."""

    def end(self, key: Hashable) -> None:
        """Count it no more; harmless when it was never counted."""


class OpenAssociations:
    """The count of this installation's listener, by the limits in force. Safe for threads."""

    def __init__(self, listener: Callable[[], Listener], caps: Caps) -> None:
        self._listener, self._caps = listener, caps
        self._open: dict[Hashable, tuple[str, str]] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, key: Hashable, calling: str, address: str, *, named: bool) -> Rejection | None:
        """See `AssociationCount.begin`."""
        listener = self._listener()
        with self._lock:
            peers = list(self._open.values())
            of_address = sum(where == address for _, where in peers)
            of_title = sum(title == calling for title, _ in peers)
            refused = too_many(listener, calling, address, len(peers), of_address, of_title, named=named)
            if refused is None:
                self._open[key] = calling, address
        if refused is not None:
            if refused.cap is not None:
                self._caps.strike(refused.cap, refused.words)
            return refused
        limits = listener.limits
        self._caps.look("associations", len(peers), limits.max_associations)
        self._caps.look("reserve", len(peers), limits.max_associations - limits.reserve)
        self._caps.look(("address", address), of_address, limits.of_an_address)
        self._caps.look(("AE title", calling), of_title, limits.of_an_ae_title)
        return None

    def end(self, key: Hashable) -> None:
        """See `AssociationCount.end`."""
        with self._lock:
            self._open.pop(key, None)
