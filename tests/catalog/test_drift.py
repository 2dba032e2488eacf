"""Numbers over time: kept once a study, in the order they came, with the first of each series spared."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from catalog.rows import NOON, job
from whyray.base.finding_record import FindingRecord, finding_records
from whyray.catalog import Catalog, drift
from whyray.catalog.drift import AnswerFacts, SeriesKey


def card(grade: str = "green") -> dict[str, Any]:
    return {
        "grade": grade,
        "measurements": [{"name": "deletion AUC", "aspect": "fidelity", "value": 0.4, "baseline": 0.5}],
    }


def heatmap(
    method: str = "grad-cam", grade: str = "green", distance: float | None = None, **more: Any
) -> dict[str, Any]:
    """As `whyray.results.describe` writes one: of what is withheld, only how far the image is from usual ones."""
    numbers = ({} if distance is None else {"case-distance": distance}) | (
        {} if grade == "red" else {"salient-area": 0.25}
    )
    made = {
        "method": method,
        "part": None,
        "quality": card(grade),
        "withheld": grade == "red",
        "drift_numbers": numbers,
    }
    return made | more


def finding(target: str = "Effusion", probability: float | None = 0.7, **more: Any) -> FindingRecord:
    written = {
        "finding": target,
        "present": True,
        "probability": probability,
        "value": None,
        "images": ["1.2.3"],
        "study": "1.2",
        "package": {"name": "cxr", "version": "1.0.0"},
        "explanations": [heatmap()],
        "typed_explanations": [],
    } | more
    (record,) = finding_records([written], of="a test")
    return record


def facts(*findings: FindingRecord, job_id: str = "job-1") -> AnswerFacts:
    return AnswerFacts(job_id, "cxr@1.0.0", NOON, findings)


def kept(catalog: Catalog) -> dict[SeriesKey, list[float]]:
    with catalog.read() as session:
        return {key: drift.first(session, number, 100) for number, key in drift.all_series(session).items()}


def test_a_job_leaves_its_probabilities_grades_and_areas(catalog: Catalog) -> None:
    with catalog.begin() as session:
        assert (
            drift.record_drift(session, facts(finding(), finding("Mass", 0.2, explanations=[heatmap("rise", "red")])))
            == 5
        )
    assert kept(catalog) == {
        SeriesKey("cxr@1.0.0", "probability", "Effusion"): [0.7],
        SeriesKey("cxr@1.0.0", "probability", "Mass"): [0.2],
        SeriesKey("cxr@1.0.0", "grade", "", "grad-cam"): [0.0],
        SeriesKey("cxr@1.0.0", "grade", "", "rise"): [2.0],
        SeriesKey("cxr@1.0.0", "salient-area", "Effusion", "grad-cam"): [0.25],
    }


def test_shares_in_anatomy_and_distances_are_kept_where_explanations_give_them(catalog: Catalog) -> None:
    shares = {
        "method": "region-shares",
        "withheld": False,
        "quality": card(),
        "drift_numbers": {"outside-anatomy": 0.3},
    }
    position = shares | {"method": "latent-position", "drift_numbers": {"ood-percentile": 97.0}}
    withheld = shares | {"withheld": True, "quality": card("red"), "drift_numbers": {}}
    with catalog.begin() as session:
        drift.record_drift(
            session,
            facts(
                finding(explanations=[heatmap(distance=2.0)], typed_explanations=[shares, position]),
                finding("Mass", explanations=[heatmap(distance=2.0)], typed_explanations=[withheld, position]),
            ),
        )
    values = kept(catalog)
    assert values[SeriesKey("cxr@1.0.0", "outside-anatomy", "Effusion", "region-shares")] == [0.3]
    assert SeriesKey("cxr@1.0.0", "outside-anatomy", "Mass", "region-shares") not in values
    # of the image, not of the target: once
    assert values[SeriesKey("cxr@1.0.0", "ood-percentile", "", "latent-position")] == [97.0]
    assert values[SeriesKey("cxr@1.0.0", "case-distance")] == [2.0]
    assert values[SeriesKey("cxr@1.0.0", "grade", "", "region-shares")] == [0.0, 2.0]


def test_maps_that_are_parts_of_an_explanation_are_not_counted_beside_it(catalog: Catalog) -> None:
    with catalog.begin() as session:
        drift.record_drift(session, facts(finding(explanations=[heatmap("prototypes", part="prototype 3")])))
    assert set(kept(catalog)) == {SeriesKey("cxr@1.0.0", "probability", "Effusion")}


def test_a_job_that_runs_again_says_its_numbers_once(catalog: Catalog) -> None:
    with catalog.begin() as session:
        drift.record_drift(session, facts(finding()))
    with catalog.begin() as session:
        drift.record_drift(session, facts(finding(probability=0.9)))
    assert kept(catalog)[SeriesKey("cxr@1.0.0", "probability", "Effusion")] == [0.9]


def test_a_new_revision_of_a_study_replaces_what_the_old_one_said(catalog: Catalog) -> None:
    with catalog.begin() as session:
        old = job(session).id
        drift.record_drift(session, facts(finding(), job_id=old))
    with catalog.begin() as session:
        new = job(session, instances=2).id
        drift.record_drift(session, facts(finding(probability=0.4), job_id=new))
        other = job(session, study=2).id
        drift.record_drift(session, facts(finding(probability=0.1), job_id=other))
    assert old != new
    assert kept(catalog)[SeriesKey("cxr@1.0.0", "probability", "Effusion")] == [0.4, 0.1]


def test_first_and_latest_numbers_never_overlap(catalog: Catalog) -> None:
    with catalog.begin() as session:
        for number in range(10):
            drift.record_drift(
                session, facts(finding(probability=number / 10, explanations=[]), job_id=f"job-{number}")
            )
    with catalog.read() as session:
        (series,) = drift.all_series(session)
        assert drift.first(session, series, 4) == [0.0, 0.1, 0.2, 0.3]
        assert drift.latest(session, series, 3, after=4) == [0.7, 0.8, 0.9]
        assert drift.latest(session, series, 30, after=4) == [0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
        assert drift.latest(session, series, 30, after=10) == []


def test_days_are_summed_up_in_utc(catalog: Catalog) -> None:
    with catalog.begin() as session:
        for number, hours in enumerate((0, 5, 13, 40)):
            job_facts = facts(finding(probability=number / 10, explanations=[]), job_id=f"job-{number}")
            drift.record_drift(session, replace(job_facts, at=NOON + timedelta(hours=hours)))
    with catalog.read() as session:
        (series,) = drift.all_series(session)
        days = drift.by_day(session, series)
    assert [(day.day, day.count) for day in days] == [("2026-01-02", 2), ("2026-01-03", 1), ("2026-01-04", 1)]
    assert (days[0].lowest, days[0].highest) == (0.0, 0.1)
    assert abs(days[0].mean - 0.05) < 1e-9


def test_old_numbers_are_forgotten_but_the_first_of_each_series_stay(catalog: Catalog) -> None:
    with catalog.begin() as session:
        for number in range(10):
            job_facts = facts(finding(probability=number / 10, explanations=[]), job_id=f"job-{number}")
            drift.record_drift(session, replace(job_facts, at=NOON + timedelta(days=number)))
    with catalog.begin() as session:
        assert drift.forget(session, NOON + timedelta(days=8), spare=3) == 5
    assert kept(catalog)[SeriesKey("cxr@1.0.0", "probability", "Effusion")] == [0.0, 0.1, 0.2, 0.8, 0.9]
