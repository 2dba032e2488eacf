"""Drift: found where it was planted, not where there is none, and told where somebody reads it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pytest
from fastapi.testclient import TestClient
from scipy.stats import ks_2samp

from admin.scene import Scene
from admin.test_metrics import scrape
from catalog.test_drift import finding
from whyray.admin.drift_watch import LEAST, RECENT, DriftWatch, shift_between
from whyray.catalog import drift
from whyray.catalog.drift import REFERENCE, AnswerFacts


def numbers(scene: Scene, values: Sequence[float], *, package: str = "cxr@2.0.0", grade: str | None = None) -> None:
    """Enter a job for each number, as the worker does."""
    with scene.catalog.begin() as session:
        start = drift.newest(session)
        for number, value in enumerate(values):
            explanations = (
                []
                if grade is None
                else [{"method": "rise", "quality": {"grade": grade, "measurements": []}, "withheld": grade == "red"}]
            )
            record = finding("Effusion", value, images=["1.2"], explanations=explanations)
            drift.record_drift(session, AnswerFacts(f"{package}-{start + number}", package, scene.now, [record]))


def test_psi_is_the_sum_over_bins_counted_by_hand() -> None:
    first = np.repeat(np.arange(10), 20) / 10  # twenty in each decile
    latest = np.repeat(np.arange(10), [10, 20, 20, 20, 20, 20, 20, 20, 20, 30]) / 10
    shift = shift_between(first, latest)
    p = (np.full(10, 20) + 0.5) / 205
    q = (np.array([10, *[20] * 8, 30]) + 0.5) / 205
    assert shift.psi == pytest.approx(float(((q - p) * np.log(q / p)).sum()))
    assert sum(shift.shares_latest) == pytest.approx(1)


def test_ks_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 1, 200), rng.normal(0.3, 1, 150)
    shift = shift_between(one, other)
    assert (shift.ks, shift.ks_p) == pytest.approx(tuple(ks_2samp(one, other, method="asymp")))


def test_without_drift_an_alert_comes_less_than_once_in_a_hundred() -> None:
    rng = np.random.default_rng(1)
    for latest in (LEAST, RECENT):
        pairs = [shift_between(rng.beta(2, 5, REFERENCE), rng.beta(2, 5, latest)) for _ in range(400)]
        assert sum(pair.psi > pair.alert_above for pair in pairs) <= 4


def test_a_shift_of_one_standard_deviation_is_always_found() -> None:
    rng = np.random.default_rng(2)
    pairs = [shift_between(rng.normal(0, 1, REFERENCE), rng.normal(1.0, 1, RECENT)) for _ in range(50)]
    assert all(pair.psi > pair.alert_above for pair in pairs)


def test_numbers_that_are_all_alike_have_not_drifted_until_they_change() -> None:
    same = shift_between([0.5] * REFERENCE, [0.5] * 100)
    assert same.psi < same.watch_above
    for value in (0.2, 0.9):
        changed = shift_between([0.5] * REFERENCE, [value] * 100)
        assert changed.psi > changed.alert_above


def test_a_series_learns_first_then_is_steady_then_drifts(scene: Scene, client: TestClient) -> None:
    rng = np.random.default_rng(3)

    def status() -> str:
        scene.now += timedelta(minutes=1)
        (series,) = client.get("/api/v1/drift", params={"package": "cxr", "measure": "probability"}).json()
        return str(series["status"])

    numbers(scene, rng.beta(2, 8, REFERENCE + LEAST - 1))
    assert status() == "learning"
    numbers(scene, rng.beta(2, 8, RECENT))
    assert status() == "steady"
    numbers(scene, rng.beta(8, 2, RECENT))
    assert status() == "drift"


def test_a_drift_is_seen_after_the_clock_was_set_back(scene: Scene) -> None:
    watch, rng = DriftWatch(), np.random.default_rng(3)
    with scene.catalog.read() as session:
        before = len(watch.look(session, scene.now))
    numbers(scene, rng.beta(2, 8, REFERENCE), package="other@1.0.0")
    with scene.catalog.read() as session:
        assert len(watch.look(session, scene.now)) == before, "looked at just before"
        assert len(watch.look(session, scene.now - timedelta(hours=1))) == before + 1


@pytest.fixture
def drifted(scene: Scene) -> Scene:
    rng = np.random.default_rng(4)
    numbers(scene, rng.beta(2, 8, REFERENCE), grade="green")
    numbers(scene, rng.beta(8, 2, RECENT), grade="amber")
    return scene


def test_drift_needs_attention_and_leads_to_its_series(drifted: Scene, client: TestClient) -> None:
    by_kind = {entry["kind"]: entry for entry in client.get("/api/v1/overview").json()["attention"]}
    assert by_kind["drift.probability"]["title"] == "cxr@2.0.0: probability has drifted"
    assert "Effusion: mean 0.2" in by_kind["drift.probability"]["message"]
    assert "rise: mean 0 at first, 1 now" in by_kind["drift.grade"]["message"]
    series = client.get("/api/v1/" + by_kind["drift.probability"]["view"]).json()
    assert series["target"] == "Effusion"
    assert series["shift"]["psi"] > series["shift"]["alert_above"]
    assert series["days"][0]["count"] == REFERENCE + RECENT


def test_a_package_that_is_not_used_any_more_needs_no_attention(drifted: Scene, client: TestClient) -> None:
    drifted.now += timedelta(days=31)
    kinds = [entry["kind"] for entry in client.get("/api/v1/overview").json()["attention"]]
    assert not any(kind.startswith("drift") for kind in kinds)


def test_a_new_version_is_compared_with_its_own_first_numbers(drifted: Scene, client: TestClient) -> None:
    numbers(drifted, np.random.default_rng(5).beta(8, 2, REFERENCE + RECENT), package="cxr@2.1.0")
    states = {
        row["package"]: row["status"] for row in client.get("/api/v1/drift", params={"measure": "probability"}).json()
    }
    assert states == {"cxr@2.0.0": "drift", "cxr@2.1.0": "steady"}


def test_drift_is_a_metric_that_names_no_study(drifted: Scene, client: TestClient) -> None:
    labels = {"package": "cxr@2.0.0", "measure": "probability", "target": "Effusion", "method": ""}
    metrics = scrape(client)
    assert metrics["whyray_drift_psi", tuple(sorted(labels.items()))] > 0.25
    assert metrics["whyray_drifted", tuple(sorted(labels.items()))] == 1
    assert "1.2" not in {value for _, pairs in metrics for name, value in pairs if name != "version"}


def test_figures_are_computed_anew_at_most_twice_a_minute(drifted: Scene, client: TestClient) -> None:
    before = client.get("/api/v1/drift").text
    numbers(drifted, [0.1] * 250)
    assert client.get("/api/v1/drift").text == before
    drifted.now += timedelta(seconds=31)
    assert client.get("/api/v1/drift").text != before


def test_a_series_that_is_not_there_is_named(client: TestClient) -> None:
    assert client.get("/api/v1/drift/999").json()["message"] == "no series 999"
