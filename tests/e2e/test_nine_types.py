"""All nine types of interpretability on a real radiograph with the bundled packages: asked, evaluated, valid DICOM."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest

from dciodvfy import errors_of
from whyray.demo.studies import sample
from whyray.explain import Kind, method_named
from whyray.inference import load_package
from whyray.jobs.explanation_request import ExplanationRequest
from whyray.jobs.file_report import Report
from whyray.jobs.files import explain_files
from whyray.results import EVERY_KIND, load_templates

ASKED = {
    "cxr-findings@1": (
        "grad-cam",
        "region-shares",
        "similar-cases",
        "tcav",
        "latent-position",
        "latent-shift",
        "unit-report",
        "narrative",
        "captioner",
    ),
    "cxr-abnormal": ("concept-bottleneck",),
    "cxr-prototypes": ("prototypes",),
}


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Report, Path]]:
    """RG1 (a real chest radiograph with several masses) through every package; one target of each."""
    made = {}
    for package, methods in ASKED.items():
        out = tmp_path_factory.mktemp(package)
        report = explain_files(
            [sample("RG1_J2KR.dcm")],
            load_package(package),
            ExplanationRequest(methods={method: {} for method in methods}, targets="top", most=1),
            out,
            templates=load_templates(),
            at=datetime(2026, 11, 1, tzinfo=UTC),
            progress=lambda *_: None,
            kinds=EVERY_KIND,
            audience="scientist",  # who gets parts of explanations too
        )
        made[package] = (report, out)
    return made


def said(report: Report) -> list[dict[str, Any]]:
    return [
        explanation
        for finding in report.findings
        for explanation in (*finding["explanations"], *finding["typed_explanations"])
    ]


def test_each_of_the_nine_types_answers(explained: dict[str, tuple[Report, Path]]) -> None:
    kinds = {
        method_named(explanation["method"]).kind for report, _ in explained.values() for explanation in said(report)
    }
    assert kinds == set(get_args(Kind))
    for package, (report, _) in explained.items():
        assert {explanation["method"] for explanation in said(report)} == set(ASKED[package])
        assert [finding["refused"] for finding in report.findings if finding["refused"]] == []


def test_each_explanation_carries_its_evaluation_and_what_is_withheld_says_why(
    explained: dict[str, tuple[Report, Path]],
) -> None:
    for report, _ in explained.values():
        for explanation in said(report):
            assert explanation["quality"]["measurements"], explanation["method"]
            assert explanation["withheld"] == (explanation["quality"]["grade"] == "red")
            assert explanation["quality"]["grade"] == "green" or explanation["quality"]["reasons"]


def test_every_object_is_valid_and_names_itself(explained: dict[str, tuple[Report, Path]]) -> None:
    count = 0
    for report, out in explained.values():
        for name in report.files:
            if name.endswith(".dcm"):
                count += 1
                assert errors_of((out / name).read_bytes()) == [], name
    assert count >= 30


def test_more_is_shown_than_withheld(explained: dict[str, tuple[Report, Path]]) -> None:
    graded = [explanation["withheld"] for report, _ in explained.values() for explanation in said(report)]
    assert sum(graded) < len(graded) / 2
