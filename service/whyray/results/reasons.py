"""Why a card is not green, in the words of a language."""

from __future__ import annotations

from whyray.quality import Measurement, QualityCard
from whyray.results.wording import Wording


def reasons_in(card: QualityCard, wording: Wording) -> tuple[str, ...]:
    """One sentence for each measurement that is not green, worst first."""
    if not card.measurements:
        return (wording.measured.not_measured,)
    return tuple(_reason(concern, wording) for concern in card.concerns)


def _reason(measured: Measurement, wording: Wording) -> str:
    words = wording.measured
    said = {
        "name": words.names.get(measured.name, measured.name),
        "value": wording.numbers.significant(measured.value, 3),
        "grade": getattr(wording.grades, measured.grade.value).lower(),
        "rule": measured.rule,
    }
    if measured.baseline is None:
        return words.reason.format(**said)
    baseline = wording.numbers.significant(measured.baseline, 3)
    return words.reason_with_baseline.format(baseline=baseline, **said)
