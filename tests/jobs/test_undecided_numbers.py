"""A number without a stated threshold is neither present nor absent, and is explained and listed whatever it is."""

from __future__ import annotations

from typing import Any

import pytest

from whyray.admin.describe import summary_of_job
from whyray.base.finding_record import finding_records
from whyray.jobs import answering
from whyray.jobs.explanation_request import ExplanationRequest
from whyray.packages import TargetSpec
from whyray.results import Finding


def number(name: str, value: float, **stated: float) -> Finding:
    target = TargetSpec(name=name, **stated)
    return Finding(target, present=value >= target.threshold, probability=None, value=value)


def test_what_nobody_decides_is_chosen_beside_what_is_present() -> None:
    findings = [number("Age", 0.3), number("Change", -2.0), number("Angle", 20.0, threshold=30.0), number("Gap", 9.0)]
    chosen = answering._chosen(findings, ExplanationRequest(targets="present", methods={}))
    assert [finding.target.name for finding in chosen] == ["Gap", "Age", "Change"]


@pytest.mark.parametrize(("present", "listed"), [(None, ["Age"]), (True, ["Age"]), (False, [])])
def test_a_list_names_what_is_not_absent(present: bool | None, listed: list[str]) -> None:
    written: dict[str, Any] = {"finding": "Age", "present": present, "probability": None, "value": 61.5, "study": "1.2"}
    written |= {"package": {"name": "age", "version": "1.0.0"}, "images": ["1.2.3"]}
    summary = summary_of_job(finding_records([written], of="a test"), 0)
    assert [(finding.name, finding.present) for finding in summary.present] == [(name, present) for name in listed]
