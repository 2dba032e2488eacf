"""For which prevalence a probability holds, in words; a probability without it says less than it seems to."""

from __future__ import annotations

from whyray.results.answer import Answer, Finding
from whyray.results.wording import Wording


def prevalence_words(answer: Answer, finding: Finding, wording: Wording) -> str | None:
    """'calibrated for a prevalence of 2 %, set by …' in the language of `wording`; None where none is known."""
    prevalence = finding.prevalence
    if prevalence is None or finding.probability is None:
        return None
    words = wording.prevalence
    value, stated = (wording.numbers.percent_to(share, 3) for share in (prevalence.value, prevalence.stated))
    if not prevalence.is_set:
        return words.stated.format(value=value)
    return words.moved.format(value=value, route=answer.route, stated=stated)
