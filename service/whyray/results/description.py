"""What a person or a script wants to know of an answer, as plain values for report.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel

from whyray.base.finding_record import SCHEMA_VERSION
from whyray.base.frame_array import counts_of
from whyray.explain import CHANCE, method_title
from whyray.quality import Measurement, QualityCard
from whyray.results.answer import Answer, Finding, GradedExplanation, MapInSource, Result
from whyray.results.coding import NO_UNITS
from whyray.results.image_notes import plain_notes
from whyray.results.measured import value_unit
from whyray.results.trust import method_title_in, trust_of
from whyray.results.trust_words import TrustWords
from whyray.results.wording import Wording


def describe(
    answer: Answer, results: Sequence[Result] | None = None, wording: Wording | None = None
) -> list[dict[str, Any]]:
    """One JSON-able dictionary for each finding: numbers, explanations with their quality, what is missing and why,
    and what a reader must know of how the image was read.

    It holds no pixel values, no patient attributes and no maps. Where the `results` made of this answer are
    given, each finding names its own, since several images of a study have findings of the same name.
    Of one frame of a multi-frame instance, `frame` is its number; `frames_explained` are the numbers of those that are
    explained, where not all are. How far each explanation can be trusted is said in the language of `wording`, in
    English where none is given.
    """
    return [_finding(answer, finding, results, wording) for finding in answer.findings]


def describe_no_statement(answer: Answer) -> dict[str, Any] | None:
    """Why nothing is said of an image, as a JSON-able dictionary; None where the package answers about it.

    Holds no patient attributes: reasons by their names, what was measured, and the images' UIDs.
    """
    scope = answer.scope
    if scope is None or not scope.refused:
        return None
    return {
        "reasons": list(scope.reasons),
        "words": "This image is unlike those the model was made for: no statement.",
        "measurements": [_measurement(measurement) for measurement in scope.measurements],
        "images": sorted({frame.sop_instance_uid for frame in answer.image.frames}),
        "notes": plain_notes(answer.image.notes),
    }


def _finding(
    answer: Answer, finding: Finding, results: Sequence[Result] | None, wording: Wording | None
) -> dict[str, Any]:
    package = answer.package
    target = finding.target
    left_out, unit = answer.frames_explained, value_unit(answer, finding)
    return {
        "schema_version": SCHEMA_VERSION,
        "finding": target.name,
        "frame": None if answer.image.multi_frame_instance is None else answer.image.frames[0].frame_number,
        "frames_explained": None if left_out is None else list(left_out.numbers),
        "code": None if target.code is None else target.code.model_dump(),
        "present": finding.verdict,
        "probability": _number(finding.probability),
        "threshold": target.threshold if finding.decided else None,
        "prevalence": _prevalence(finding),
        "value": _number(finding.value),
        "unit": None if unit == NO_UNITS else unit.value,
        "explanations": [_map(heatmap, wording) for heatmap in finding.maps],
        "typed_explanations": [_typed(graded, wording) for graded in finding.typed],
        "refused": {method: refusal.words for method, refusal in finding.refused.items()},
        "agreement": None if finding.agreement is None else {**asdict(finding.agreement), "by_chance": CHANCE},
        "package": {"name": package.name, "version": package.version, "digest": package.digest},
        "study": str(answer.image.header.get("StudyInstanceUID")),
        "images": sorted({frame.sop_instance_uid for frame in answer.image.frames}),
        **({} if results is None else {"results": _uids_about(target.name, results)}),
        "notes": plain_notes(answer.image.notes),
        "route": answer.route,
        "at": answer.at.isoformat(),
        "revision": answer.revision,
    }


def _prevalence(finding: Finding) -> dict[str, float] | None:
    """That which the probability holds for, the package's own, and what their difference added to the log odds."""
    prevalence = finding.prevalence
    if prevalence is None:
        return None
    return {"value": prevalence.value, "stated": prevalence.stated, "log_odds_added": prevalence.shift}


def _uids_about(finding: str, results: Sequence[Result]) -> list[str]:
    return [str(result.dataset.SOPInstanceUID) for result in results if result.finding == finding]


def _map(heatmap: MapInSource, wording: Wording | None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "method": heatmap.method,
        "title": _title(heatmap.method, wording),
        "part": heatmap.part,
        "layer": heatmap.layer,
        "parameters": _plain(heatmap.parameters),
        "unit": heatmap.unit,
        "signed": heatmap.signed,
        "withheld": heatmap.card.withheld,
        "quality": _card(heatmap.card, wording),
        "drift_numbers": _finite(_case_distance(heatmap.card)),
    }
    if not heatmap.card.withheld:
        share = float(counts_of(heatmap.region).sum() / heatmap.region.size)
        made["region"] = {"rule": heatmap.region_rule, "share_of_image": share}
        made["drift_numbers"] |= _finite({"salient-area": share})
        made["largest_value"] = heatmap.largest
    return made


def _typed(graded: GradedExplanation, wording: Wording | None) -> dict[str, Any]:
    """All of an explanation but its arrays; of one that is withheld, nothing but why."""
    explanation = graded.explanation
    made: dict[str, Any] = {
        "method": graded.method,
        "title": _title(graded.method, wording),
        "type": type(explanation).__name__,
        "parameters": _plain(explanation.parameters),
        "withheld": graded.card.withheld,
        "quality": _card(graded.card, wording),
    }
    if not graded.card.withheld:
        made["drift_numbers"] = _finite(explanation.drift_numbers)
        skipped = {"target", "method", "parameters"}
        made |= {name: value for name, value in _fields(explanation).items() if name not in skipped}
    return made


def _fields(value: Any) -> dict[str, Any]:
    return {
        field.name: _plain_deep(field_value)
        for field in fields(value)
        if not isinstance(field_value := getattr(value, field.name), np.ndarray)
    }


def _plain_deep(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, (list, tuple)):
        return [_plain_deep(member) for member in value]
    if isinstance(value, Mapping):
        return {str(key): _plain_deep(member) for key, member in value.items()}
    return _number(value) if isinstance(value, float) else _plain(value)


def _case_distance(card: QualityCard) -> dict[str, float]:
    """How far the image is from those that the model was made for, in units of the usual distance."""
    for measurement in card.measurements:
        if measurement.aspect == "case" and measurement.baseline:
            return {"case-distance": measurement.value / measurement.baseline}
    return {}


def _finite(numbers: Mapping[str, float]) -> dict[str, float]:
    return {measure: float(number) for measure, number in numbers.items() if math.isfinite(number)}


def _title(method: str, wording: Wording | None) -> str:
    return method_title(method) if wording is None else method_title_in(method, wording)


def _card(card: QualityCard, wording: Wording | None) -> dict[str, Any]:
    trust = trust_of(card.grade, card.measurements, TrustWords() if wording is None else wording.trust)
    return {
        "trust": {"level": trust.level.value, "name": trust.name, "sentence": trust.sentence, "record": trust.record},
        "grade": card.grade.value,
        "reasons": list(card.reasons),
        "forwards": card.forwards,
        "measurements": [_measurement(measurement) for measurement in card.measurements],
    }


def _measurement(measurement: Measurement) -> dict[str, Any]:
    return {
        "name": measurement.name,
        "aspect": measurement.aspect,
        "value": _number(measurement.value),
        "baseline": _number(measurement.baseline),
        "grade": measurement.grade.value,
        "rule": measurement.rule,
        "source": measurement.source,
        **({} if measurement.of is None else {"of": measurement.of}),
    }


def _number(value: float | None) -> float | None:
    """JSON knows no NaN."""
    return float(value) if value is not None and math.isfinite(value) else None


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(member) for member in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
