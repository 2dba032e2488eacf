"""The explanations of a job's findings by type: what is shown, withheld or refused, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from whyray.admin.explanation_schemas import ExplanationOut, MeasurementOut
from whyray.catalog import Job, ResultRow

UNKNOWN = "explanation"


def explanations_of(job: Job, kinds: Mapping[str, str]) -> list[ExplanationOut]:
    """All of them; `kinds` gives the type of each method, in the order in which types are shown."""
    order = {kind: number for number, kind in enumerate(dict.fromkeys(kinds.values()))}
    found = [each for finding in job.findings for each in _of_finding(job, finding, kinds)]
    return sorted(found, key=lambda each: order.get(each.type, len(order)))


def is_about(row: ResultRow, finding: Mapping[str, Any]) -> bool:
    """Whether a result is of this finding of this image; in jobs of earlier versions, of a finding of that name."""
    if row.finding != finding["finding"]:
        return False
    return "results" not in finding or row.sop_instance_uid in finding["results"]


def _of_finding(job: Job, finding: Mapping[str, Any], kinds: Mapping[str, str]) -> Iterator[ExplanationOut]:
    target = finding["finding"]
    for each in (*finding["explanations"], *finding.get("typed_explanations", ())):
        card, method = each["quality"], each["method"]
        state: Literal["shown", "withheld"] = "withheld" if each["withheld"] else "shown"
        yield ExplanationOut(
            finding=target,
            frame=finding.get("frame"),
            method=method,
            type=kinds.get(method, UNKNOWN),
            part=each.get("part") or None,
            state=state,
            grade=card["grade"],
            reasons=card["reasons"],
            measurements=[
                MeasurementOut.model_validate({name: one[name] for name in MeasurementOut.model_fields})
                for one in card["measurements"]
            ],
            results=[row.sop_instance_uid for row in job.results if row.method == method and is_about(row, finding)],
        )
    for method, reason in finding["refused"].items():
        yield ExplanationOut(
            finding=target,
            frame=finding.get("frame"),
            method=method,
            type=kinds.get(method, UNKNOWN),
            part=None,
            state="refused",
            grade=None,
            reasons=[reason],
            measurements=[],
            results=[],
        )
