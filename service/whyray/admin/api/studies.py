"""Studies, as received, with all that came of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session

from whyray.admin import queries as reading
from whyray.admin.backend import ActorDep, BackendDep, PagingDep
from whyray.admin.content_schemas import ContentDecided, NewerContentOut, RejectionOut, RejectionsLifted
from whyray.admin.describe import event_out, job_out, result_out
from whyray.admin.listing import paged, part_of
from whyray.admin.lists import study_list
from whyray.admin.schemas import Page, SeriesOut, StudyDetail, StudyOut
from whyray.catalog import (
    Conflict,
    Study,
    StudyState,
    conflicts,
    contents,
    events,
    lifted_rejections,
    replacement,
    studies,
)

router = APIRouter(tags=["studies"])
_UID = (
    "A Study Instance UID, or how one begins or ends; what stands within one is looked for among the newest "
    f"{studies.NEWEST:,} studies."
)
_Shown = Annotated[
    str | None,
    Query(
        description="The `version` of what was shown: refused (409) where another content came since.", max_length=64
    ),
]
_STATES: tuple[StudyState, ...] = get_args(StudyState)


@router.get("/studies", summary="List studies")
def list_studies(
    backend: BackendDep,
    paging: PagingDep,
    uid: Annotated[str | None, Query(description=_UID, max_length=64)] = None,
    state: Annotated[list[StudyState], Query(description="Only these states.")] = [],  # noqa: B006
    sort: Annotated[Literal["-received", "received"], Query(description="Newest or oldest first.")] = "-received",
) -> Page[StudyOut]:
    """Studies by the time of their last instance."""
    with backend.catalog.read() as session:
        part = part_of(session, study_list(session, uid=uid, state=state, oldest_first=sort == "received"), paging)
        return paged(part, _lines(session, part.rows), paging.limit)


@router.get("/studies/{study_instance_uid}", summary="Show a study")
def show_study(backend: BackendDep, study_instance_uid: str) -> StudyDetail:
    """Its series, conflicts, jobs, results and events."""
    with backend.catalog.read() as session:
        study = reading.study(session, study_instance_uid)
        line = _lines(session, [study])[0]
        senders = reading.calling_aes(session, study.id)
        waiting = conflicts.undecided(session, study.id)
        newest_first = sorted(study.jobs, key=lambda job: (job.created_at, job.revision), reverse=True)
        return StudyDetail(
            **dict(line),
            newer=_newer(session, study.id, [conflict for conflict, _ in waiting]),
            rejections=[
                RejectionOut(
                    note=row.document_uid,
                    title=row.title,
                    lifted=row.is_lifted,
                    since=row.since,
                    instances=row.instances,
                )
                for row in lifted_rejections.listed(session, study_uid=study_instance_uid)
            ],
            withdrawn=replacement.arrived_of_withdrawn(session, study.id),
            detail=[
                SeriesOut(
                    series_instance_uid=figure.series_instance_uid,
                    modality=figure.modality,
                    instances=figure.instances,
                    bytes=figure.bytes,
                    conflicts=figure.conflicts,
                    own_results=figure.own_results,
                    calling_aes=senders.get(figure.series_instance_uid, []),
                )
                for figure in reading.series_figures(session, [study.id])
            ],
            job_list=[job_out(job) for job in newest_first],
            results=[result_out(row) for job in newest_first for row in job.results],
            events=[event_out(event) for event in events.recent(session, study=study_instance_uid)],
        )


@router.post("/studies/{study_instance_uid}/use-newest", summary="Use the newest content of a study")
def use_newest(
    backend: BackendDep,
    actor: ActorDep,
    study_instance_uid: str,
    anyway: Annotated[
        bool, Query(description="Also where part of the study alone came again, or was not compared yet.")
    ] = False,
    shown: _Shown = None,
) -> ContentDecided:
    """For a study that its sender corrected under the same UIDs: its routes run anew on what came last.

    Jobs on the former content are superseded, and what was not sent of their results is cancelled. It is refused (409)
    where the study would name two patients or orders afterwards. Nothing happens where nothing newer waits.
    """
    with backend.catalog.begin() as session:
        now = backend.catalog.clock()
        used = contents.use_newest(session, study_instance_uid, now, actor=actor, anyway=anyway, shown=shown)
        gone = used.deliveries
        return ContentDecided(
            instances=used.instances,
            jobs=used.jobs,
            results=used.results,
            cancelled=gone.cancelled,
            sent=gone.sent + gone.sending,
        )


@router.post("/studies/{study_instance_uid}/keep", summary="Keep the content of a study that is in use")
def keep_content(backend: BackendDep, actor: ActorDep, study_instance_uid: str, shown: _Shown = None) -> ContentDecided:
    """What came again with other content stays apart, and nobody is asked about it any more.

    It is refused (409) where contents are still being compared.
    """
    with backend.catalog.begin() as session:
        number = contents.keep(session, study_instance_uid, backend.catalog.clock(), actor=actor, shown=shown)
        return ContentDecided(instances=number, jobs=0, results=0, cancelled=0, sent=0)


@router.post("/studies/{study_instance_uid}/lift-rejections", summary="Lift rejections of a study")
def lift_rejections(
    backend: BackendDep,
    actor: ActorDep,
    study_instance_uid: str,
    reason: Annotated[
        str, Query(description="Why; without the name of a patient.", max_length=lifted_rejections.LONGEST_REASON)
    ],
    note: Annotated[
        str | None, Query(description="Only what this note rejects (its SOP Instance UID).", max_length=64)
    ] = None,
) -> RejectionsLifted:
    """For images rejected by mistake: they are used again, and routes that are asked about the study run anew.

    What notes said until now is passed over for these images; one that comes later rejects them anew. Studies that are
    not here any more can be named too: their images are used where they come again. 404 where nothing is rejected.
    """
    with backend.catalog.begin() as session:
        now = backend.catalog.clock()
        lifted = lifted_rejections.lift(session, study_instance_uid, now, actor=actor, reason=reason, document_uid=note)
        return RejectionsLifted(instances=lifted.instances, becomes=lifted.becomes)


def _newer(session: Session, study_id: int, waiting: Sequence[Conflict]) -> NewerContentOut | None:
    if not waiting:
        return None
    return NewerContentOut(
        instances=len(waiting),
        comparing=sum(conflict.compared_at is None for conflict in waiting),
        alone=conflicts.in_use_alone(session, study_id),
        identification=_keywords(conflict.identification for conflict in waiting),
        others=_keywords(conflict.others for conflict in waiting),
        pixels=sorted({conflict.pixels for conflict in waiting if conflict.pixels is not None}),
        version=conflicts.version(waiting),
    )


def _keywords(lists: Iterable[str]) -> list[str]:
    return sorted({keyword for keywords in lists for keyword in keywords.split(", ") if keyword})


def _lines(session: Session, rows: Sequence[Study]) -> list[StudyOut]:
    ids = [row.id for row in rows]
    figures = reading.series_figures(session, ids)
    states = reading.study_states(session, ids)
    numbers = reading.job_numbers(session, ids)
    return [
        StudyOut(
            study_instance_uid=study.study_instance_uid,
            state=next(name for name in _STATES if name == states[study.id]),
            note=study.note,
            modalities=sorted(
                {figure.modality for figure in figures if figure.study_id == study.id and figure.modality}
            ),
            series=sum(figure.study_id == study.id and figure.instances > 0 for figure in figures),
            instances=sum(figure.instances for figure in figures if figure.study_id == study.id),
            conflicts=sum(figure.conflicts for figure in figures if figure.study_id == study.id),
            jobs=numbers.get(study.id, 0),
            first_received_at=study.first_received_at,
            last_received_at=study.last_received_at,
            expires_at=study.expires_at,
        )
        for study in rows
    ]
