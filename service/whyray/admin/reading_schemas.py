"""What the API of reader studies answers with: nothing of the truth to readers, no answers to administrators."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from whyray.admin.answer import Answer
from whyray.reader_study import Choice, Scale


class PlaceOut(Answer):
    """Where a reader stands in one study."""

    name: str = Field(examples=["spots-2026"])
    title: str
    where: Literal["closed", "consent", "ready", "washout", "finished"]
    session: int = Field(description="Which session, from 1.")
    sessions: int
    answered: int = Field(description="Cases answered in this session.")
    total: int
    until: datetime | None = Field(description="When the next session of a crossover begins.")


class PlaceDetail(PlaceOut):
    """Where a reader stands, and what the form needs."""

    question: str
    choices: list[Choice]
    confidence: Scale
    instructions: str
    going_back: bool


class GivenOut(Answer):
    """An answer that was given before."""

    answer: str
    confidence: int
    comment: str | None


class ShownOut(Answer):
    """The case that is before the reader."""

    session: int
    position: int
    case: str = Field(description="Its opaque number.", examples=["C017"])
    said: str | None = Field(description="What the model says, where that is shown.")
    image: list[str] = Field(description="Paths of pictures of the image.")
    explanation: list[str] = Field(description="Paths of pictures of its explanations; empty without explanation.")
    answer: GivenOut | None = Field(description="What was answered before, where the study allows going back.")


class BackIn(BaseModel):
    """Which answered case to show again."""

    model_config = ConfigDict(extra="forbid")
    position: int = Field(ge=1)


class AnswerIn(BaseModel):
    """An answer as the form sends it."""

    model_config = ConfigDict(extra="forbid")
    session: int = Field(ge=1)
    position: int = Field(ge=1)
    answer: str = Field(max_length=32)
    confidence: int
    comment: str = Field("", max_length=2000)
    milliseconds: int = Field(ge=0, description="For how long the case was in sight, measured in the browser.")


class ReaderOut(Answer):
    """How far one reader is."""

    reader: str = Field(examples=["R1"])
    user: str
    consented_at: datetime | None
    answered: int
    total: int
    interrupted: int
    last_answer_at: datetime | None


class ReaderStudyOut(Answer):
    """One reader study, as an administrator sees it."""

    name: str
    title: str
    question: str
    cases: int
    open: bool
    imported_at: datetime
    opened_at: datetime | None
    closed_at: datetime | None
    readers: list[ReaderOut]
