"""Superpixels and supervoxels, and images with some of them hidden."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.explain.case import Case
from whyray.explain.masks import Segments
from whyray.explain.perturbed_image import PerturbedImage


def superpixels(x: FloatArray, count: int, compactness: float) -> NDArray[np.intp]:
    """Labels 0..n-1 of about `count` SLIC segments (Achanta et al. 2012) of an image (1, C, *spatial), 2-D or 3-D.

    Channels are scaled to 0..1 together first, so that `compactness` means the same for every model's scale.
    """
    from skimage.segmentation import slic

    low, high = float(x.min()), float(x.max())
    scaled = (x[0] - low) / (high - low) if high > low else np.zeros_like(x[0])
    labels = slic(
        np.moveaxis(scaled, 0, -1).astype(np.float64),
        n_segments=count,
        compactness=compactness,
        channel_axis=-1,
        start_label=0,
        convert2lab=False,
    )
    return np.asarray(np.unique(labels, return_inverse=True)[1].reshape(labels.shape), np.intp)


def coalition_scores(
    case: Case, labels: NDArray[np.intp], coalitions: NDArray[np.bool_], hidden: FloatArray
) -> NDArray[np.float64]:
    """(coalitions, targets): scores with only the segments of each coalition (n, segments) shown, the rest `hidden`."""

    perturbed = PerturbedImage(case, Segments(labels), case.x, hidden)
    shown = ({"keep": coalitions[chunk]} for chunk in case.chunks(len(coalitions)))
    return np.concatenate(list(perturbed.scores(shown, len(coalitions)))).astype(np.float64)
