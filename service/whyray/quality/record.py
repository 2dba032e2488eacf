"""Whether such maps of this package proved right before: hits of what readers marked, against blind guesses."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb

from whyray.base.errors import PackageError
from whyray.inference import Model
from whyray.packages.localisation_report import FEWEST_BOXES
from whyray.quality.card import Grade, Measurement

SURE = 0.05
RECORD = "maps that hit what readers marked"
NO_RECORD = "marks that such maps were compared with"
"""Names of the measurement: where such maps were compared with marks, and where too few or none were."""
_SOURCE = "Zhang et al. 2018, section 4.2 (pointing game), measured at onboarding"


def record_of(model: Model, method: str, target: str, *, of: object = None) -> Measurement:
    """What the onboarding report says of this method's maps of this target; `of`: the method of the map that they are
    made of, where they are made of another.

    Green where the hits are more than the best of the blind guesses would have by chance (one-sided binomial test, and
    Fisher's exact test), red where they are fewer (binomial test), amber between. Amber, too, where fewer than 20
    marked findings of this target were compared with maps made like this one: nothing is green of which nothing is
    known. What is known of other findings says nothing for this one, but maps that hit less than a blind guess
    wherever they were looked at are red.

    The guess's hits are a count of the same findings too, no chance that is known: taken for one, they let one in nine
    maps be green that are as good as the guess. So green needs Fisher's exact test of both counts besides, which takes
    them for independent (a map and a guess mostly hit the same, easy findings: then it errs towards amber). For red the
    chance is taken as it is: maps no better than a guess are withheld rather than shown. Findings of one patient count
    as several, and each target is tested by itself: of twenty whose maps are as good as the guess, one may be green.
    """
    try:
        measured = model.localisation().get(method)
    except PackageError:  # said where the preferred map is: here it is no record
        return _unknown(0, target)
    if measured is None or measured.parameters.get("of") != of:
        return _unknown(0, target)
    own = measured.hits_of(target)
    if own is not None and own.boxes >= FEWEST_BOXES:
        return _graded(own.hits, own.boxes, own.blind_hits, f"maps of {target} by this package hit")
    if measured.boxes >= FEWEST_BOXES:
        overall = _graded(
            measured.hits, measured.boxes, measured.blind_hits, "maps of other findings of this package hit"
        )
        if overall.grade is Grade.RED:
            return overall
    return _unknown(0 if own is None else own.boxes, target)


def p_of_more(hits: int, of: int, chance: float) -> float:
    """The probability of so many hits or more by chance: the one-sided exact binomial test.

    As `scipy.stats.binomtest` has it, whose import takes half a second of a short explanation.
    """
    from scipy.special import bdtrc

    return float(bdtrc(hits - 1, of, chance))


def p_of_fewer(hits: int, of: int, chance: float) -> float:
    """The probability of so many hits or fewer by chance; likewise."""
    from scipy.special import bdtr

    return float(bdtr(hits, of, chance))


def p_of_more_than_guess(hits: int, guessed: int, of: int) -> float:
    """The probability that of all hits so many or more are the map's, where both hit alike: Fisher's exact test (1935).

    One-sided, of two samples of `of` findings each. As `scipy.stats.fisher_exact` has it, see `p_of_more`.
    """
    both = hits + guessed
    ways = sum(comb(of, ours) * comb(of, both - ours) for ours in range(hits, min(of, both) + 1))
    return ways / comb(2 * of, both)


def _graded(hits: int, boxes: int, blind_hits: Mapping[str, int], words: str) -> Measurement:
    name, best = max(blind_hits.items(), key=lambda blind: blind[1])
    chance = min(max(best / boxes, 1e-6), 1 - 1e-6)
    more = p_of_more(hits, boxes, chance) < SURE and p_of_more_than_guess(hits, best, boxes) < SURE
    fewer = p_of_fewer(hits, boxes, chance) < SURE
    grade = Grade.GREEN if more else Grade.RED if fewer else Grade.AMBER
    rule = (
        f"{words} {hits} of {boxes} boxes; {name} hits {best}; green where that is more than chance, "
        "red where it is less"
    )
    return Measurement(RECORD, "record", hits / boxes, best / boxes, grade, rule, _SOURCE, of=boxes)


def _unknown(boxes: int, target: str) -> Measurement:
    """Amber; the number is how many marked findings of this target were compared with such maps."""
    said = (
        "no radiologist's marks were compared with such maps of this package"
        if boxes == 0
        else f"only {boxes} marked findings of {target} were compared with such maps of this package"
    )
    return Measurement(
        NO_RECORD, "record", float(boxes), float(FEWEST_BOXES), Grade.AMBER, f"amber: {said}", "WhyRay: onboarding"
    )
