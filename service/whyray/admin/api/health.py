"""Probes for an orchestrator, and metrics for Prometheus."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from whyray.admin.backend import Backend, BackendDep
from whyray.admin.problems import RESPONSES
from whyray.admin.service_schemas import Health
from whyray.catalog import processes

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Is this process alive?", response_class=PlainTextResponse)
def alive() -> str:
    """Answers as long as the process does."""
    return "ok\n"


@router.get("/readyz", summary="Can this process do its work?", responses={503: {"model": Health}})
def ready(backend: BackendDep) -> Health:
    """Whether catalog, storage and queue answer, and the configuration file is obeyed; tells nothing else.

    Needs no log-in. A file that is refused makes nothing unready: the configuration of before stays in force.
    """
    storage, details = _storage_answers(backend), _details_of_roles(backend)
    catalog = details is not None
    queue = catalog and not any("hindrance" in detail for detail in details or ())
    configuration = catalog and not any("config_refused" in detail for detail in details or ())
    health = Health(
        ready=catalog and storage and queue,
        catalog=catalog,
        storage=storage,
        queue=queue,
        configuration=configuration,
    )
    return health if health.ready else JSONResponse(health.model_dump(), 503)  # type: ignore[return-value]


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    response_class=Response,
    responses={status: RESPONSES[status] for status in (401, 403)},
)
def metrics(request: Request) -> Response:
    """Gauges read from the catalog at each scrape; none names a patient or a study."""
    registry: CollectorRegistry = request.app.state.registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _details_of_roles(backend: Backend) -> list[dict[str, Any]] | None:
    """What the roles that run say of themselves; None where the catalog does not answer."""
    try:
        with backend.catalog.read() as session:
            session.execute(text("SELECT 1 FROM studies WHERE 1 = 0"))
            now = backend.catalog.clock()
            details = [row.detail for row in processes.all_processes(session) if processes.is_alive(row, now)]
    except SQLAlchemyError as error:
        backend.asking_catalog.failed(error)
        return None
    backend.asking_catalog.well()
    return details


def _storage_answers(backend: Backend) -> bool:
    try:
        hindrance = backend.store.hindrance()
    except OSError as error:
        backend.asking_storage.failed(error)
        return False
    if hindrance is not None:
        backend.asking_storage.failed(hindrance)
        return False
    backend.asking_storage.well()
    return True
