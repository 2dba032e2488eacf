"""Compression that is begun before it is asked for: while an association is opened."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from whyray.delivery.preparation import AHEAD
from whyray.delivery.syntaxes import Compression


class CompressionAhead:
    """Compresses as another does, and sooner what was begun before; what was begun for nothing is thrown away."""

    def __init__(self, compression: Compression) -> None:
        self._compression = compression
        self._begun: dict[tuple[Path, str], Future[bytes]] = {}
        self._threads = ThreadPoolExecutor(1 + AHEAD, thread_name_prefix="compression-ahead")

    def __enter__(self) -> CompressionAhead:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for what is being compressed; the rest is left."""
        self._threads.shutdown(cancel_futures=True)

    def begin(self, file: Path, transfer_syntax_uid: str) -> None:
        """Compress it now: it will be asked for."""
        begun = self._threads.submit(self._compression.compressed, file, transfer_syntax_uid)
        self._begun[file, transfer_syntax_uid] = begun

    def syntaxes(self, sop_class_uid: str, /) -> frozenset[str]:
        """As `Compression`."""
        return self._compression.syntaxes(sop_class_uid)

    def compressed(self, file: Path, transfer_syntax_uid: str, /) -> bytes:
        """As `Compression`; once what was begun of it."""
        begun = self._begun.pop((file, transfer_syntax_uid), None)
        return self._compression.compressed(file, transfer_syntax_uid) if begun is None else begun.result()
