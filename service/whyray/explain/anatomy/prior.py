"""Where a target may be looked for in one image, for whoever asks: quality cards, narratives."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import BoolArray
from whyray.base.errors import WhyRayError
from whyray.explain.anatomy.allowed import allowed_mask
from whyray.explain.anatomy.structures import AnatomyParameters, missing_anatomy, structures_of
from whyray.explain.case import Case
from whyray.explain.context import NOTHING, Context
from whyray.explain.image import ExplainedImage, explained_image
from whyray.explain.typed import Structure
from whyray.inference import Model, target_spec


def anatomy_in(
    model: Model, x: NDArray[Any] | ExplainedImage, *, context: Context = NOTHING, zones: bool = False
) -> tuple[Structure, ...]:
    """Structures in one image `x`, in the layout of the manifest or held; none where nothing can find or finds any."""
    case = Case(model, explained_image(model, x), (), context=context)
    if not context.structures and missing_anatomy(model, "anatomy") is not None:
        return ()
    try:
        return structures_of(case, AnatomyParameters(zones=zones), method="anatomy")
    except WhyRayError:
        return ()


def allowed_in(
    model: Model, x: NDArray[Any] | ExplainedImage, target: str, *, context: Context = NOTHING
) -> BoolArray | None:
    """(*spatial): where the target may be looked for in this image, margin included; None where that is not known.

    A segmentation's own segments say nothing about that. The anatomy package is run once an image.
    """
    spec = target_spec(model, target)
    if spec.anatomy is None:
        return None
    structures = anatomy_in(model, x, context=context)
    mask = allowed_mask(structures, spec) if structures else None
    return None if mask is None else np.asarray(mask)
