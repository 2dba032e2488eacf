"""Whether maps of this package and method proved right before: hits of boxes that readers drew, against baselines."""

from __future__ import annotations

from whyray.base.errors import PackageError
from whyray.inference import Model
from whyray.packages.localisation_report import FEWEST_BOXES, MethodLocalisation, localisation_in
from whyray.quality.card import Grade, Measurement

SURE = 0.05
NAME = "maps that hit what readers marked"
_SOURCE = "Zhang et al. 2018, section 4.2 (pointing game), measured at onboarding"


def record_of(model: Model, method: str) -> list[Measurement]:
    """What the onboarding report says of this method's maps; nothing where no site marked findings for it.

    Green where the hits are more than the best of the baselines would have by chance (one-sided binomial test), red
    where they are fewer, amber between.
    """
    try:
        measured = localisation_in(model.report(), model.package).get(method)
    except PackageError:  # said where the preferred map is: here it is no record
        return []
    return [] if measured is None or measured.boxes < FEWEST_BOXES else [_graded(measured)]


def _graded(measured: MethodLocalisation) -> Measurement:
    from scipy.stats import binomtest  # late: few cards ask for it, and workers run all day

    hits, boxes = measured.hits, measured.boxes
    name, best = max(measured.blind_hits.items(), key=lambda blind: blind[1])
    chance = min(max(best / boxes, 1e-6), 1 - 1e-6)
    more = binomtest(hits, boxes, chance, alternative="greater").pvalue < SURE
    fewer = binomtest(hits, boxes, chance, alternative="less").pvalue < SURE
    grade = Grade.GREEN if more else Grade.RED if fewer else Grade.AMBER
    rule = (
        f"maps of this package hit {hits} of {boxes} boxes; {name} hits {best}; green where that is more than chance, "
        "red where it is less"
    )
    return Measurement(NAME, "record", hits / boxes, best / boxes, grade, rule, _SOURCE)


def unknown_place() -> Measurement:
    """Amber: neither where such a finding can lie nor whether this package's maps proved right is known."""
    rule = "amber: neither where such a finding lies nor whether this package's maps proved right is known"
    return Measurement("place of such a finding", "anatomy", 0.0, None, Grade.AMBER, rule, "WhyRay")
