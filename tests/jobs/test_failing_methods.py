"""One method that fails, or one explanation whose evaluation fails, takes nothing with it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from inference import nets
from synthetic import radiograph
from whyray.base.errors import Cancelled, LeaseLost, ResourceExhausted, TierMissing, TimeLimit, WhyRayError
from whyray.explain import Case, Heatmap, MethodParameters
from whyray.explain.gradients import Gradient
from whyray.explain.occlusion import Occlusion
from whyray.imaging import read_images
from whyray.inference import RuntimeOptions, load_package
from whyray.jobs import explaining
from whyray.jobs.answering import answer_images
from whyray.jobs.explanation_request import ExplanationRequest
from whyray.results import Answer, Refusal

METHODS = {"grad-cam": {}, "gradient": {}, "occlusion": {"window": 8, "stride": 8}}


def quiet(done: float, words: str) -> None:
    """Progress that nobody watches."""


def answered(tmp_path: Path, progress: object = quiet) -> Answer:
    net = nets.pack(tmp_path, "plain", input__intensity={"source": "voi"})
    model = load_package(net, options=RuntimeOptions(device="cpu", intra_op_threads=1, cache=None))
    pixels = (nets.image("plain")[0, 0].numpy() * 300 + 2000).astype(np.uint16)
    images = read_images([radiograph(pixels, window=(2048, 4096))]).images
    wish = ExplanationRequest(methods=METHODS, targets="all")
    (answer,) = answer_images(
        images,
        model,
        wish,
        route="r",
        at=datetime(2026, 1, 2, tzinfo=UTC),
        progress=progress,  # type: ignore[arg-type]
    )
    return answer


def defect(*_: object, **__: object) -> None:
    raise KeyError("Doe^Jane")


def test_a_defect_in_one_method_is_its_refusal_and_the_others_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Gradient, "attribute", defect)
    for finding in answered(tmp_path).findings:
        assert {heatmap.method for heatmap in finding.maps} == {"grad-cam", "occlusion"}
        refusal = finding.refused["gradient"]
        assert refusal.reason == "defect"
        assert re.fullmatch(r"KeyError in explain/explain\.py line \d+", refusal.words)
    assert "Doe" not in caplog.text


def test_a_defect_for_one_target_leaves_the_method_to_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Gradient.attribute

    def of_some(self: Gradient, case: Case, parameters: MethodParameters) -> object:
        if "two" in case.target_names:
            raise IndexError
        return original(self, case, parameters)

    monkeypatch.setattr(Gradient, "attribute", of_some)
    findings = {finding.target.name: finding for finding in answered(tmp_path).findings}
    assert {name for name, finding in findings.items() if "gradient" in finding.refused} == {"two"}
    assert {name for name, finding in findings.items() if any(one.method == "gradient" for one in finding.maps)} == {
        "one",
        "three",
    }


def test_a_defect_in_the_evaluation_of_one_explanation_is_told_of_that_explanation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = explaining.assess

    def of_some(model: object, x: object, heatmap: Heatmap, **rest: object) -> object:
        if (heatmap.method, heatmap.target) == ("occlusion", "one"):
            raise ZeroDivisionError
        return original(model, x, heatmap, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(explaining, "assess", of_some)
    findings = {finding.target.name: finding for finding in answered(tmp_path).findings}
    assert re.fullmatch(
        r"ZeroDivisionError in jobs/explaining\.py line \d+ while measuring the explanation of one",
        findings["one"].refused["occlusion"].words,
    )
    assert {heatmap.method for heatmap in findings["one"].maps} == {"grad-cam", "gradient"}
    assert {heatmap.method for heatmap in findings["two"].maps} == set(METHODS)


def test_a_refusal_that_a_method_raises_late_is_told_in_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise TierMissing("no gradient here")

    monkeypatch.setattr(Gradient, "attribute", refuses)
    assert {finding.refused["gradient"] for finding in answered(tmp_path).findings} == {
        Refusal("model", "no gradient here")
    }


@pytest.mark.parametrize("error", [Cancelled("by admin"), LeaseLost("taken over"), TimeLimit("too long")])
def test_what_stops_the_job_stops_it_within_a_method_too(tmp_path: Path, error: WhyRayError) -> None:
    def stopping(done: float, words: str) -> None:
        if words.startswith("occlusion"):
            raise error

    with pytest.raises(type(error)):
        answered(tmp_path, stopping)


@pytest.mark.parametrize("error", [MemoryError(), ResourceExhausted("no room"), OSError(28, "full")])
def test_a_want_of_memory_or_disk_ends_the_attempt_since_a_later_one_may_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def hungry(*_: object) -> None:
        raise error

    monkeypatch.setattr(Occlusion, "attribute", hungry)
    with pytest.raises(type(error)):
        answered(tmp_path)
