"""Maps on their way to the source: those of planar images go there in a thread, beside the model's passes.

What a map says in the source does not hang on how it is measured, which takes the passes: ONNX Runtime, numpy and
Pillow leave Python's interpreter to others while they compute. It is done only where the passes leave a core: the
threads of ONNX Runtime wait for each other after every operator, and for one whose core another thread has, all do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import DoubleArray
from whyray.base.frame_array import FrameArray, Frames, PackedMask
from whyray.base.stages import stage
from whyray.explain import Heatmap
from whyray.imaging import ModelGrid, SourceImage, to_source
from whyray.inference import RuntimeOptions
from whyray.jobs.cores import usable_cores
from whyray.quality import salient_from, salient_region
from whyray.results import checksum_of, checksums_of, strength_of


@dataclass(frozen=True)
class CarriedMap:
    """A map in the source geometry, as `whyray.results.MapInSource` has it."""

    values: Frames[np.float32]
    covered: Frames[np.bool_]
    region: Frames[np.bool_]
    region_rule: str
    strengths: DoubleArray | None
    extremes: tuple[float, float] | None
    checksums: NDArray[np.uint32] | None


Beside = Callable[[str, SourceImage, Frames[np.float32], Frames[np.bool_], Frames[np.bool_]], None]
"""Told of each map of a planar image as soon as it is in the source: its target, the image, values, where the grid
covers it, and the salient region. What it does is done beside the passes, and must be done again by who needs it."""


def leaves_a_core(options: RuntimeOptions) -> bool:
    """Whether the passes of all workers leave a core to a thread beside them."""
    if options.device == "cuda":
        return True
    cores = usable_cores()
    return (options.intra_op_threads or cores) * options.sharing < cores


class Carrier(AbstractContextManager["Carrier"]):
    """Carries the maps of one image. Inside, a thread does so with those that it was told of; outside it is gone.

    Parameters
    ----------
    beside
        Done with each map in that thread, once all that were begun are carried.
    ahead
        Whether there is such a thread; without it each map is carried when it is asked for.
    """

    def __init__(
        self, image: SourceImage, grid: ModelGrid, beside: Beside | None = None, *, ahead: bool = True
    ) -> None:
        self._image, self._grid, self._beside, self._ahead = image, grid, beside, ahead
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="carrying")
        self._begun: dict[int, tuple[Heatmap, Future[CarriedMap]]] = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for what is under way; what was not begun is done by who asks for it."""
        self._thread.shutdown(cancel_futures=True)

    def begin(self, heatmaps: Sequence[Heatmap]) -> None:
        """These will be asked for. Those of a volume, whose frames are made one by one, wait until they are."""
        if self._image.kind != "planar" or not self._ahead:
            return
        begun = [(heatmap, self._thread.submit(self._carried, heatmap)) for heatmap in heatmaps]
        self._begun.update((id(heatmap), (heatmap, future)) for heatmap, future in begun)
        if self._beside is not None:
            for heatmap, future in begun:
                self._thread.submit(self._prepared, heatmap, future)

    def of(self, heatmap: Heatmap, *, seldom: bool = False) -> CarriedMap:
        """The map in the source; with `seldom` as `whyray.imaging.to_source` has it.

        Raises what carrying it raised, in whatever thread that was.
        """
        _, begun = self._begun.pop(id(heatmap), (None, None))
        if begun is None:
            return self._carried(heatmap, seldom=seldom)
        with stage("resampling"):
            return begun.result()

    def _carried(self, heatmap: Heatmap, *, seldom: bool = False) -> CarriedMap:
        # of a radiograph a map takes 14 MB, which pages look at once or twice, or never: they get it anew
        is_planar = self._image.kind == "planar"
        values, covered = to_source(heatmap.values, self._grid, self._image, seldom=seldom or is_planar)
        whole = values[0][None] if is_planar else None
        with stage("regions"):
            if whole is None and isinstance(values, FrameArray) and values.is_finite():
                region, rule, strengths, checksums = _salient_in_volume(values, signed=heatmap.signed)
                return CarriedMap(values, covered, region, rule, strengths, None, checksums)
            # what the grid does not cover is 0, and no region
            salient, rule = salient_region(np.asarray(values) if whole is None else whole, None, signed=heatmap.signed)
            region = PackedMask.of(salient, salient.shape)
            if whole is None:
                return CarriedMap(values, covered, region, rule, None, None, None)
            # the strengths of frames choose slices, and there is one frame
            extremes = float(whole.min()), float(whole.max())
            return CarriedMap(values, covered, region, rule, None, extremes, checksums_of(whole))

    def _prepared(self, heatmap: Heatmap, carried: Future[CarriedMap]) -> None:
        # what goes wrong here goes wrong again where it is needed, and is told there
        if self._beside is not None and carried.exception() is None:
            made = carried.result()
            self._beside(heatmap.target, self._image, made.values, made.covered, made.region)


def _salient_in_volume(
    values: FrameArray[np.float32], *, signed: bool
) -> tuple[Frames[np.bool_], str, DoubleArray, NDArray[np.uint32]]:
    """As `salient_region`, and the frames' strengths and checksums, with one frame at a time in memory."""
    least, rule = salient_from(float(values.max()), signed=signed)
    region = PackedMask.of((), values.shape)
    strengths, checksums = np.zeros((len(values), 3)), np.zeros(len(values), np.uint32)
    for index, frame in enumerate(values):
        if least is not None:
            region.put(index, frame >= least)
        strengths[index], checksums[index] = strength_of(frame, region[index]), checksum_of(frame)
    return region, rule, strengths, checksums
