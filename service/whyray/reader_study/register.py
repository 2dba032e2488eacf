"""Studies in the catalog: imported from kits, opened to readers, closed, and their answers taken out for analysis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from whyray.base.errors import ConfigError, NotFound
from whyray.catalog import ReaderStudy, Reading, StudyPicture, StudyReader, events
from whyray.reader_study.design import ReadingFact
from whyray.reader_study.kit import Manifest

CLOCKS_APART_MS = 2000
"""A browser that claims more time than passed here, by more than this, is not believed."""


def register(
    session: Session,
    manifest: Manifest,
    keys: Mapping[str, str],
    users: Mapping[str, str],
    now: datetime,
    *,
    actor: str,
) -> ReaderStudy:
    """Enter a kit whose pictures are in storage (`keys`: name → key), with the log-in name of each place's reader.

    It is closed at first: readers see it once it is opened.

    Raises
    ------
    ConfigError
        If a study of this name is there already, or a place has no reader, or a reader two places.
    NotFound
        If the kit has no such place.
    """
    if session.scalar(select(ReaderStudy.id).where(ReaderStudy.name == manifest.name)) is not None:
        raise ConfigError(
            f"a reader study {manifest.name!r} is there already", advice="Export the kit again under another --name."
        )
    for place in users:
        manifest.place(place)
    missing = [place.reader for place in manifest.readers if place.reader not in users]
    if missing:
        raise ConfigError(
            f"study {manifest.name}: expected a log-in for every place, found none for {', '.join(missing)}",
            advice="Name one for each, e.g. --reader R1=ada.",
        )
    if len(set(users.values())) != len(users):
        raise ConfigError(f"study {manifest.name}: one log-in has two places", advice="Give each place its own reader.")
    study = ReaderStudy(name=manifest.name, manifest=manifest.model_dump(mode="json"), imported_at=now)
    study.pictures = [StudyPicture(name=name, key=key) for name, key in keys.items()]
    study.readers = [StudyReader(reader=reader, user=user) for reader, user in users.items()]
    session.add(study)
    words = f"{manifest.name}: {len(manifest.cases)} cases for {len(users)} readers"
    events.record(session, now, "info", "study.imported", words, actor=actor)
    return study


def find(session: Session, name: str) -> ReaderStudy:
    """The study of that name; NotFound names those that there are."""
    study = session.scalar(select(ReaderStudy).where(ReaderStudy.name == name))
    if study is None:
        names = ", ".join(session.scalars(select(ReaderStudy.name).order_by(ReaderStudy.name))) or "none"
        raise NotFound(f"no reader study {name!r}", advice=f"There is: {names}. `whyray study import` adds one.")
    return study


def open_study(session: Session, name: str, now: datetime, *, actor: str) -> None:
    """Let readers in, the first time or again."""
    study = find(session, name)
    study.opened_at, study.closed_at = study.opened_at or now, None
    events.record(session, now, "info", "study.opened", name, actor=actor)


def close_study(session: Session, name: str, now: datetime, *, actor: str) -> None:
    """Let readers in no more; answers stay."""
    study = find(session, name)
    study.closed_at = now
    events.record(session, now, "info", "study.closed", name, actor=actor)


def is_open(study: ReaderStudy) -> bool:
    """Whether readers are let in."""
    return study.opened_at is not None and study.closed_at is None


@dataclass(frozen=True)
class Progress:
    """How far one reader is. `interrupted`: cases that were left and come back to."""

    reader: str
    user: str
    consented_at: datetime | None
    answered: int
    total: int
    interrupted: int
    last_answer_at: datetime | None


def progress(study: ReaderStudy) -> list[Progress]:
    """How far every reader is; answers themselves stay unseen."""
    total = {place["reader"]: sum(len(one) for one in place["sessions"]) for place in study.manifest["readers"]}
    made = []
    for reader in sorted(study.readers, key=lambda one: one.reader):
        answered = [row for row in reader.readings if row.answered_at is not None]
        made.append(
            Progress(
                reader=reader.reader,
                user=reader.user,
                consented_at=reader.consented_at,
                answered=len(answered),
                total=total[reader.reader],
                interrupted=sum(row.shows > 1 for row in answered),
                last_answer_at=max((row.answered_at for row in answered if row.answered_at), default=None),
            )
        )
    return made


def facts(study: ReaderStudy) -> list[ReadingFact]:
    """All answers that were given, by place's names."""
    yes = study.manifest["choices"][0]["value"]
    return [
        ReadingFact(
            reader=reader.reader,
            case=row.case,
            condition="with" if row.condition == "with" else "without",
            session=row.session,
            says_present=row.answer == yes,
            confidence=row.confidence or 0,
            seconds=_seconds(row),
        )
        for reader in sorted(study.readers, key=lambda one: one.reader)
        for row in sorted(reader.readings, key=lambda one: (one.session, one.position))
        if row.answered_at is not None
    ]


def _seconds(row: Reading) -> float | None:
    """Seconds in which the case was in sight; None where a break, a change or a wrong clock spoils them."""
    if row.browser_ms is None or row.server_ms is None or row.shows > 1 or row.revised:
        return None
    if row.browser_ms > row.server_ms + CLOCKS_APART_MS:
        return None
    return row.browser_ms / 1000
