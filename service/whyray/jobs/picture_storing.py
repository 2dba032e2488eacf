"""Pictures of results on their way to storage, in a thread of their own: deflate and Pillow hold nobody up there."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whyray.base.preview import preview_of
from whyray.base.stages import stage
from whyray.results import png_file
from whyray.storage import Storage

Picture = NDArray[np.uint8]


class PictureStore(AbstractContextManager["PictureStore"]):
    """Encodes and stores pictures, beginning with each as soon as it is drawn, while others are."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._begun: dict[int, tuple[Picture, Future[tuple[str, str]]]] = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for what is under way, and begin with no other."""
        self._thread.shutdown(cancel_futures=True)

    def begin(self, picture: Picture) -> None:
        """This very array will be asked for; nobody writes to it any more."""
        if id(picture) not in self._begun:
            self._begun[id(picture)] = picture, self._thread.submit(self._stored, picture)

    def keys(self, picture: Picture | None) -> tuple[str, str] | tuple[None, None]:
        """The keys of a picture and of the small one for lists; None where there is no picture.

        Raises what encoding or storing it raised.
        """
        if picture is None:
            return None, None
        self.begin(picture)
        with stage("picture encoding"):
            return self._begun[id(picture)][1].result()

    def _stored(self, picture: Picture) -> tuple[str, str]:
        return (
            self._storage.put(png_file(picture), suffix=".png").key,
            self._storage.put(preview_of(Image.fromarray(picture)), suffix=".png").key,
        )
