"""Probes for an orchestrator, and metrics for Prometheus."""

from __future__ import annotations

import logging

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from whyray.admin.backend import Backend, Using
from whyray.admin.schemas import Health

router = APIRouter(tags=["health"])
_log = logging.getLogger(__name__)


@router.get("/healthz", summary="Is this process alive?", response_class=PlainTextResponse)
def alive() -> str:
    """Answers as long as the process does."""
    return "ok\n"


@router.get("/readyz", summary="Can this process do its work?", responses={503: {"model": Health}})
def ready(backend: Using) -> Health:
    """Whether catalog and storage answer; needs no log-in and tells nothing else."""
    health = Health(catalog=_catalog_answers(backend), storage=_storage_answers(backend), ready=False)
    health = health.model_copy(update={"ready": health.catalog and health.storage})
    return health if health.ready else JSONResponse(health.model_dump(), 503)  # type: ignore[return-value]


@router.get("/metrics", summary="Figures for Prometheus", response_class=Response)
def metrics(request: Request) -> Response:
    """Gauges read from the catalog at each scrape; none names a patient or a study."""
    registry: CollectorRegistry = request.app.state.registry
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def _catalog_answers(backend: Backend) -> bool:
    try:
        with backend.catalog.read() as session:
            session.execute(text("SELECT 1 FROM studies WHERE 1 = 0"))
    except SQLAlchemyError as error:
        _log.warning("the catalog does not answer: %s", type(error).__name__)
        return False
    return True


def _storage_answers(backend: Backend) -> bool:
    try:
        backend.store.free_bytes()
    except OSError as error:
        _log.warning("storage does not answer: %s", error)
        return False
    return True
