"""Findings of a job as the catalog keeps them: by their types, and those of earlier versions too."""

from __future__ import annotations

import json
from typing import Any

import pytest

from whyray.base.errors import DecodeError
from whyray.base.finding_record import finding_records


def of_version_0() -> dict[str, Any]:
    """What the first version wrote of a finding."""
    return {
        "finding": "Effusion",
        "code": None,
        "present": True,
        "probability": 0.7,
        "threshold": 0.5,
        "value": None,
        "unit": None,
        "explanations": [
            {
                "method": "grad-cam",
                "layer": "relu",
                "parameters": {},
                "unit": "logit",
                "signed": False,
                "withheld": False,
                "quality": {
                    "grade": "amber",
                    "reasons": ["deletion AUC 0.45"],
                    "forwards": 9,
                    "measurements": [
                        {
                            "name": "deletion AUC",
                            "aspect": "fidelity",
                            "value": 0.45,
                            "baseline": None,
                            "grade": "amber",
                            "rule": "less than 10 % below random orders",
                            "source": "a paper",
                        }
                    ],
                },
                "region": {"rule": "at least 50 % of the maximum", "share_of_image": 0.1},
            }
        ],
        "refused": {"similar-cases": "no reference index"},
        "package": {"name": "cxr", "version": "1.0.0", "digest": "ab"},
        "study": "1.2",
        "images": ["1.2.3"],
    }


def test_a_finding_of_the_first_version_is_read() -> None:
    (record,) = finding_records([json.loads(json.dumps(of_version_0()))], of="job 1")
    assert (record.schema_version, record.frame, record.results, record.notes) == (0, None, None, ())
    (explanation,) = record.all_explanations
    assert (explanation.quality.grade, explanation.withheld, dict(explanation.drift_numbers)) == ("amber", False, {})
    assert record.package.identity == "cxr@1.0.0"


@pytest.mark.parametrize(
    "wrong", [{"present": None}, {"package": {"name": "cxr"}}, {"explanations": [{"method": "rise"}]}]
)
def test_what_whyray_did_not_write_is_refused_by_its_place_without_its_content(wrong: dict[str, Any]) -> None:
    with pytest.raises(DecodeError) as refused:
        finding_records([of_version_0() | {"study": "Doe^Jane"} | wrong], of="report.json")
    assert next(iter(wrong)) in refused.value.message
    assert "Doe" not in refused.value.message
