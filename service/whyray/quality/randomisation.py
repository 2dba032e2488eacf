"""The sanity check of Adebayo et al. 2018: a map must change when the weights that it explains are randomised."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from scipy import ndimage

from whyray.base.arrays import BoolArray, FloatArray
from whyray.inference import Model
from whyray.packages import reads
from whyray.quality.similarity import rank_correlation, structural_similarity

STAGES = (0.0, 0.25, 0.5, 1.0)
"""Shares of the weight tensors, from the logits back, that are randomised; 0 stands for the last layer alone."""
STEPS = 1000
"""Parts of a map's magnitude at `PEAK`: values that differ by less look the same, so that neither is before the other.
"""
PEAK = 99.9
"""Percentile of the magnitudes other than 0 by which a map is scaled: one place that outshines all is not the map."""
FAINT = 0.05
"""Share of a map's magnitude at `PEAK` up to which it says nothing where the image is silent."""
BACKGROUND = 0.1
"""Share of the range of an image, from its darkest or its brightest place, that its background may take: noise of up to
3 % of the range (standard deviation) stays within."""


def randomised(model: Model, rng: np.random.Generator) -> Iterator[tuple[str, Model]]:
    """Models with weights shuffled within each tensor, cascading from the last layer to the first, and their names.

    Shuffling keeps each tensor's distribution, so that activations stay in range.
    """
    import onnx
    from onnx import numpy_helper

    proto = onnx.ModelProto()
    proto.CopyFrom(model.network.graph.proto)
    used = [name for node in reversed(proto.graph.node) for name in reads(node)]
    holders = {tensor.name: tensor for tensor in proto.graph.initializer}
    weights = list(dict.fromkeys(name for name in used if name in holders and len(holders[name].dims) > 1))
    done = 0
    for share in STAGES:
        wanted = max(1, round(share * len(weights)))
        for name in weights[done:wanted]:
            values = numpy_helper.to_array(holders[name])
            shuffled = rng.permutation(values.ravel()).reshape(values.shape)
            holders[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(shuffled), name))
        done = max(done, wanted)
        copy = onnx.ModelProto()
        copy.CopyFrom(proto)
        yield ("last layer" if share == 0 else f"{share:.0%} of the weights"), model.with_graph(copy)


def alike(first: FloatArray, second: FloatArray) -> float:
    """SSIM of two maps, each divided by its own largest magnitude."""
    scaled = [heatmap / max(float(np.abs(heatmap).max()), 1e-12) for heatmap in (first, second)]
    return structural_similarity(*(heatmap.astype(np.float32) for heatmap in scaled))


def order_kept(first: FloatArray, second: FloatArray, silent: BoolArray | None = None) -> float:
    """Spearman's rank correlation of two maps (*spatial), -1..1: how far they order the places of the image alike.

    `silent` (*spatial) is where such a map is about 0 whatever the model: there, places where both are (up to `FAINT`)
    are left out. All others count, those where both are 0 too: which places a map leaves empty is part of what it says,
    and places that two maps leave empty by chance correlate as little as those that they fill. 1 of two maps that order
    nothing, 0 where one does.

    Not told apart: a map that fills the same part of a silent-free image whatever the model, with something else each
    time, stays as much as one that is drawn there without looking at the model. And what stays only faintly, where the
    image is silent, isn't seen to stay.
    """
    one, other = (_in_steps(heatmap) for heatmap in (first, second))
    if silent is not None:
        faint = FAINT * STEPS
        compared = ~(silent & (np.abs(one) <= faint) & (np.abs(other) <= faint))
        one, other = one[compared], other[compared]
    if not one.size or (np.ptp(one) == 0 and np.ptp(other) == 0):
        return 1.0
    return rank_correlation(one, other)


def _in_steps(heatmap: FloatArray) -> FloatArray:
    magnitudes = np.abs(heatmap[heatmap != 0])
    if not magnitudes.size:
        return heatmap
    unit = float(np.percentile(magnitudes, PEAK, method="lower")) / STEPS
    largest = np.finfo(np.float32).max  # a place may outshine all others by more than single precision holds
    return np.clip(np.round(heatmap.astype(np.float64) / unit), -largest, largest).astype(np.float32)


def silent_places(x: FloatArray) -> BoolArray:
    """(*spatial): where an image (1, C, *spatial) shows nothing: padding, and the background beside the body.

    There is nothing there to explain, so that the maps of many methods are about 0 there with any weights. That is
    where the image is the same all around, and where the mean of a place and its neighbours lies in that tenth of the
    image's range (`BACKGROUND`), the darkest or the brightest, that more of the image's border lies in: air and black
    are never quite the same all around after noise or lossy compression. Not told apart: background that is brighter
    than a tenth of the range, and parts of the body as dark as the background.
    """
    around = (1, *[3] * (x.ndim - 2))
    flat = ndimage.maximum_filter(x[0], around) == ndimage.minimum_filter(x[0], around)
    backgrounds = [_background(channel) for channel in ndimage.uniform_filter(x[0], around)]
    return np.asarray((flat | np.stack(backgrounds)).all(axis=0))


def _background(smooth: FloatArray) -> BoolArray:
    """Where a smoothed channel (*spatial) lies near that end of its range that its border lies near more often."""
    low, high = np.percentile(smooth, (1, 99))  # one bright marker widens no range
    dark = smooth <= low + BACKGROUND * (high - low)
    bright = smooth >= high - BACKGROUND * (high - low)
    border = np.ones(smooth.shape, bool)
    border[(slice(1, -1),) * smooth.ndim] = False
    return np.asarray(dark if dark[border].sum() >= bright[border].sum() else bright)


def random_pair_similarity(maps: list[FloatArray], rng: np.random.Generator, pairs: int = 50) -> float:
    """Mean SSIM of up to `pairs` pairs of maps of different images (Arun et al. 2021): what unrelated maps share.

    With fewer than three maps, pairs of smooth random maps stand in for them.
    """
    if len(maps) < 3:
        shape = maps[0].shape
        sigma = [size / 16 for size in shape]
        maps = [ndimage.gaussian_filter(rng.random(shape), sigma).astype(np.float32) for _ in range(11)]
    chosen = list(combinations(range(len(maps)), 2))
    picked = [chosen[number] for number in rng.permutation(len(chosen))[:pairs]]
    return float(np.mean([alike(maps[a], maps[b]) for a, b in picked]))
