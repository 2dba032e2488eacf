"""People's verdicts summed up: shares with intervals, and weeks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from whyray.admin.evaluation_schemas import FeedbackTally, FeedbackWeek, VerdictOut
from whyray.catalog import REASONS, Feedback

_Z95 = 1.959963984540054


def of_package(package: str | None) -> list[ColumnElement[bool]]:
    """The condition that a list of verdicts is filtered by; NAME means every version."""
    if package is None:
        return []
    return [(Feedback.package == package) | Feedback.package.startswith(f"{package}@", autoescape=True)]


def tallies(session: Session, conditions: Sequence[ColumnElement[bool]]) -> list[FeedbackTally]:
    """By package version, target, method and grade; the least accepted first."""
    rows = session.execute(
        select(
            Feedback.package,
            Feedback.target,
            Feedback.method,
            Feedback.grade,
            Feedback.verdict,
            Feedback.reason,
            func.count(),
        )
        .where(*conditions)
        .group_by(Feedback.package, Feedback.target, Feedback.method, Feedback.grade, Feedback.verdict, Feedback.reason)
    )
    counts_by_kind: dict[tuple[str | None, ...], tuple[Counter[str], Counter[str]]] = {}
    for package, target, method, grade, verdict, reason, count in rows:
        counts, reasons = counts_by_kind.setdefault((package, target, method, grade), (Counter(), Counter()))
        counts[verdict] += count
        if verdict == "reject" and reason is not None:
            reasons[reason] += count
    made = []
    for key, (counts, reasons) in counts_by_kind.items():
        low, high = wilson(counts["accept"], counts.total())
        made.append(
            FeedbackTally(
                package=str(key[0]),
                target=key[1],
                method=key[2],
                grade=key[3],
                accepted=counts["accept"],
                rejected=counts["reject"],
                share=counts["accept"] / counts.total(),
                low=low,
                high=high,
                reasons={reason: reasons[reason] for reason in REASONS if reasons[reason]},
            )
        )
    return sorted(made, key=lambda tally: (tally.share, tally.package, tally.target or "", tally.method or ""))


def weeks(session: Session, conditions: Sequence[ColumnElement[bool]]) -> list[FeedbackWeek]:
    """By package version and week (Monday, UTC), oldest first."""
    day = func.date(Feedback.at)
    rows = session.execute(
        select(Feedback.package, day, Feedback.verdict, func.count())
        .where(*conditions)
        .group_by(Feedback.package, day, Feedback.verdict)
    )
    counts_by_week: dict[tuple[str, str], Counter[str]] = {}
    for package, when, verdict, count in rows:
        on = date.fromisoformat(str(when))
        monday = (on - timedelta(days=on.weekday())).isoformat()
        counts_by_week.setdefault((package, monday), Counter())[verdict] += count
    return [
        FeedbackWeek(package=package, week=week, accepted=counts["accept"], rejected=counts["reject"])
        for (package, week), counts in sorted(counts_by_week.items(), key=lambda entry: (entry[0][1], entry[0][0]))
    ]


def wilson(good: int, total: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927)."""
    if total == 0:
        return 0.0, 1.0
    share, z = good / total, _Z95
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, middle - half), min(1.0, middle + half)


def verdict_out(row: Feedback) -> VerdictOut:
    """One verdict."""
    return VerdictOut.model_validate(
        {name: getattr(row, name) for name in VerdictOut.model_fields},
    )
