"""The study that a process of jobs worked on last, decoded: packages of one study are several jobs, one after another.

Kept are its images and what networks said of whole images (see `whyray.inference.kept_runs`), until a job of another
study comes, memory runs short, or nobody has asked for a while.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from whyray.base.free_memory import memory_left
from whyray.imaging import StudyImages, read_images
from whyray.inference import KeptRuns, keeping_runs
from whyray.storage import Storage

KEPT_FOR = 30.0
"""Seconds after a job that its study is kept: jobs of one study are made together."""
LEAST_LEFT = 8
"""A study is kept while so many times its stored pixels could still be taken of memory."""
_BYTES_A_PIXEL = 2


@dataclass
class _Study:
    keys: tuple[str, ...]
    images: StudyImages
    files: ExitStack
    """Open as long as it is kept, for images give their pixels and digests when asked for."""
    runs: KeptRuns = field(default_factory=KeptRuns)

    @property
    def pixels(self) -> int:
        return sum(frames * rows * columns for frames, rows, columns in (image.shape for image in self.images.images))


@dataclass
class KeptStudy:
    """Gives a study's images to one job after another. Keys name bytes that never change, so that the same keys are the
    same study.

    Parameters
    ----------
    memory_left
        Bytes that this process may still take; None where that is not known.
    """

    storage: Storage
    memory_left: Callable[[], int | None] = memory_left
    reads: int = 0
    """How many studies were decoded so far."""
    _study: _Study | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _dropping: threading.Timer | None = None

    @contextmanager
    def images(self, keys: Sequence[str], on_progress: Callable[[str], None] = lambda _: None) -> Iterator[StudyImages]:
        """The images of these instances, decoded unless the job before had the same; runs are kept inside.

        `on_progress` is as `read_images` has it.

        Raises
        ------
        ImageError, NotFound
            As `read_images` and the storage say; then nothing is kept.
        """
        with self._lock:
            self._go_on_keeping()
            if self._study is None or self._study.keys != tuple(keys):
                self._drop()  # before the next is read: never two
                self._study = self._read(tuple(keys), on_progress)
            study = self._study
            try:
                with keeping_runs(study.runs):
                    yield _for_one_job(study.images)
            except BaseException:
                self._drop()
                raise
            self._keep_for_a_while()

    def drop(self) -> None:
        """Keep nothing any more; at once, or at the end of the job that has it."""
        with self._lock:
            self._go_on_keeping()
            self._drop()

    def _read(self, keys: tuple[str, ...], on_progress: Callable[[str], None]) -> _Study:
        with ExitStack() as files:
            images = read_images([files.enter_context(self.storage.local_file(key)) for key in keys], on_progress)
            self.reads += 1
            return _Study(keys, images, files.pop_all())

    def _keep_for_a_while(self) -> None:
        left = self.memory_left()
        study = self._study
        # what could not be read may be so for the next: a decoder was ended for memory, a share was away
        if study is None or study.images.refusals:
            self._drop()
            return
        if left is not None and left < LEAST_LEFT * _BYTES_A_PIXEL * study.pixels:
            self._drop()
            return
        self._dropping = threading.Timer(KEPT_FOR, self.drop)
        self._dropping.daemon = True
        self._dropping.start()

    def _go_on_keeping(self) -> None:
        if self._dropping is not None:
            self._dropping.cancel()
            self._dropping = None

    def _drop(self) -> None:
        study, self._study = self._study, None
        if study is not None:
            study.files.close()


def _for_one_job(study: StudyImages) -> StudyImages:
    """The same pixels in images of their own: what a job makes beside an image ends with that job."""
    return replace(study, images=tuple(replace(image) for image in study.images))
