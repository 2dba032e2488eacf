"""The configuration in force: routes with a test, packages, explanation methods, destinations with C-ECHO."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, File, UploadFile

from whyray.admin.backend import ActorDep, Backend, BackendDep
from whyray.admin.explanation_schemas import MethodDetail, MethodOut
from whyray.admin.service_schemas import (
    DestinationOut,
    EchoOut,
    PackageDetail,
    PackageOut,
    RouteOut,
    RouteTestOut,
    VerdictOut,
)
from whyray.admin.site import MethodInfo, PackageInfo
from whyray.base.errors import ConfigError, NotFound
from whyray.catalog import events
from whyray.catalog.overview import destination_states

router = APIRouter(tags=["site"])
MOST_BYTES = 1 << 30


@router.get("/routes", summary="List routes")
def list_routes(backend: BackendDep) -> list[RouteOut]:
    """The routes of the configuration in force, in its order."""
    return [RouteOut.model_validate(asdict(route)) for route in backend.site().routes]


@router.post("/routes/test", summary="Try DICOM files against the routes")
def try_routes(
    backend: BackendDep, files: Annotated[list[UploadFile], File(description="DICOM files; not kept.")]
) -> RouteTestOut:
    """Which routes match, and which clause refused and what it found. Nothing is stored or processed."""
    if backend.actions.route_test is None:
        raise _absent("routes can't be tried here")
    with tempfile.TemporaryDirectory(prefix="whyray-route-test-") as folder:
        paths = _save(files, Path(folder))
        verdicts = backend.actions.route_test(paths)
    return RouteTestOut(
        files=len(paths),
        verdicts=[VerdictOut.model_validate(asdict(verdict)) for verdict in verdicts],
    )


def _save(files: list[UploadFile], folder: Path) -> list[Path]:
    # the client's own file names may name a patient: they are not used
    paths = []
    if sum(file.size or 0 for file in files) > MOST_BYTES:
        raise ConfigError(
            f"the files have more than {MOST_BYTES >> 30} GiB together",
            advice="One instance of each series is enough to try the routes.",
        )
    for number, upload in enumerate(files):
        path = folder / f"{number}.dcm"
        with path.open("wb") as out:
            shutil.copyfileobj(upload.file, out)
        paths.append(path)
    return paths


@router.get("/packages", summary="List model packages")
def list_packages(backend: BackendDep) -> list[PackageOut]:
    """The installed packages."""
    return [PackageOut.model_validate(asdict(package)) for package in _packages(backend)]


@router.get("/packages/{name}/{version}", summary="Show a model package")
def show_package(backend: BackendDep, name: str, version: str) -> PackageDetail:
    """A package with its model card."""
    for package in _packages(backend):
        if (package.name, package.version) == (name, version):
            return PackageDetail.model_validate(asdict(package))
    raise NotFound(f"no package {name}@{version}")


def _packages(backend: Backend) -> list[PackageInfo]:
    if backend.actions.packages is None:
        raise _absent("packages can't be listed here")
    return list(backend.actions.packages())


@router.get("/methods", summary="List explanation methods")
def list_methods(backend: BackendDep) -> list[MethodOut]:
    """All methods by type of interpretability, and which packages they can explain."""
    return [MethodOut.model_validate(asdict(method)) for method in _methods(backend)]


@router.get("/methods/{name}", summary="Show an explanation method")
def show_method(backend: BackendDep, name: str) -> MethodDetail:
    """What it says of itself, its parameters, and what each package lacks for it."""
    for method in _methods(backend):
        if method.name == name:
            return MethodDetail.model_validate(asdict(method))
    raise NotFound(f"no explanation method {name!r}", advice="GET /api/v1/methods lists them.")


def _methods(backend: Backend) -> list[MethodInfo]:
    if backend.actions.methods is None:
        raise _absent("methods can't be listed here")
    return list(backend.actions.methods())


@router.get("/destinations", summary="List destinations")
def list_destinations(backend: BackendDep) -> list[DestinationOut]:
    """Where results go, and how each destination fares."""
    configured = {destination.name: destination for destination in backend.site().destinations}
    with backend.catalog.read() as session:
        states = destination_states(session, configured)
    return [
        DestinationOut.model_validate(asdict(state) | asdict(configured[state.destination]))
        for state in states
        if state.configured
    ]


@router.post("/destinations/{name}/echo", summary="Ask a destination whether it is there")
def echo(backend: BackendDep, actor: ActorDep, name: str) -> EchoOut:
    """C-ECHO to an AE, or a request to a DICOMweb endpoint."""
    if name not in {destination.name for destination in backend.site().destinations}:
        raise NotFound(f"no destination {name!r} in the configuration", advice="GET /api/v1/destinations lists them.")
    if backend.actions.echo is None:
        raise _absent("destinations can't be asked from here")
    outcome = backend.actions.echo(name)
    said = "answered" if outcome.ok else f"did not answer: {outcome.message}"
    with backend.catalog.begin() as session:
        events.record(session, backend.catalog.clock(), "info", "admin.echo", f"{name} {said}", actor=actor)
    return EchoOut.model_validate(asdict(outcome))


def _absent(message: str) -> NotFound:
    return NotFound(message, advice="Ask the admin process of `whyray serve` or `whyray admin`, which is given this.")
