"""Whether such maps of this package change with the weights that they explain, as onboarding measured it."""

from __future__ import annotations

from whyray.base.errors import PackageError
from whyray.inference import Model
from whyray.packages.randomisation_report import CHANGED, SAME, randomised_maps_in
from whyray.quality.card import Grade, Measurement

_SOURCE = "Adebayo et al. 2018, section 3"


def maps_without_training(model: Model, method: str, *, of: object = None) -> list[Measurement]:
    """How far the order of places in this method's maps stays when the weights are shuffled; `of`: the method of the
    map that they are made of, where they are made of another.

    Red above SAME: it is a picture of the image, whatever the model learned. Nothing where onboarding did not measure
    it on enough images, or made such maps of another source. No forward pass.
    """
    try:
        known = randomised_maps_in(model.report(), model.package).get(method)
    except PackageError:  # a report that can't be read is no record: the record says so
        return []
    if known is None or known.of != of:
        return []
    grade = Grade.RED if known.kept > SAME else Grade.GREEN if known.kept <= CHANGED else Grade.AMBER
    rule = (
        f"rank correlation of maps by this model with those by shuffled weights, mean of {known.images} images at "
        f"onboarding; green up to {CHANGED}, red above {SAME}"
    )
    return [
        Measurement(
            "map with randomised weights", "sanity", known.kept, 0.0, grade, rule, "Adebayo et al. 2018, section 3"
        )
    ]
