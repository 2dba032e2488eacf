"""Where the maps lay that an artefact was made of: maps at another place can't be compared with them."""

from __future__ import annotations

from collections.abc import Mapping
from math import isclose
from pathlib import Path
from typing import Any

from whyray.base.errors import PackageError
from whyray.inference import Model

_SAME = 1e-6
"""Share of an axis by which places may differ through rounding."""


def place_of(model: Model, layer: str | None) -> dict[str, Any]:
    """Where maps of a layer lie, for the details of an artefact.

    `layer` is the tensor, None for maps on the input's own grid; `axes` holds [first, step] of each axis as shares of
    it, see `AxisPlacement`, or None where the map lies edge to edge.
    """
    return {"layer": layer, "axes": _axes(model, layer)}


def refuse_another_place(
    path: Path, recorded: Mapping[str, Any] | None, model: Model, layer: str | None, *, advice: str
) -> None:
    """PackageError where maps of the layer lie elsewhere now than those that the artefact was made of.

    An artefact that says nothing of it is older than such places, when all maps were drawn edge to edge.
    """
    now = _axes(model, layer)
    then = [None] * len(now) if recorded is None else list(recorded.get("axes", ()))
    if len(then) != len(now) or not all(_same(one, other) for one, other in zip(then, now, strict=True)):
        raise PackageError(f"{path}: made with maps at another place than those of {layer!r} now", advice=advice)


def _axes(model: Model, layer: str | None) -> list[list[float] | None]:
    if layer is None:
        return [None] * len(model.spatial_shape)
    return [None if at is None else [at.first, at.step] for at in model.network.placement(layer).axes]


def _same(one: list[float] | None, other: list[float] | None) -> bool:
    if one is None or other is None:
        return one is other
    return all(isclose(a, b, rel_tol=0, abs_tol=_SAME) for a, b in zip(one, other, strict=True))
