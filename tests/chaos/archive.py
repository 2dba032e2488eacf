"""An archive with moods: it stores for good what it acknowledged, and answers in every way that PACS are known to."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification

SUCCESS = 0x0000
STATUSES = {"A700": 0xA700, "B000": 0xB000, "C000": 0xC000, "0110": 0x0110}
MOODS = ("well", "rejects", "rejects-for-good", "aborts-after-storing", "slow", *STATUSES)
_TRANSIENT, _PERMANENT = (0x02, 0x03, 0x01), (0x01, 0x01, 0x01)
"""Result, source and reason of A-ASSOCIATE-RJ: temporary congestion; no reason given."""


@dataclass(frozen=True)
class Kept:
    """What the archive knows of an object."""

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    sop_class_uid: str


class MoodyArchive:
    """A storage SCP in this process. `mood` decides how it treats whoever calls."""

    def __init__(self, port: int, *, ae_title: str = "ARCHIVE", patience: float = 2.0) -> None:
        self.port, self.ae_title, self.mood = port, ae_title, "well"
        self.kept: dict[str, Kept] = {}
        self.times: Counter[str] = Counter()
        """How often each object was stored: sending twice is harmless, since the UID is the same."""
        self.refused_for_good: set[str] = set()
        self.rejected_for_good = 0
        self._patience = patience
        self._lock = threading.Lock()
        self._better = threading.Event()
        self._server: Any = None

    @property
    def up(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    def start(self) -> None:
        """Listen."""
        if self._server is not None:
            return
        ae = AE(self.ae_title)
        for context in AllStoragePresentationContexts:
            ae.add_supported_context(context.abstract_syntax)
        ae.add_supported_context(Verification)
        ae.maximum_associations = 50
        handlers: list[tuple[Any, Callable[..., Any]]] = [
            (evt.EVT_REQUESTED, self._on_requested),
            (evt.EVT_C_STORE, self._on_store),
        ]
        self._server = ae.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)  # type: ignore[arg-type]

    def stop(self) -> None:
        """Close the port; what is under way ends."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()

    def be(self, mood: str) -> None:
        """Take another mood."""
        assert mood in MOODS, mood
        self.mood = mood
        self._better.set() if mood == "well" else self._better.clear()

    def _on_requested(self, event: Any) -> None:
        if self.mood not in ("rejects", "rejects-for-good"):
            return
        association = event.assoc
        if self.mood == "rejects-for-good":
            self.rejected_for_good += 1
        association.acse.send_reject(*(_PERMANENT if self.mood == "rejects-for-good" else _TRANSIENT))
        evt.trigger(association, evt.EVT_REJECTED, {})
        association.kill()

    def _on_store(self, event: Any) -> int:
        mood = self.mood
        data: Dataset = event.dataset
        uid = str(data.SOPInstanceUID)
        if mood == "slow":
            self._better.wait(self._patience)
        if mood in ("A700", "C000", "0110"):
            if mood == "C000":
                with self._lock:
                    self.refused_for_good.add(uid)
            return STATUSES[mood]
        with self._lock:
            self.times[uid] += 1
            self.kept[uid] = Kept(uid, str(data.SeriesInstanceUID), str(data.StudyInstanceUID), str(data.SOPClassUID))
        if mood == "aborts-after-storing":
            event.assoc.abort()
        return STATUSES.get(mood, SUCCESS)
