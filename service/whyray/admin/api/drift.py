"""Drift: what answers, explanations and their quality look like over time."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from whyray.admin.backend import BackendDep
from whyray.admin.drift_watch import Watched, watched
from whyray.admin.evaluation_schemas import DayOut, DriftDetail, DriftOut, ShiftOut
from whyray.base.errors import NotFound
from whyray.catalog import drift

router = APIRouter(tags=["drift"])
_ORDER = ("drift", "watch", "steady", "learning")


@router.get("/drift", summary="Series of numbers over time, and whether they have drifted")
def list_series(
    backend: BackendDep,
    package: Annotated[str | None, Query(description="Only of this package, NAME or NAME@VERSION.")] = None,
    measure: Annotated[str | None, Query(description="Only this measure.")] = None,
    status: Annotated[Literal["learning", "steady", "watch", "drift"] | None, Query(description="Only these.")] = None,
) -> list[DriftOut]:
    """The first numbers of each series against its latest, those that drifted first; at most half a minute old."""
    with backend.catalog.read() as session:
        watched_series = backend.drift.look(session, backend.catalog.clock())
    wanted = [
        series
        for series in watched_series
        if (package is None or series.key.package == package or series.key.package.startswith(f"{package}@"))
        and measure in (None, series.key.measure)
        and status in (None, series.status)
    ]
    return [
        drift_out(series) for series in sorted(wanted, key=lambda series: (_ORDER.index(series.status), series.key))
    ]


@router.get("/drift/{series_id}", summary="One series over time")
def show_series(backend: BackendDep, series_id: int) -> DriftDetail:
    """Its numbers by day, and how its first compare with its latest."""
    with backend.catalog.read() as session:
        key = drift.all_series(session).get(series_id)
        if key is None:
            raise NotFound(f"no series {series_id}", advice="GET /api/v1/drift lists them.")
        days = [DayOut(**asdict(day)) for day in drift.by_day(session, series_id)]
        return DriftDetail(**dict(drift_out(watched(session, series_id, key))), days=days)


def drift_out(series: Watched) -> DriftOut:
    """One series."""
    return DriftOut(
        id=series.id,
        package=series.key.package,
        measure=series.key.measure,
        target=series.key.target or None,
        method=series.key.method or None,
        status=series.status,
        first_count=series.first_count,
        latest_count=series.latest_count,
        first_mean=series.first_mean,
        latest_mean=series.latest_mean,
        last_at=series.last_at,
        shift=None if series.shift is None else ShiftOut.model_validate(series.shift, from_attributes=True),
    )
