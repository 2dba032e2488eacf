"""Whether such maps of this package change with the weights that they explain, as onboarding measured it."""

from __future__ import annotations

from whyray.base.errors import PackageError
from whyray.inference import Model
from whyray.packages.randomisation_report import (
    CHANGED,
    SAME,
    RandomisedMaps,
    independent_of_weights,
    randomised_maps_in,
)
from whyray.quality.card import Grade, Measurement

_SOURCE = "Adebayo et al. 2018, section 3"


def maps_without_training(model: Model, method: str, *, of: object = None) -> list[Measurement]:
    """How far the order of places in this method's maps stays when the weights are shuffled; `of`: the method of the
    map that they are made of, where they are made of another.

    Red above SAME: it is a picture of the image, whatever the model learned. Where onboarding did not measure such maps
    on enough images, or made them of another source, they are red if the source's own are; else nothing is said. No
    forward pass.
    """
    try:
        known = randomised_maps_in(model.report(), model.package)
    except PackageError:  # a report that can't be read is no record: the record says so
        return []
    own = known.get(method)
    if own is not None and own.of == of:
        return [_measured(own, "maps")]
    if independent_of_weights(known, method, of):
        return [_measured(known[str(of)], f"maps by {of}, which this one is made of,")]
    return []


def _measured(maps: RandomisedMaps, which: str) -> Measurement:
    grade = Grade.RED if maps.kept > SAME else Grade.GREEN if maps.kept <= CHANGED else Grade.AMBER
    rule = (
        f"rank correlation of {which} by this model with those by shuffled weights, mean of {maps.images} images at "
        f"onboarding; green up to {CHANGED}, red above {SAME}"
    )
    return Measurement("map with randomised weights", "sanity", maps.kept, 0.0, grade, rule, _SOURCE)
