"""Results on their way to storage, in threads of their own: deflate, Pillow and the disk hold nobody up there."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from threading import BoundedSemaphore
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset

from whyray.base.preview import reduced
from whyray.base.stages import stage
from whyray.results import Result, encode, png_file
from whyray.storage import Storage, Stored

T = TypeVar("T")
Picture = NDArray[np.uint8]
_FILES = 3
"""DICOM files that are stored at a time: each is in memory until it is."""
_PICTURES = 2
"""Pictures that are encoded and stored at a time, whole ones and small ones."""
_log = logging.getLogger("whyray.worker")


class ResultStore(AbstractContextManager["ResultStore"]):
    """Stores files while others are encoded, and encodes and stores pictures, beginning with each as soon as it is
    drawn; the small one beside the large one.

    Where it is left by an error, it removes what it has stored, unless that was to be kept: nobody knows it, and each
    further attempt stores as much again.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._pictures = ThreadPoolExecutor(_PICTURES, thread_name_prefix="pictures")
        self._begun: dict[int, tuple[Picture, Future[str], Future[str]]] = {}
        self._results: dict[int, tuple[Dataset, Future[Stored]]] = {}
        self._put: list[Future[Stored]] = []
        self._is_kept = False
        self._files = ThreadPoolExecutor(_FILES, thread_name_prefix="files")
        self._room = BoundedSemaphore(_FILES)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for what is under way, and begin with no other; after an error remove what is not to be kept."""
        for threads in (self._pictures, self._files):
            threads.shutdown(cancel_futures=True)
        if error is not None and not self._is_kept:
            self._remove()

    def keep(self) -> None:
        """All stays that was stored, whatever goes wrong from now on: the catalog may name it."""
        self._is_kept = True

    def _remove(self) -> None:
        pictures = [key for _, *keys in self._begun.values() for key in keys]
        keys = [*(stored.key for stored in _done(self._put)), *_done(pictures)]
        try:
            for key in keys:
                self._storage.delete(key)
        except Exception as error:  # what went wrong before is what is to be told
            _log.info("files of a job that went wrong are left to the sweep of orphans: %s", type(error).__name__)

    def put(self, encoded: bytes) -> Future[Stored]:
        """Begin to store a DICOM file; waits while as many are being stored as may."""
        with stage("storing"):
            self._room.acquire()
        try:
            stored = self._files.submit(self._storage.put, encoded, suffix=".dcm")
        except BaseException:
            self._room.release()
            raise
        stored.add_done_callback(lambda _: self._room.release())
        self._put.append(stored)
        return stored

    def begin_result(self, result: Result) -> Future[Stored]:
        """Encode a result and begin to store it, where that was not begun before; nobody changes it any more."""
        begun = self._results.get(id(result.dataset))
        if begun is None:
            begun = result.dataset, self.put(encode(result.dataset))
            self._results[id(result.dataset)] = begun
        return begun[1]

    def begin(self, picture: Picture) -> None:
        """This very array will be asked for; nobody writes to it any more."""
        if id(picture) not in self._begun:
            small = self._pictures.submit(self._stored_small, picture)
            self._begun[id(picture)] = picture, self._pictures.submit(self._stored, picture), small

    def keys(self, picture: Picture | None) -> tuple[str, str] | tuple[None, None]:
        """The keys of a picture and of the small one for lists; None where there is no picture.

        Raises what encoding or storing it raised.
        """
        if picture is None:
            return None, None
        self.begin(picture)
        with stage("picture encoding"):
            _, whole, small = self._begun[id(picture)]
            return whole.result(), small.result()

    def _stored(self, picture: Picture) -> str:
        return self._storage.put(png_file(picture), suffix=".png").key

    def _stored_small(self, picture: Picture) -> str:
        return self._storage.put(png_file(np.asarray(reduced(Image.fromarray(picture)))), suffix=".png").key


def _done(begun: Iterable[Future[T]]) -> list[T]:
    """The outcomes of those that came to a good end."""
    return [one.result() for one in begun if not one.cancelled() and one.exception() is None]
