"""What maps look like where nothing is wrong: their mean and spread over images without findings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whyray.base.arrays import FloatArray
from whyray.base.statistics import evenly_spread
from whyray.explain import NORMAL_MAPS, Method, checked_parameters, coarse_grid, heatmaps, place_of, resampled, why_not
from whyray.explain.refusal import ends_all, refusal_of
from whyray.inference import Model
from whyray.packages import ONBOARDING, ArtefactFacts, graph_digest, write_artefact

FEWEST = 20
"""Images without findings below which a spread means nothing."""
MOST = 200
DEAREST = 3
"""Forward passes of a map that is compared: those that come with the answer, or with one pass back."""
_log = logging.getLogger(__name__)


def normal_maps(
    model: Model,
    normals: Sequence[FloatArray],
    methods: Mapping[Method, Mapping[str, Any]],
    made: date,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[ArtefactFacts, dict[str, NDArray[Any]]] | None:
    """The artefact `normal-maps` of images without findings, in layout, (1, ...) each; None where they are too few.

    `methods`: those whose maps are compared, with their parameters. One that refuses an image is left out. No image
    can be told from what is kept: sums over 20 patients and more, on a coarse grid.
    """
    if len(normals) < FEWEST:
        return None
    picked = evenly_spread(len(normals), MOST)
    arrays: dict[str, NDArray[Any]] = {}
    used: dict[str, object] = {}
    places: dict[str, object] = {}
    for method, parameters in methods.items():
        progress(f"{method.name} of {len(picked)} images without findings")
        try:
            measured = _mean_and_spread(model, [normals[index] for index in picked], method.name, parameters)
        except Exception as error:  # of this method alone
            if ends_all(error):
                raise
            refusal_of(_log, error, method.name)
            continue
        name = method.name
        arrays[f"{name} mean"], arrays[f"{name} spread"], used[name], places[name] = measured
    if not used:
        return None
    facts = ArtefactFacts(
        kind=NORMAL_MAPS,
        graph=graph_digest(model),
        package=model.identity,
        made=made,
        count=len(picked),
        source="images without findings, by the labels given at onboarding",
        licence="as that of the images",
        details={"methods": used, "places": places},
    )
    return facts, arrays


def keep_normal_maps(
    model: Model,
    normals: Sequence[FloatArray],
    methods: Sequence[Method],
    made: date,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[str, ...]:
    """Write the artefact into the package's onboarding folder, of those methods whose maps are cheap enough.

    Returns the methods that it has maps of; none where it was not written.
    """
    cheap = {
        method: model.manifest.methods.get(method.name, {})
        for method in methods
        if method.deliverable
        and method.kind == "attribution map"
        and why_not(method, model) is None
        and method.cost(checked_parameters(method.name, model.manifest.methods.get(method.name, {}))) <= DEAREST
    }
    made_of = normal_maps(model, normals, cheap, made, progress) if cheap else None
    if made_of is None:
        return ()
    write_artefact(model.package.folder / ONBOARDING / f"{NORMAL_MAPS}.npz", *made_of)
    return tuple(made_of[0].details["methods"])


def _mean_and_spread(
    model: Model, images: Sequence[FloatArray], method: str, parameters: Mapping[str, Any]
) -> tuple[FloatArray, FloatArray, dict[str, object], dict[str, object]]:
    """(T, *coarse grid) each, the parameters in force and the maps' place; Welford's sums, so that no map is kept."""
    mean = np.zeros((len(model.targets), *coarse_grid(model.spatial_shape)), np.float64)
    squares, in_force = np.zeros_like(mean), dict[str, object]()
    layer: str | None = None
    for number, x in enumerate(images, start=1):
        for heatmap in heatmaps(model, x, target="all", method=method, **parameters):
            place = model.target_index(heatmap.target)
            values = resampled(heatmap.values[None], mean.shape[1:])[0].astype(np.float64)
            before = values - mean[place]
            mean[place] += before / number
            squares[place] += before * (values - mean[place])
            in_force, layer = dict(heatmap.parameters), heatmap.layer
    spread = np.sqrt(squares / (len(images) - 1))
    return mean.astype(np.float32), spread.astype(np.float32), in_force, place_of(model, layer)
