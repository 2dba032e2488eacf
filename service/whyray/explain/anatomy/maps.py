"""The heatmap that another explanation is made of: one that was made before for the same image, else its own."""

from __future__ import annotations

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import ConfigError, ExplanationError
from whyray.explain.case import Case
from whyray.explain.registry import TypedMethod, checked_parameters, method_named
from whyray.explain.types import Heatmap


def map_of(case: Case, target: int, of: str | None, *, method: str) -> Heatmap:
    """The map of one target that another explanation is made of.

    `of` names its method: that map as it was made before and not withheld, else made now. None leaves the choice: the
    first attribution map that was made before and not withheld, else the package's preferred map (see
    `preferred_map`), made now. Raises what the method raises where it can't be made, and ConfigError where it gives no
    map.
    """
    name = case.model.targets[target]
    made = [
        prior.explanation
        for prior in case.context.made
        if isinstance(prior.explanation, Heatmap) and prior.explanation.target == name and not prior.withheld
    ]
    if of is None:
        made = [heatmap for heatmap in made if method_named(heatmap.method).kind == "attribution map"]
    else:
        made = [heatmap for heatmap in made if heatmap.method == of]
    return made[0] if made else made_now(case, target, of or _preferred(case, method), method=method)


def _preferred(case: Case, method: str) -> str:
    from whyray.explain.audiences import preferred_map

    preferred = preferred_map(case.model)
    if preferred.of is None:
        raise ExplanationError(f"{method} needs a map: {preferred.because}", advice="Name one in `of`.")
    return preferred.of


def made_now(case: Case, target: int, of: str, *, method: str) -> Heatmap:
    """A map by `of` with the parameters that the package prefers."""
    from whyray.explain.explain import unit_of, why_not

    chosen = method_named(of)
    if isinstance(chosen, TypedMethod) or chosen.kind != "attribution map" or of == method:
        raise ConfigError(f"{method}: {of} gives no heatmap", advice="Name an attribution map in `of`.")
    refusal = why_not(chosen, case.model)
    if refusal is not None:
        raise refusal
    parameters = checked_parameters(of, case.model.manifest.methods.get(of, {}))
    only = chosen.attribute(case.for_targets([target]), parameters)[0]
    return Heatmap(
        values=np.ascontiguousarray(only.values, np.float32),
        target=case.model.targets[target],
        method=of,
        signed=chosen.signed,
        unit=unit_of(chosen.unit, case.model),
        layer=only.layer,
        parameters={**parameters.model_dump(), **only.parameters},
        evidence=only.evidence,
    )


def speaks_for(heatmap: Heatmap) -> FloatArray:
    """(*spatial) ≥ 0: what of a map speaks for its target; of a signed map the positive values, of another all."""
    return np.maximum(heatmap.values, 0) if heatmap.signed else np.abs(heatmap.values)
