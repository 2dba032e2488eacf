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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, aliased

from whyray.base.finding_record import ExplanationRecord, FindingRecord, GradeName
from whyray.catalog.evaluation_tables import DriftSample, DriftSeries
from whyray.catalog.tables import Job

REFERENCE = 200
"""The first so many numbers of a series are what later ones are compared with; they are never forgotten."""
_GRADES: dict[GradeName, float] = {"green": 0.0, "amber": 1.0, "red": 2.0}
_OF_THE_IMAGE = frozenset({"case-distance", "ood-percentile"})
"""The same whatever the target: once an image."""
_OF_THE_PACKAGE = frozenset({"case-distance"})
"""The same whatever the method."""
_LONGEST_MEASURE = 32


@dataclass(frozen=True)
class AnswerFacts:
    """What a job found, for `record_drift`: the findings of all its answers."""

    job_id: str
    package: str
    at: datetime
    findings: Sequence[FindingRecord]


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
    said: set[tuple[tuple[str, ...], SeriesKey]] = set()
    for finding in facts.findings:
        for measure, number in (("probability", finding.probability), ("value", finding.value)):
            if number is not None and math.isfinite(number):
                yield SeriesKey(facts.package, measure, finding.finding), number
        for explanation in finding.all_explanations:
            if explanation.part is not None:
                continue  # one explanation may come with several maps: it counts once
            yield SeriesKey(facts.package, "grade", method=explanation.method), _GRADES[explanation.quality.grade]
            for measure, number in explanation.drift_numbers.items():
                key = _key(facts.package, measure, finding, explanation)
                if measure not in _OF_THE_IMAGE:
                    yield key, number
                elif (finding.images, key) not in said:
                    said.add((finding.images, key))
                    yield key, number


def _key(package: str, measure: str, finding: FindingRecord, explanation: ExplanationRecord) -> SeriesKey:
    return SeriesKey(
        package,
        measure[:_LONGEST_MEASURE],
        "" if measure in _OF_THE_IMAGE else finding.finding,
        "" if measure in _OF_THE_PACKAGE else explanation.method,
    )


def _series(session: Session, keys: Iterable[SeriesKey]) -> dict[SeriesKey, int]:
    """Ids of these series; new ones are entered."""
    wanted = sorted(keys)
    packages = {key.package for key in wanted}
    ids = {
        SeriesKey(row.package, row.measure, row.target, row.method): row.id
        for row in session.scalars(select(DriftSeries).where(DriftSeries.package.in_(packages)))
    }
    for key in wanted:
        if key not in ids:
            ids[key] = _enter(session, key)
    return ids


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
    of_series = DriftSample.series_id == series_id
    # where the first ones end, and not how many there are: they are hundreds of thousands
    later = select(DriftSample.id).where(of_series).order_by(DriftSample.id).offset(after).limit(1)
    begins = session.scalar(later)
    if begins is None:
        return []
    query = (
        select(DriftSample.number)
        .where(of_series, DriftSample.id >= begins)
        .order_by(DriftSample.id.desc())
        .limit(count)
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
    return [
        Day(str(date), int(count), float(mean), float(lowest), float(highest))
        for date, count, mean, lowest, highest in reversed(rows)
    ]


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
