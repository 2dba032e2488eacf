"""Pictures along a line in latent space, for explanations of other types that want to show where a line leads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.explain.counterfactual.latent import LatentSpace


def traverse(
    space: LatentSpace,
    picture: FloatArray,
    *,
    towards: FloatArray | None = None,
    direction: NDArray[np.floating] | None = None,
    reach: float = 0.5,
    steps: int = 7,
) -> FloatArray:
    """(steps, *spatial) in 0..1: decoded pictures on the model's grid along a line through the picture's latents.

    `towards` a picture (*spatial): from the one (first frame) to the other (last). `direction` (D,): from `reach` times
    the latents' own length against it to as much along it, the picture itself in the middle. One of both is given.
    All frames are made by the decoder, so they are SYNTHETIC.
    """
    if (towards is None) == (direction is None):
        raise ValueError("traverse takes `towards` or `direction`")
    start = space.encode(picture[None])
    if towards is not None:
        parts = np.linspace(0, 1, steps)[:, None]
        line = (1 - parts) * start + parts * space.encode(towards[None])
    else:
        along = np.asarray(direction, np.float64).reshape(1, -1)
        length = float(np.linalg.norm(along)) or 1.0
        line = start + np.linspace(-reach, reach, steps)[:, None] * along / length * float(np.linalg.norm(start))
    return space.decode(line.astype(np.float32))
