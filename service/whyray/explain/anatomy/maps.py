"""The heatmap that a method by anatomy reads: one that was made before for the same image, else its own."""

from __future__ import annotations

import numpy as np

from whyray.base.arrays import FloatArray
from whyray.base.errors import ConfigError
from whyray.explain.case import Case
from whyray.explain.registry import TypedMethod, checked_parameters, method_named
from whyray.explain.types import Heatmap


def map_of(case: Case, target: int, of: str, *, method: str) -> Heatmap:
    """The map of one target by `of`, as it was made before and not withheld; else any other such map that was not
    itself narrowed to anatomy; else made now.

    Raises what `of` raises where it can't be made, and ConfigError where `of` gives no map.
    """
    name = case.model.targets[target]
    made = [
        each.explanation
        for each in case.context.made
        if isinstance(each.explanation, Heatmap) and each.explanation.target == name and not each.withheld
    ]
    of_that = [each for each in made if each.method == of]
    others = [each for each in made if method_named(each.method).kind == "attribution map"]
    if of_that or others:
        return (of_that or others)[0]
    return made_now(case, target, of, method=method)


def made_now(case: Case, target: int, of: str, *, method: str) -> Heatmap:
    """A map by `of` with the parameters that the package prefers."""
    from whyray.explain.explain import unit_of, why_not

    chosen = method_named(of)
    if isinstance(chosen, TypedMethod) or chosen.kind != "attribution map":
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
        parameters=parameters.model_dump(),
        evidence=only.evidence,
    )


def speaks_for(heatmap: Heatmap) -> FloatArray:
    """(*spatial) ≥ 0: what of a map speaks for its target; of a signed map the positive values, of another all."""
    return np.maximum(heatmap.values, 0) if heatmap.signed else np.abs(heatmap.values)
