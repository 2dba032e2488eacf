"""What the API answers about people's verdicts and about drift."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from whyray.admin.answer import Answer
from whyray.catalog import Reason, Verdict


class FeedbackIn(BaseModel):
    """A verdict on a result."""

    model_config = ConfigDict(extra="forbid")
    verdict: Verdict
    reason: Reason | None = None
    comment: str | None = Field(None, max_length=500, description="Free text; nothing that names a patient.")


class VerdictOut(Answer):
    """One verdict."""

    at: datetime
    actor: str
    verdict: Verdict
    reason: Reason | None
    comment: str | None
    sop_instance_uid: str
    package: str
    target: str | None
    method: str | None
    grade: str | None
    kind: str


class ResultFeedback(Answer):
    """What people say of one result."""

    mine: VerdictOut | None
    accepted: int
    rejected: int


class FeedbackTally(Answer):
    """Verdicts on results of one package version, target, method and grade."""

    package: str = Field(examples=["cxr-findings@1.0.0"])
    target: str | None
    method: str | None
    grade: str | None
    accepted: int
    rejected: int
    share: float = Field(description="Share of accepted ones.")
    low: float = Field(description="Lower end of its 95 % interval (Wilson 1927).")
    high: float
    reasons: dict[Reason, int] = Field(description="Why results were rejected.")


class FeedbackWeek(Answer):
    """Verdicts of one week on one package version."""

    package: str
    week: str = Field(description="Its Monday, UTC.", examples=["2026-03-02"])
    accepted: int
    rejected: int


class FeedbackOut(Answer):
    """All verdicts, summed up."""

    tallies: list[FeedbackTally]
    weeks: list[FeedbackWeek]
    reasons: dict[Reason, str] = Field(description="Each reason in words.")


class ShiftOut(Answer):
    """The first numbers of a series against its latest."""

    psi: float
    watch_above: float
    alert_above: float
    ks: float | None
    ks_p: float | None
    edges: list[float]
    shares_first: list[float]
    shares_latest: list[float]


class DriftOut(Answer):
    """One series of numbers over time."""

    id: int
    package: str
    measure: str = Field(examples=["probability"])
    target: str | None
    method: str | None
    status: Literal["learning", "steady", "watch", "drift"]
    first_count: int
    latest_count: int
    first_mean: float
    latest_mean: float | None
    last_at: datetime | None
    shift: ShiftOut | None = Field(description="None while it is learning.")


class DayOut(Answer):
    """One day of a series."""

    day: str
    count: int
    mean: float
    lowest: float
    highest: float


class DriftDetail(DriftOut):
    """A series with its days."""

    days: list[DayOut]
