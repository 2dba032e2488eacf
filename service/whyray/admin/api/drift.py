"""Drift: what answers, explanations and their quality look like over time."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Query

from whyray.admin.backend import Using
from whyray.admin.drift_watch import Watched, watched
from whyray.admin.evaluation_schemas import DayOut, DriftDetail, DriftOut, ShiftOut
from whyray.base.errors import NotFound
from whyray.catalog import drift

router = APIRouter(tags=["drift"])
_ORDER = ("drift", "watch", "steady", "learning")


@router.get("/drift", summary="Series of numbers over time, and whether they have drifted")
def list_series(
    backend: Using,
    package: Annotated[str | None, Query(description="Only of this package, NAME or NAME@VERSION.")] = None,
    measure: Annotated[str | None, Query(description="Only this measure.")] = None,
    status: Annotated[Literal["learning", "steady", "watch", "drift"] | None, Query(description="Only these.")] = None,
) -> list[DriftOut]:
    """The first numbers of each series against its latest, those that drifted first; at most half a minute old."""
    with backend.catalog.read() as session:
        found = backend.drift.look(session, backend.catalog.clock())
    wanted = [
        each
        for each in found
        if (package is None or each.key.package == package or each.key.package.startswith(f"{package}@"))
        and measure in (None, each.key.measure)
        and status in (None, each.status)
    ]
    return [drift_out(each) for each in sorted(wanted, key=lambda each: (_ORDER.index(each.status), each.key))]


@router.get("/drift/{series_id}", summary="One series over time")
def show_series(backend: Using, series_id: int) -> DriftDetail:
    """Its numbers by day, and how its first compare with its latest."""
    with backend.catalog.read() as session:
        key = drift.all_series(session).get(series_id)
        if key is None:
            raise NotFound(f"no series {series_id}", advice="GET /api/v1/drift lists them.")
        days = [DayOut(**asdict(each)) for each in drift.by_day(session, series_id)]
        return DriftDetail(**dict(drift_out(watched(session, series_id, key))), days=days)


def drift_out(each: Watched) -> DriftOut:
    """One series."""
    return DriftOut(
        id=each.id,
        package=each.key.package,
        measure=each.key.measure,
        target=each.key.target or None,
        method=each.key.method or None,
        status=each.status,
        first_count=each.first_count,
        latest_count=each.latest_count,
        first_mean=each.first_mean,
        latest_mean=each.latest_mean,
        last_at=each.last_at,
        shift=None if each.shift is None else ShiftOut.model_validate(asdict(each.shift)),
    )
