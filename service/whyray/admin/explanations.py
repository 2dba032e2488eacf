"""The explanations of a job's findings by type: what is shown, withheld or refused, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from whyray.admin.explanation_schemas import ExplanationOut, MeasurementOut, TrustOut
from whyray.base.finding_record import CardRecord, FindingRecord
from whyray.catalog import Job, ResultRow

UNKNOWN = "explanation"


def title_of(method: str) -> str:
    """What a method is called for people."""
    from whyray.explain import method_title  # late: the list of methods is asked for by few pages, and loads for long

    return method_title(method)


def explanations_of(job: Job, kinds: Mapping[str, str]) -> list[ExplanationOut]:
    """All of them; `kinds` gives the type of each method, in the order in which types are shown."""
    order = {kind: number for number, kind in enumerate(dict.fromkeys(kinds.values()))}
    explanations = [explanation for finding in job.finding_records for explanation in _of_finding(job, finding, kinds)]
    return sorted(explanations, key=lambda explanation: order.get(explanation.type, len(order)))


def is_about(row: ResultRow, finding: FindingRecord) -> bool:
    """Whether a result is of this finding of this image; in jobs of earlier versions, of a finding of that name."""
    if row.finding != finding.finding:
        return False
    return finding.results is None or row.sop_instance_uid in finding.results


def trust_out(card: CardRecord) -> TrustOut | None:
    """A card in words; None where an earlier version wrote none."""
    return None if card.trust is None else TrustOut.model_validate(card.trust, from_attributes=True)


def _of_finding(job: Job, finding: FindingRecord, kinds: Mapping[str, str]) -> Iterator[ExplanationOut]:
    for explanation in finding.all_explanations:
        card, method = explanation.quality, explanation.method
        state: Literal["shown", "withheld"] = "withheld" if explanation.withheld else "shown"
        yield ExplanationOut(
            finding=finding.finding,
            frame=finding.frame,
            method=method,
            title=explanation.title or method,
            type=kinds.get(method, UNKNOWN),
            part=explanation.part or None,
            state=state,
            grade=card.grade,
            trust=trust_out(card),
            reasons=list(card.reasons),
            measurements=[MeasurementOut.model_validate(one, from_attributes=True) for one in card.measurements],
            results=[row.sop_instance_uid for row in job.results if row.method == method and is_about(row, finding)],
        )
    for method, reason in finding.refused.items():
        yield ExplanationOut(
            finding=finding.finding,
            frame=finding.frame,
            method=method,
            title=title_of(method),
            type=kinds.get(method, UNKNOWN),
            part=None,
            state="refused",
            grade=None,
            trust=None,
            reasons=[reason],
            measurements=[],
            results=[],
        )
