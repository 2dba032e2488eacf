"""Studies, as received, with all that came of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, get_args

from fastapi import APIRouter, Query
from sqlalchemy.orm import Session

from whyray.admin import queries as reading
from whyray.admin.backend import Paged, Using
from whyray.admin.describe import event_out, job_out, result_out
from whyray.admin.listing import paged, part_of
from whyray.admin.lists import study_list
from whyray.admin.schemas import Page, SeriesOut, StudyDetail, StudyOut
from whyray.catalog import Study, StudyState, events, studies

router = APIRouter(tags=["studies"])
_UID = (
    "A Study Instance UID, or how one begins or ends; what stands within one is looked for among the newest "
    f"{studies.NEWEST:,} studies."
)
_STATES: tuple[StudyState, ...] = get_args(StudyState)


@router.get("/studies", summary="List studies")
def list_studies(
    backend: Using,
    paging: Paged,
    uid: Annotated[str | None, Query(description=_UID, max_length=64)] = None,
    state: Annotated[list[StudyState], Query(description="Only these states.")] = [],  # noqa: B006
    sort: Annotated[Literal["-received", "received"], Query(description="Newest or oldest first.")] = "-received",
) -> Page[StudyOut]:
    """Studies by the time of their last instance."""
    with backend.catalog.read() as session:
        part = part_of(session, study_list(session, uid=uid, state=state, oldest_first=sort == "received"), paging)
        return paged(part, _lines(session, part.rows), paging.limit)


@router.get("/studies/{study_instance_uid}", summary="Show a study")
def show_study(backend: Using, study_instance_uid: str) -> StudyDetail:
    """Its series, conflicts, jobs, results and events."""
    with backend.catalog.read() as session:
        study = reading.study(session, study_instance_uid)
        line = _lines(session, [study])[0]
        senders = reading.calling_aes(session, study.id)
        newest_first = sorted(study.jobs, key=lambda job: (job.created_at, job.revision), reverse=True)
        return StudyDetail(
            **dict(line),
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
