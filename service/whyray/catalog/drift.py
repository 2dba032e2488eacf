"""What answers looked like, over time: numbers by package version, kept when a job ends, compared on the admin page.

Measures, one series each (per target and method where they have them):

==================  ==========================================================================================
probability         of each target
value               regression value, or size of a segment, of each target
grade               of each explanation, by method over all targets: 0 green, 1 amber, 2 red (withheld)
salient-area        share of the image that a map's salient region covers, by target and method
outside-anatomy     share of the attribution outside all anatomical structures, by target and method
case-distance       distance to the onboarding images, in units of what 95 % of those have (1: on the edge)
ood-percentile      0..100, how far the case lies from the references in the latent space
==================  ==========================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from whyray.catalog.evaluation_tables import DriftSample, DriftSeries
from whyray.catalog.tables import Job

MEASURES = (
    "probability",
    "value",
    "grade",
    "salient-area",
    "outside-anatomy",
    "case-distance",
    "ood-percentile",
)
REFERENCE = 200
"""The first so many numbers of a series are what later ones are compared with; they are never forgotten."""
_GRADES = {"green": 0.0, "amber": 1.0, "red": 2.0}


@dataclass(frozen=True)
class AnswerFacts:
    """What a job found, for `record_drift`. `findings` as `whyray.results.describe` gives them, over all answers."""

    job_id: str
    package: str
    at: datetime
    findings: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, order=True)
class SeriesKey:
    """One series: a measure of a package version (NAME@VERSION), for a target and a method where it has them."""

    package: str
    measure: str
    target: str = ""
    method: str = ""


def record_drift(session: Session, facts: AnswerFacts) -> int:
    """Keep the numbers of a finished job, in the transaction that finishes it; says how many.

    What the same job, or an earlier revision of it, said before is replaced: a study counts once.
    """
    job = session.get(Job, facts.job_id)
    replaced = {facts.job_id}
    if job is not None:
        same = Job.study_id == job.study_id, Job.route == job.route, Job.package == job.package
        replaced |= set(session.scalars(select(Job.id).where(*same)))
    session.execute(delete(DriftSample).where(DriftSample.job_id.in_(replaced)))
    numbers = list(_numbers(facts))
    ids = _series(session, {key for key, _ in numbers})
    session.add_all(
        DriftSample(series_id=ids[key], job_id=facts.job_id, at=facts.at, number=number) for key, number in numbers
    )
    return len(numbers)


def _numbers(facts: AnswerFacts) -> Iterator[tuple[SeriesKey, float]]:
    of_images: set[tuple[tuple[str, ...], str]] = set()
    for finding in facts.findings:
        target, images = str(finding["finding"]), tuple(finding["images"])
        for measure in ("probability", "value"):
            yield from _number(facts, measure, finding.get(measure), target)
        for each in finding["explanations"]:
            if each.get("part"):
                continue  # one explanation may come with several maps: it counts once
            yield from _graded(facts, each)
            yield from _number(
                facts, "salient-area", each.get("region", {}).get("share_of_image"), target, each["method"]
            )
            # these are of the image, whatever the target: once an image
            if (images, "case-distance") not in of_images:
                for number in _number(facts, "case-distance", _case_distance(each)):
                    of_images.add((images, "case-distance"))
                    yield number
        for each in finding.get("typed_explanations", ()):
            yield from _graded(facts, each)
            if each["withheld"]:
                continue
            if each["type"] == "RegionShares":
                yield from _number(facts, "outside-anatomy", each.get("outside"), target, each["method"])
            if each["type"] == "LatentPosition" and (images, each["method"]) not in of_images:
                of_images.add((images, each["method"]))
                yield from _number(facts, "ood-percentile", each.get("percentile"), method=each["method"])


def _graded(facts: AnswerFacts, each: Mapping[str, Any]) -> Iterator[tuple[SeriesKey, float]]:
    yield from _number(facts, "grade", _GRADES.get(each["quality"]["grade"]), method=each["method"])


def _case_distance(each: Mapping[str, Any]) -> float | None:
    for one in each["quality"]["measurements"]:
        if one["aspect"] == "case" and one["value"] is not None and one["baseline"]:
            return float(one["value"] / one["baseline"])
    return None


def _number(
    facts: AnswerFacts, measure: str, number: float | None, target: str = "", method: str = ""
) -> Iterator[tuple[SeriesKey, float]]:
    if number is not None and math.isfinite(number):
        yield SeriesKey(facts.package, measure, target, method), float(number)


def _series(session: Session, keys: Iterable[SeriesKey]) -> dict[SeriesKey, int]:
    """Ids of these series; new ones are entered."""
    wanted = sorted(keys)
    packages = {each.package for each in wanted}
    found = {
        SeriesKey(row.package, row.measure, row.target, row.method): row.id
        for row in session.scalars(select(DriftSeries).where(DriftSeries.package.in_(packages)))
    }
    for key in wanted:
        if key not in found:
            found[key] = _enter(session, key)
    return found


def _enter(session: Session, key: SeriesKey) -> int:
    row = DriftSeries(package=key.package, measure=key.measure, target=key.target, method=key.method)
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:  # another worker entered it in the meantime
        same = (
            DriftSeries.package == key.package,
            DriftSeries.measure == key.measure,
            DriftSeries.target == key.target,
            DriftSeries.method == key.method,
        )
        return session.scalars(select(DriftSeries.id).where(*same)).one()
    return row.id


def all_series(session: Session) -> dict[int, SeriesKey]:
    """Every series, by id."""
    rows = session.scalars(select(DriftSeries).order_by(DriftSeries.package, DriftSeries.measure, DriftSeries.id))
    return {row.id: SeriesKey(row.package, row.measure, row.target, row.method) for row in rows}


def first(session: Session, series_id: int, count: int) -> list[float]:
    """The first `count` numbers of a series."""
    query = select(DriftSample.number).where(DriftSample.series_id == series_id).order_by(DriftSample.id).limit(count)
    return list(session.scalars(query))


def latest(session: Session, series_id: int, count: int, *, after: int) -> list[float]:
    """The last `count` numbers of a series, oldest first, without its first `after` ones."""
    number = session.scalar(select(func.count()).where(DriftSample.series_id == series_id)) or 0
    most = max(0, min(count, number - after))
    query = (
        select(DriftSample.number).where(DriftSample.series_id == series_id).order_by(DriftSample.id.desc()).limit(most)
    )
    return list(session.scalars(query))[::-1]


def last_at(session: Session, series_id: int) -> datetime | None:
    """When the newest number of a series came."""
    return session.scalar(
        select(DriftSample.at).where(DriftSample.series_id == series_id).order_by(DriftSample.id.desc()).limit(1)
    )


@dataclass(frozen=True)
class Day:
    """The numbers of one day of a series."""

    day: str
    count: int
    mean: float
    lowest: float
    highest: float


def by_day(session: Session, series_id: int, *, most: int = 400) -> list[Day]:
    """The newest `most` days of a series, oldest first (UTC)."""
    day = func.date(DriftSample.at)
    number = DriftSample.number
    rows = session.execute(
        select(day, func.count(), func.avg(number), func.min(number), func.max(number))
        .where(DriftSample.series_id == series_id)
        .group_by(day)
        .order_by(day.desc())
        .limit(most)
    ).all()
    return [Day(str(row[0]), int(row[1]), *(float(each) for each in row[2:])) for row in rows][::-1]


def newest(session: Session) -> int:
    """The id of the newest sample: nothing has changed while it is the same."""
    return session.scalar(select(func.max(DriftSample.id))) or 0


def forget(session: Session, before: datetime, *, spare: int = REFERENCE) -> int:
    """Delete samples from before a time, but the first `spare` of each series; says how many went."""
    gone = 0
    for series_id in session.scalars(select(DriftSeries.id)).all():
        kept = aliased(DriftSample)
        reference = select(kept.id).where(kept.series_id == series_id).order_by(kept.id).limit(spare).subquery()
        done = session.execute(
            delete(DriftSample).where(
                DriftSample.series_id == series_id,
                DriftSample.at < before,
                DriftSample.id.not_in(select(reference.c.id)),
            )
        )
        gone += int(done.rowcount)  # type: ignore[attr-defined]
    return gone
