"""Reader studies: the way of a reader through one, and what an administrator sees and does."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import Response
from sqlalchemy import select

from whyray.admin.audited import Requester, given_case
from whyray.admin.backend import ActorDep, BackendDep
from whyray.admin.reading_schemas import (
    AnswerIn,
    BackIn,
    GivenOut,
    PlaceDetail,
    PlaceOut,
    ReaderOut,
    ReaderStudyOut,
    ShownOut,
)
from whyray.base.errors import NotFound, TransitionError
from whyray.catalog import ReaderStudy, Reading
from whyray.reader_study import reading, register

router = APIRouter(tags=["reader studies"])


@router.get("/reading", summary="My reader studies")
def my_studies(backend: BackendDep, actor: ActorDep) -> list[PlaceOut]:
    """The studies in which whoever asks has a place."""
    now = backend.catalog.clock()
    with backend.catalog.read() as session:
        return [_place(reading.stand(place, now)) for place in reading.places_of(session, actor)]


@router.get("/reading/{name}", summary="Where I stand in a reader study")
def my_place(backend: BackendDep, actor: ActorDep, name: str) -> PlaceDetail:
    """Progress, question and instructions; no case."""
    with backend.catalog.begin() as session:
        return _detail(reading.place_of(session, name, actor, backend.catalog.clock()))


@router.post("/reading/{name}/consent", summary="Agree to take part")
def consent(backend: BackendDep, actor: ActorDep, name: str) -> PlaceDetail:
    """Noted once, with its time."""
    now = backend.catalog.clock()
    with backend.catalog.begin() as session:
        reading.consent(reading.place_of(session, name, actor, now), now)
        return _detail(reading.place_of(session, name, actor, now))


@router.post("/reading/{name}/next", summary="Show the next case")
def show_next(backend: BackendDep, actor: ActorDep, name: str) -> ShownOut:
    """The next case, or the one that was left in a break; the server's clock runs from here."""
    now = backend.catalog.clock()
    with backend.catalog.begin() as session:
        place = reading.place_of(session, name, actor, now)
        return _shown(place, reading.show_next(session, place, now))


@router.post("/reading/{name}/back", summary="Show an answered case again")
def show_again(backend: BackendDep, actor: ActorDep, name: str, wanted: BackIn) -> ShownOut:
    """Only where the study allows going back."""
    now = backend.catalog.clock()
    with backend.catalog.begin() as session:
        place = reading.place_of(session, name, actor, now)
        return _shown(place, reading.show_again(place, wanted.position, now))


@router.post("/reading/{name}/answers", summary="Answer the case")
def answer(backend: BackendDep, actor: ActorDep, name: str, given: AnswerIn) -> PlaceDetail:
    """Keeps answer, confidence, comment and both times."""
    now = backend.catalog.clock()
    with backend.catalog.begin() as session:
        place = reading.place_of(session, name, actor, now)
        if given.session != place.session and place.where != "finished":
            raise TransitionError(f"session {given.session} is over", advice="Reload the page.")
        submitted = reading.SubmittedAnswer(given.answer, given.confidence, given.comment, given.milliseconds)
        reading.answer(place, given.position, submitted, now)
        session.flush()
        return _detail(reading.place_of(session, name, actor, now))


@router.get(
    "/reading/{name}/pictures/{picture}",
    summary="A picture of the case before me",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}, "description": "The picture."}},
)
def show_picture(backend: BackendDep, actor: ActorDep, who: Requester, name: str, picture: str) -> Response:
    """Only pictures of the case that is shown, and only those of its condition. Every view is audited."""
    with backend.catalog.begin() as session:
        place = reading.place_of(session, name, actor, backend.catalog.clock())
        shown = reading.before(place)
        allowed = () if shown is None else reading.pictures_of(place.manifest.case(shown.case), shown.condition)
        key = next(
            (
                study_picture.key
                for study_picture in place.row.study.pictures
                if study_picture.name == picture and picture in allowed
            ),
            None,
        )
        if key is None:
            raise NotFound(f"no picture {picture!r} of the case before you", advice="Reload the page.")
        given_case(session, backend, who, name, picture)
    with backend.store.open(key) as file:
        return Response(file.read(), media_type="image/png")


@router.get("/reader-studies", summary="List reader studies")
def list_studies(backend: BackendDep) -> list[ReaderStudyOut]:
    """All of them, with how far each reader is; answers stay unseen."""
    with backend.catalog.read() as session:
        return [_study(study) for study in session.scalars(select(ReaderStudy).order_by(ReaderStudy.id.desc()))]


@router.post("/reader-studies/{name}/open", summary="Let readers in")
def open_study(backend: BackendDep, actor: ActorDep, name: str) -> ReaderStudyOut:
    """For the first time, or again."""
    return _moved(backend, actor, name, opened=True)


@router.post("/reader-studies/{name}/close", summary="Let readers in no more")
def close_study(backend: BackendDep, actor: ActorDep, name: str) -> ReaderStudyOut:
    """Answers stay."""
    return _moved(backend, actor, name, opened=False)


def _moved(backend: BackendDep, actor: str, name: str, *, opened: bool) -> ReaderStudyOut:
    now: datetime = backend.catalog.clock()
    with backend.catalog.begin() as session:
        (register.open_study if opened else register.close_study)(session, name, now, actor=actor)
        session.flush()
        return _study(register.find(session, name))


def _study(row: ReaderStudy) -> ReaderStudyOut:
    return ReaderStudyOut(
        name=row.name,
        title=row.manifest["title"],
        question=row.manifest["question"],
        cases=len(row.manifest["cases"]),
        open=register.is_open(row),
        imported_at=row.imported_at,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        readers=[ReaderOut(**asdict(reader)) for reader in register.progress(row)],
    )


def _place(place: reading.Place) -> PlaceOut:
    return PlaceOut(
        name=place.manifest.name,
        title=place.manifest.title,
        where=place.where,
        session=place.session,
        sessions=place.sessions,
        answered=place.answered,
        total=place.total,
        until=place.until,
    )


def _detail(place: reading.Place) -> PlaceDetail:
    manifest = place.manifest
    return PlaceDetail(
        **dict(_place(place)),
        question=manifest.question,
        choices=list(manifest.choices),
        confidence=manifest.confidence,
        instructions=manifest.instructions,
        going_back=manifest.going_back,
    )


def _shown(place: reading.Place, row: Reading) -> ShownOut:
    case = place.manifest.case(row.case)
    base = f"/api/v1/reading/{quote(place.manifest.name)}/pictures"
    return ShownOut(
        session=row.session,
        position=row.position,
        case=row.case,
        said=reading.words_of(place.manifest, case, row.condition),
        image=[f"{base}/{name}" for name in case.image],
        explanation=[f"{base}/{name}" for name in reading.pictures_of(case, row.condition)[len(case.image) :]],
        answer=None
        if row.answered_at is None
        else GivenOut(answer=row.answer or "", confidence=row.confidence or 0, comment=row.comment),
    )
