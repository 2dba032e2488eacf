"""One reader's way through a study: one case at a time, no going back unless the study allows it, breaks at will."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from whyray.base.errors import ConfigError, NotFound, TransitionError
from whyray.catalog import ReaderStudy, Reading, StudyReader
from whyray.reader_study.kit import KitCase, KitShowing, Manifest
from whyray.reader_study.register import is_open

LONGEST_COMMENT = 2000
Where = Literal["closed", "consent", "ready", "washout", "finished"]


@dataclass(frozen=True)
class Place:
    """Where a reader stands: `answered` of `total` in session `session` (from 1); `until` ends the washout."""

    row: StudyReader
    manifest: Manifest
    where: Where
    session: int
    sessions: int
    answered: int
    total: int
    until: datetime | None = None


@dataclass(frozen=True)
class SubmittedAnswer:
    """An answer as it came from the form; `milliseconds` as the browser measured them."""

    answer: str
    confidence: int
    comment: str
    milliseconds: int


def places_of(session: Session, user: str) -> list[StudyReader]:
    """The user's places in all studies, newest study first."""
    query = (
        select(StudyReader)
        .join(ReaderStudy)
        .options(joinedload(StudyReader.study))
        .where(StudyReader.user == user)
        .order_by(ReaderStudy.id.desc())
    )
    return list(session.scalars(query))


def place_of(session: Session, name: str, user: str, now: datetime) -> Place:
    """The user's place in the study of that name, locked for this transaction.

    Raises
    ------
    NotFound
        If there is no such study, or none of the user's: both look the same.
    """
    row = session.scalar(
        select(StudyReader)
        .join(ReaderStudy)
        .where(ReaderStudy.name == name, StudyReader.user == user)
        .with_for_update(of=StudyReader)
    )
    if row is None:
        raise NotFound(f"no reader study {name!r} for you", advice="Ask who leads the study.")
    return stand(row, now)


def stand(row: StudyReader, now: datetime) -> Place:
    """Where a reader stands."""
    manifest = Manifest.model_validate(row.study.manifest)
    sessions = manifest.place(row.reader).sessions
    done = [
        [reading for reading in row.readings if reading.session == number and reading.answered_at]
        for number in _from_1(sessions)
    ]
    current = next((n for n, showings in enumerate(sessions) if len(done[n]) < len(showings)), None)
    at = len(sessions) - 1 if current is None else current
    until = None
    if at > 0 and not done[at]:
        last = max(reading.answered_at for reading in done[at - 1] if reading.answered_at)
        until = last + timedelta(days=manifest.washout_days)
    where: Where
    if current is None:
        where = "finished"
    elif not is_open(row.study):
        where = "closed"
    elif row.consented_at is None:
        where = "consent"
    elif until is not None and now < until:
        where = "washout"
    else:
        where = "ready"
    return Place(row, manifest, where, at + 1, len(sessions), len(done[at]), len(sessions[at]), until)


def _from_1(sessions: tuple[tuple[KitShowing, ...], ...]) -> range:
    return range(1, len(sessions) + 1)


def consent(place: Place, now: datetime) -> None:
    """Note that the reader read the instructions and agrees."""
    if place.where == "consent":
        place.row.consented_at = now


def show_next(session: Session, place: Place, now: datetime) -> Reading:
    """Put the next case before the reader; the one that was left in a break comes again.

    Raises
    ------
    TransitionError
        If the study is not ready for this reader.
    """
    _require_ready(place)
    open_one = next((reading for reading in place.row.readings if reading.answered_at is None), None)
    if open_one is not None:
        open_one.shows += 1
        open_one.last_shown_at = now
        return open_one
    showing = place.manifest.place(place.row.reader).sessions[place.session - 1][place.answered]
    reading = Reading(
        session=place.session,
        position=place.answered + 1,
        case=showing.case,
        condition=showing.condition,
        first_shown_at=now,
        last_shown_at=now,
        shows=1,
    )
    place.row.readings.append(reading)
    session.flush()
    return reading


def show_again(place: Place, position: int, now: datetime) -> Reading:
    """An answered case of this session once more, where the study allows going back.

    Raises
    ------
    TransitionError
        Where it doesn't, or the case was not answered yet.
    """
    _require_ready(place, finished_too=True)
    if not place.manifest.going_back:
        raise TransitionError("this study has no going back", advice="Go on with the next case.")
    reading = _at(place, position)
    if reading is None or reading.answered_at is None:
        raise TransitionError(f"case {position} is not answered yet", advice="Go on with the next case.")
    reading.shows += 1
    reading.last_shown_at = now
    return reading


def answer(place: Place, position: int, submitted: SubmittedAnswer, now: datetime) -> Reading:
    """Keep an answer. An answered case is changed only where the study allows going back, and then marked as revised.

    Raises
    ------
    ConfigError
        If the answer or the confidence is none of the study's.
    TransitionError
        If this case is not before the reader.
    """
    _require_ready(place, finished_too=place.manifest.going_back)
    scale = place.manifest.confidence
    if submitted.answer not in {choice.value for choice in place.manifest.choices}:
        raise ConfigError(f"{submitted.answer!r} is no answer of this study", advice="Choose one of the answers shown.")
    if not scale.lowest <= submitted.confidence <= scale.highest or submitted.milliseconds < 0:
        raise ConfigError(
            f"expected a confidence of {scale.lowest} to {scale.highest} and a time, found {submitted.confidence}",
            advice="Choose one of the steps shown.",
        )
    reading = _at(place, position)
    if reading is None or (reading.answered_at is not None and not place.manifest.going_back):
        raise TransitionError(
            f"case {position} of session {place.session} is not before you", advice="Go on with the next case."
        )
    reading.revised = reading.answered_at is not None
    reading.answered_at = now
    reading.answer, reading.confidence = submitted.answer, submitted.confidence
    reading.comment = submitted.comment.strip()[:LONGEST_COMMENT] or None
    reading.browser_ms = min(submitted.milliseconds, 2**31 - 1)
    reading.server_ms = min(round((now - reading.last_shown_at) / timedelta(milliseconds=1)), 2**31 - 1)
    return reading


def before(place: Place) -> Reading | None:
    """The case that is before the reader now."""
    newest = max(
        place.row.readings, key=lambda reading: (reading.last_shown_at, reading.answered_at is None), default=None
    )
    return newest if newest is not None and (newest.answered_at is None or place.manifest.going_back) else None


def pictures_of(case: KitCase, condition: str) -> tuple[str, ...]:
    """The names of the pictures that belong to a case under a condition, the image first."""
    return (*case.image, *(case.explanation if condition == "with" else ()))


def words_of(manifest: Manifest, case: KitCase, condition: str) -> str | None:
    """What the model says, where the condition shows it."""
    return case.said if condition == "with" or manifest.control == "answer" else None


def _at(place: Place, position: int) -> Reading | None:
    return next(
        (reading for reading in place.row.readings if (reading.session, reading.position) == (place.session, position)),
        None,
    )


def _require_ready(place: Place, *, finished_too: bool = False) -> None:
    if place.where == "ready" or (finished_too and place.where == "finished" and is_open(place.row.study)):
        return
    words = {
        "closed": "the study is not open",
        "consent": "the instructions were not agreed to yet",
        "washout": f"the second session begins on {place.until:%Y-%m-%d}" if place.until else "",
        "finished": "all cases are answered",
    }[place.where]
    raise TransitionError(f"study {place.manifest.name}: {words}", advice="Ask who leads the study.")
